// What is seen: selection, folds, colours, theme. Parts of the page listen; the fragment of the address keeps it.

const state = {
  selected: null,
  open: new Set(data.open),
  color: data.profiles.length ? "profile:0" : "family",
  picks: {}, // dim -> number of the label chosen
  subject: -1, // -1: the mean over subjects
  theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  view: null, // zoom, x, y
};
const START = { color: state.color, theme: state.theme, open: [...state.open] };
const listeners = [];

function listen(react) {
  listeners.push(react);
}

function update(changes) {
  Object.assign(state, changes);
  const names = new Set(Object.keys(changes));
  listeners.forEach((react) => react(names));
  writeFragment();
}

function openAbove(id, open) {
  for (let owner = ownerOf[id]; owner >= 0; owner = ownerOf[owner]) open.add(owner);
  return open;
}

function select(id) {
  const changes = { selected: id };
  if (id !== null && visibleOf(id) !== id) changes.open = openAbove(id, new Set(state.open));
  update(changes);
}

function visibleOf(id) {
  // The outermost folded group that something is in, or itself.
  let found = id;
  for (let owner = ownerOf[id]; owner >= 0; owner = ownerOf[owner]) {
    if (!state.open.has(owner)) found = owner;
  }
  return found;
}

function fold(id, wanted) {
  const open = new Set(state.open);
  if (wanted) openAbove(id, open).add(id);
  else open.delete(id);
  update({ open });
}

// ------------------------------------------------------------------ the fragment

let writing = 0;

function writeFragment() {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", makeFragment()), 150);
}

function makeFragment() {
  const parts = new URLSearchParams();
  if (state.selected !== null) parts.set(isGroup(state.selected) ? "module" : "op", pathOf(state.selected));
  if (state.color !== START.color) parts.set("color", state.color);
  for (const [dim, number] of Object.entries(state.picks)) if (number) parts.set("pick." + dim, String(number));
  if (state.subject >= 0) parts.set("subject", String(state.subject));
  if (state.theme !== START.theme) parts.set("theme", state.theme);
  const open = writeRanges([...state.open]);
  if (open !== writeRanges(START.open)) parts.set("open", open);
  if (state.view) parts.set("view", state.view.map((n) => Number(n.toPrecision(4))).join(","));
  return "#" + parts.toString();
}

function readFragment() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const changes = { selected: null, open: new Set(START.open), color: START.color, picks: {}, subject: -1 };
  if (parts.has("open")) changes.open = new Set(readRanges(parts.get("open")));
  const id = findPath(parts.get("op"), parts.get("module"));
  if (id !== null) openAbove(id, changes.open);
  changes.selected = id;
  if (colorings().some(({ value }) => value === parts.get("color"))) changes.color = parts.get("color");
  for (const [key, text] of parts) if (key.startsWith("pick.")) changes.picks[key.slice(5)] = Math.abs(parseInt(text, 10)) || 0;
  if (parts.has("subject")) changes.subject = Math.max(-1, parseInt(parts.get("subject"), 10) || 0);
  if (["light", "dark"].includes(parts.get("theme"))) changes.theme = parts.get("theme");
  const view = (parts.get("view") || "").split(",").map(Number);
  changes.view = view.length === 3 && view.every(Number.isFinite) && view[0] > 0 ? view : null;
  return changes;
}

function findPath(op, module) {
  if (op !== null) {
    const id = ops.address.indexOf(op);
    return id < 0 ? null : id;
  }
  const group = module === null ? -1 : data.groups.findIndex(({ path }) => path === module);
  return group < 0 ? null : nOps + group;
}

function writeRanges(ids) {
  // Numbers of groups as "0-3,7": short, however many are open.
  const sorted = ids.map((id) => id - nOps).sort((a, b) => a - b);
  const runs = [];
  for (const id of sorted) {
    const last = runs[runs.length - 1];
    if (last && last[1] === id - 1) last[1] = id;
    else runs.push([id, id]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(",");
}

function readRanges(text) {
  const ids = [ROOT];
  for (const part of text.split(",")) {
    const [a, b = a] = part.split("-").map((n) => parseInt(n, 10));
    for (let k = Math.max(a, 0); k <= Math.min(b, nGroups - 1); k++) ids.push(nOps + k);
  }
  return ids;
}
