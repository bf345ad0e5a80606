// Details of what is selected.

const panel = document.getElementById("panel");

function showPanel() {
  panel.scrollTop = 0;
  const id = state.selected;
  if (id === null) panel.replaceChildren(...welcome());
  else panel.replaceChildren(...(isGroup(id) ? describeGroup(id) : describeOperation(id)));
}

function section(title, ...content) {
  return [element("h3", {}, title), ...content];
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, text] of pairs) list.append(element("dt", {}, name), element("dd", {}, text));
  return list;
}

function links(ids, most = 40) {
  const box = element("div", { class: "links" });
  for (const id of ids.slice(0, most)) box.append(element("button", { type: "button", onclick: () => goTo(id) }, pathOf(id) || data.name));
  if (ids.length > most) box.append(element("span", { class: "small" }, `and ${ids.length - most} more`));
  return box;
}

function goTo(id) {
  select(id);
  bringIntoView(id);
}

// ------------------------------------------------------------------ the whole, a module

function welcome() {
  const parts = [
    element("h2", {}, data.name),
    element("p", {}, `${count(nOps, "operation")} in ${count(nGroups - 1, "module or composite function", "modules and composite functions")}.`),
    element("p", {}, "Each box is an operation, or a folded module (+). Click a box to see what it is and what it computes; click a module to unfold it, and its name (−) to fold it again. Drag to move, turn the wheel to zoom."),
  ];
  if (!data.hasArrows) parts.push(element("p", {}, "These activations come without the graph: operations stand in order of execution, and there are no arrows. A page made of a trace has them."));
  if (data.profiles.length) parts.push(...section("Profiles", ...data.profiles.map(describeProfile)));
  if (data.stimuli.shown.length) {
    const shown = element("div", { class: "maps" }, ...data.stimuli.shown.map((id) => element("figure", {}, picture(id), element("figcaption", { title: id }, id))));
    parts.push(...section(`Stimuli whose activations are shown: ${data.stimuli.shown.length} of ${data.stimuli.count}`, shown));
  }
  parts.push(element("p", { class: "small" }, `neurolens ${data.version}. This page is one file and asks nothing of any network.`));
  return parts;
}

function describeProfile(profile) {
  const names = { p_of: "p", correction_of: "corrected", ceiling_kind: "ceiling", ci_of: "interval", n_stimuli: "stimuli", n_permutations: "permutations", model: "model" };
  const known = Object.entries(profile.attrs).filter(([key]) => names[key]).map(([key, text]) => [names[key], text]);
  return facts([["name", profile.name], ["score", profile.measure], ["operations", String(profile.rows.length)], ...known]);
}

function describeGroup(id) {
  const group = groupOf(id);
  const isOpen = state.open.has(id);
  const below = opsBelow[id - nOps];
  const known = [["kind", group.kind || "module"], ["operations", String(below.length)], ["inside", ownerOf[id] > ROOT ? pathOf(ownerOf[id]) : data.name]];
  return [
    element("h2", {}, group.path || data.name),
    facts(known),
    element("div", { class: "links" }, element("button", { type: "button", onclick: () => { fold(id, !isOpen); bringIntoView(id); } }, isOpen ? "Fold" : "Unfold"), copyButton()),
    ...section("Scores", ...scoresTable(below[below.length - 1], "Scores of its last operation.")),
    ...section("Holds", links(group.rows.flat())),
  ];
}

function copyButton() {
  const button = element("button", { type: "button" }, "Copy link");
  button.addEventListener("click", () => {
    const link = location.href.split("#")[0] + makeFragment();
    const done = () => { button.textContent = "Copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(link).then(done, () => {});
    history.replaceState(null, "", makeFragment());
  });
  return button;
}

// ------------------------------------------------------------------ an operation

function describeOperation(op) {
  const [place, line] = ops.source[op];
  const parts = [
    element("h2", {}, ops.address[op]),
    facts([["output", ops.shape[op] || "–"], ["number", `${op + 1} of ${nOps}; depth ${say(depths[op])}`]]),
    element("div", { class: "links" }, copyButton()),
  ];
  const scores = scoresTable(op, "");
  if (data.profiles.length) parts.push(...section("Scores", ...scores));
  if (data.maps[op]) parts.push(...section("Activations", ...showMaps(op)));
  if (data.rdms[op]) parts.push(...section("RDM", ...showRdm(op)), ...section("Stimuli in a plane", ...showPlane(op)));
  if (data.notes[op]) parts.push(element("p", { class: "small" }, data.notes[op]));
  parts.push(...section("What it is", facts(ops.facts[op])));
  if (place) parts.push(...section("Called at", element("p", {}, element("code", {}, place)), line ? element("pre", {}, element("code", {}, line)) : null));
  if (parentsOf[op].length) parts.push(...section("Reads", links(parentsOf[op])));
  if (childrenOf[op].length) parts.push(...section("Read by", links(childrenOf[op])));
  return parts.filter((part) => part !== null);
}

function scoresTable(op, words) {
  const rows = [];
  const current = currentProfile();
  data.profiles.forEach((profile, number) => {
    profile.rows.forEach((row, k) => {
      if (row !== op) return;
      for (const picks of choicesOf(profile)) rows.push(scoreRow(profile, number, k, picks, current));
    });
  });
  if (!rows.length) return [element("p", { class: "small" }, data.profiles.length ? "No score." : "No profile was given.")];
  const heads = ["", "score", "p", "corrected", "ceiling"].map((head) => element("th", { scope: "col" }, head));
  const table = element("table", { "aria-label": "Scores" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  return [table, words ? element("p", { class: "small" }, words) : null].filter(Boolean);
}

function scoreRow(profile, number, k, picks, current) {
  const choice = choiceOf(profile, picks);
  const cell = (name) => { const column = rowsOfTable(profile, name, choice); return column ? column[k] : null; };
  const whole = (name) => { const table = tableOf(profile, name); return table ? table[choice] : null; };
  const many = data.profiles.length > 1 || !profile.dims.length;
  const title = [many ? profile.name : "", sayPicks(profile, picks)].filter(Boolean).join(" · ");
  const low = whole("ceiling_low");
  const interval = cell("ci_low") === null || !Number.isFinite(cell("ci_low")) ? "" : ` [${say(cell("ci_low"))}, ${say(cell("ci_high"))}]`;
  const ceiling = Number.isFinite(low) && low !== null ? `${say(low)}–${say(whole("ceiling_high"))}` : "–";
  const isCurrent = current === profile && choice === choiceOf(profile);
  const show = () => update({ color: `profile:${number}`, picks: { ...state.picks, ...picks } });
  return element("tr", {
    class: isCurrent ? "current" : null, tabindex: "0", title: "Colour by this", onclick: show,
    onkeydown: (event) => { if (event.key === "Enter") show(); },
  }, ...[title, say(cell("score")) + interval, sayP(cell("p")), sayP(cell("p_corrected")), ceiling].map((text) => element("td", {}, text)));
}

const sayP = (p) => (p === null || !Number.isFinite(p) ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3));

function saySelected() {
  const id = state.selected;
  if (id === null) return "";
  const value = painted ? `, ${painted.label} ${say(valueOf(id))}` : "";
  if (isGroup(id)) return `Module ${pathOf(id)}, ${count(opsBelow[id - nOps].length, "operation")}, ${state.open.has(id) ? "unfolded" : "folded"}${value}`;
  return `${ops.address[id]}, output ${ops.shape[id]}, operation ${id + 1} of ${nOps}${value}`;
}
