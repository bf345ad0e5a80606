// Keys. Those of the graph act while it has the focus; the others anywhere but in a field.

const KEYS = [
  ["/", "search"],
  ["↑ ↓", "previous and next of what is visible, in order of execution"],
  ["→ ←", "unfold a module, or go into it; fold it, or go to the module around"],
  ["Enter", "details, for reading on"],
  ["Shift + → ←", "unfold one level everywhere; fold everything"],
  ["+ − 0", "zoom in, zoom out, show everything"],
  ["c", "next colouring"],
  ["t", "light or dark"],
  ["Esc", "select nothing; from the details back to the graph"],
  ["?", "these keys"],
];

const keysDialog = document.getElementById("keys");
document.getElementById("keys-list").append(...KEYS.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)]));

function step(by) {
  // Through what is visible, folded modules by their first operation.
  const ids = [...drawn.places].filter(([id, thing]) => id !== ROOT && !thing.rows).map(([id]) => id);
  const first = (id) => (isGroup(id) ? opsBelow[id - nOps][0] : id);
  ids.sort((a, b) => first(a) - first(b));
  if (!ids.length) return;
  let number = state.selected === null ? (by > 0 ? -1 : ids.length) : ids.indexOf(visibleOf(state.selected));
  if (number < 0 && state.selected !== null) { // an unfolded module: next to its first operation
    const start = first(state.selected);
    number = ids.findIndex((id) => first(id) >= start) - (by > 0 ? 1 : 0);
  }
  goTo(ids[Math.max(0, Math.min(ids.length - 1, number + by))]);
}

function unfoldHere() {
  const id = state.selected;
  if (id === null) return step(1);
  if (!isGroup(id)) return undefined;
  if (!state.open.has(id)) fold(id, true);
  else select(groupOf(id).rows[0][0]);
  return bringIntoView(state.selected);
}

function foldHere() {
  const id = state.selected;
  if (id === null) return;
  if (isGroup(id) && id !== ROOT && state.open.has(id)) fold(id, false);
  else if (ownerOf[id] > ROOT) select(ownerOf[id]);
  bringIntoView(state.selected);
}

function unfoldLevel() {
  const open = new Set(state.open);
  for (const [id, thing] of drawn.places) if (isGroup(id) && !thing.rows) open.add(id);
  update({ open });
  fitGraph();
}

function foldAll() {
  update({ open: new Set([ROOT]) });
  fitGraph();
}

function nextColoring() {
  const all = colorings().map(({ value }) => value);
  update({ color: all[(all.indexOf(state.color) + 1) % all.length] });
}

function zoomBy(factor) {
  cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: stage.clientWidth / 2, y: stage.clientHeight / 2 } });
}

const turnTheme = () => update({ theme: state.theme === "dark" ? "light" : "dark" });

const GRAPH_KEYS = {
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  ArrowRight: (event) => (event.shiftKey ? unfoldLevel() : unfoldHere()),
  ArrowLeft: (event) => (event.shiftKey ? foldAll() : foldHere()),
  Enter: () => panel.focus(),
};
const ANY_KEYS = {
  "/": () => { searchBox.focus(); searchBox.select(); },
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  0: () => fitGraph(),
  c: nextColoring,
  t: turnTheme,
  "?": () => keysDialog.showModal(),
  Escape: () => (document.activeElement === stage || document.activeElement === document.body ? select(null) : stage.focus()),
};

stage.addEventListener("keydown", (event) => run(GRAPH_KEYS, event));
document.addEventListener("keydown", (event) => {
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || keysDialog.open) return;
  run(ANY_KEYS, event);
});

function run(keys, event) {
  const act = event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key) ? null : keys[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
}
