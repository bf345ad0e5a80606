// The page comes to life.

function showTheme() {
  document.documentElement.dataset.theme = state.theme;
}

function makeChoices() {
  const box = document.getElementById("choices");
  const chooser = (label, name, options, chosen, take) => {
    const whole = options.find(([value]) => String(value) === String(chosen));
    const select = element("select", { "aria-label": label, "data-choice": name, title: whole ? whole[1] : null, onchange: (event) => take(event.target.value) });
    options.forEach(([value, text]) => select.append(element("option", { value, selected: String(value) === String(chosen) }, cut(text, 40))));
    return element("label", {}, label, select);
  };
  const parts = [chooser("Colour", "color", colorings().map(({ value, label }) => [value, label]), state.color, (color) => update({ color }))];
  const profile = currentProfile();
  for (const { name, labels } of profile ? profile.dims : []) {
    const options = labels.map((label, k) => [k, label]);
    parts.push(chooser(name, name, options, state.picks[name] || 0, (k) => update({ picks: { ...state.picks, [name]: Number(k) } })));
  }
  if (profile && profile.bySubject) {
    const options = [[-1, "mean"], ...profile.subjects.map((label, k) => [k, label])];
    parts.push(chooser("subject", "subject", options, state.subject, (k) => update({ subject: Number(k) })));
  }
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.choice : null;
  box.replaceChildren(...parts);
  if (focused) {
    const again = [...box.querySelectorAll("select")].find((one) => one.dataset.choice === focused);
    if (again) again.focus();
  }
}

listen((changed) => {
  const colored = ["color", "picks", "subject", "theme"].some((name) => changed.has(name));
  if (changed.has("theme")) showTheme();
  if (colored) {
    readValues();
    makeChoices();
    drawPlot();
  }
  if (changed.has("open") || changed.has("theme")) drawGraph();
  else if (colored) paintGraph();
  else if (changed.has("selected")) markSelected();
  if (changed.has("selected") || changed.has("open") || colored) {
    const top = changed.has("selected") ? 0 : panel.scrollTop;
    showPanel();
    panel.scrollTop = top;
    markChosen();
    document.getElementById("spoken").textContent = saySelected();
  }
});

function start() {
  document.getElementById("name").textContent = data.name;
  document.getElementById("name").title = data.name;
  document.getElementById("count").textContent = count(nOps, "operation");
  Object.assign(state, readFragment());
  showTheme();
  readValues();
  makeChoices();
  drawPlot();
  drawLegend();
  makeGraph();
  drawGraph();
  const { view } = state;
  if (view) cy.viewport({ zoom: view[0], pan: { x: view[1], y: view[2] } });
  else fitGraph();
  if (!view && state.selected !== null) bringIntoView(state.selected);
  showPanel();
  markChosen();
  document.getElementById("fold-all").addEventListener("click", foldAll);
  document.getElementById("unfold-all").addEventListener("click", unfoldLevel);
  document.getElementById("fit").addEventListener("click", fitGraph);
  document.getElementById("theme").addEventListener("click", turnTheme);
  document.getElementById("help").addEventListener("click", () => keysDialog.showModal());
  window.addEventListener("hashchange", () => {
    const changes = readFragment();
    const { view: wanted } = changes;
    update(changes);
    if (wanted) cy.viewport({ zoom: wanted[0], pan: { x: wanted[1], y: wanted[2] } });
    else if (state.selected !== null) bringIntoView(state.selected);
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => { cy.resize(); drawPlot(); }, 120);
  });
  document.documentElement.dataset.ready = "true";
}

start();
