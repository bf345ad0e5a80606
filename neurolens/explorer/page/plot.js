// The profile: scores over depth, with each subject, the ceiling, and what is significant.

const plot = document.getElementById("plot");
const SVG = "http://www.w3.org/2000/svg";
let plotted = null; // order of rows, their places, the marker

function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

function drawPlot() {
  const profile = currentProfile();
  const before = plot.hidden;
  plot.hidden = profile === null;
  plotted = null;
  plot.replaceChildren();
  if (profile !== null) fillPlot(profile);
  if (before !== plot.hidden && cy) cy.resize();
}

function fillPlot(profile) {
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  const area = { left: 56, right: width - 14, top: 26, bottom: height - 34 };
  const choice = choiceOf(profile);
  const scores = scoresOf(profile, choice, state.subject);
  const known = profile.rows.map((op) => depths[op]).every(Number.isFinite);
  const position = (k) => (known ? depths[profile.rows[k]] : k);
  const order = profile.rows.map((_, k) => k).sort((a, b) => position(a) - position(b) || a - b);
  const others = state.subject < 0 && profile.bySubject ? profile.subjects.map((_, s) => scoresOf(profile, choice, s)) : [];
  const ceiling = ["ceiling_low", "ceiling_high"].map((name) => { const table = tableOf(profile, name); return table ? table[choice] : NaN; });
  const range = rangeOf([scores, ...others, state.subject < 0 ? ceiling : []]);
  const last = known ? 1 : Math.max(1, profile.rows.length - 1);
  const x = (k) => area.left + (position(k) / last) * (area.right - area.left);
  const y = (value) => area.bottom - ((value - range.low) / (range.high - range.low)) * (area.bottom - area.top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${painted.label} over depth` });
  drawAxes(picture, area, range, y, known);
  if (state.subject < 0 && ceiling.every(Number.isFinite)) {
    const top = y(ceiling[1]);
    picture.append(svg("rect", { x: area.left, y: top, width: area.right - area.left, height: Math.max(1.5, y(ceiling[0]) - top), fill: css("--ceiling") }));
  }
  const many = others.length > 40 ? others.slice(0, 40) : others;
  for (const one of many) picture.append(svg("path", { d: line(order, one, x, y), fill: "none", stroke: css("--edge"), "stroke-width": 0.8, opacity: 0.45 }));
  picture.append(svg("path", { d: line(order, scores, x, y), fill: "none", stroke: css("--curve"), "stroke-width": 2 }));
  drawSignificance(picture, profile, choice, order, x, area);
  const words = [painted.label, others.length ? "thin: subjects" : "", state.subject < 0 && ceiling.every(Number.isFinite) ? "band: noise ceiling" : "", state.subject < 0 && rowsOfTable(profile, "p_corrected", choice) ? "ticks: corrected p < .05" : ""];
  picture.append(svg("text", { x: area.left, y: 16 }, cut(words.filter(Boolean).join("; "), Math.floor(width / 7.4))));
  const marker = svg("g", { visibility: "hidden" });
  marker.append(svg("line", { y1: area.top, y2: area.bottom, stroke: css("--accent"), "stroke-width": 1 }), svg("circle", { r: 5, fill: css("--accent") }));
  const chosen = svg("circle", { r: 5, fill: "none", stroke: css("--accent"), "stroke-width": 2.5, visibility: "hidden" });
  picture.append(marker, chosen);
  plot.append(picture);
  plotted = { profile, order, scores, x, y, marker, chosen };
  picture.addEventListener("mousemove", (event) => hover(profile.rows[nearest(event.offsetX)]));
  picture.addEventListener("mouseleave", () => hover(null));
  picture.addEventListener("click", (event) => goTo(profile.rows[nearest(event.offsetX)]));
  markChosen();
}

function rangeOf(series) {
  let [low, high] = [0, 0];
  for (const one of series) for (const value of one) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
  if (high === low) high = low + 1;
  const room = 0.05 * (high - low);
  return { low: low < 0 ? low - room : low, high: high + room };
}

function drawAxes(picture, area, range, y, known) {
  const step = niceStep((range.high - range.low) / 4);
  for (let value = Math.ceil(range.low / step) * step; value <= range.high; value += step) {
    picture.append(svg("line", { x1: area.left, x2: area.right, y1: y(value), y2: y(value), stroke: css("--line"), "stroke-width": Math.abs(value) < step / 2 ? 1.6 : 0.7 }));
    picture.append(svg("text", { x: area.left - 7, y: y(value) + 4, "text-anchor": "end", class: "quiet" }, say(Math.abs(value) < step / 1e6 ? 0 : value)));
  }
  const words = known ? [["0 input", 0, "start"], ["depth", 0.5, "middle"], ["1 output", 1, "end"]] : [["first", 0, "start"], ["operations in order", 0.5, "middle"], ["last", 1, "end"]];
  for (const [text, part, anchor] of words) {
    picture.append(svg("text", { x: area.left + part * (area.right - area.left), y: area.bottom + 27, "text-anchor": anchor, class: "quiet" }, text));
  }
}

function niceStep(rough) {
  const size = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * size).find((step) => step >= rough);
}

function line(order, values, x, y) {
  let pen = "M";
  let path = "";
  for (const k of order) {
    if (!Number.isFinite(values[k])) { pen = "M"; continue; }
    path += `${pen}${x(k).toFixed(1)} ${y(values[k]).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

function drawSignificance(picture, profile, choice, order, x, area) {
  const p = rowsOfTable(profile, "p_corrected", choice);
  if (!p || state.subject >= 0) return;
  const ticks = order.filter((k) => p[k] < 0.05).map((k) => `M${x(k).toFixed(1)} ${area.bottom + 4}v7`).join("");
  picture.append(svg("path", { d: ticks, stroke: css("--curve"), "stroke-width": 1.4 }));
}

function nearest(left) {
  const { order, x } = plotted;
  return order.reduce((best, k) => (Math.abs(x(k) - left) < Math.abs(x(best) - left) ? k : best), order[0]);
}

function rowOf(id) {
  if (!plotted || id === null) return -1;
  if (!isGroup(id)) return plotted.profile.rows.lastIndexOf(id);
  const below = opsBelow[id - nOps];
  for (let k = below.length - 1; k >= 0; k--) {
    const row = plotted.profile.rows.lastIndexOf(below[k]);
    if (row >= 0) return row;
  }
  return -1;
}

function place(mark, k) {
  const shown = k >= 0 && Number.isFinite(plotted.scores[k]);
  mark.setAttribute("visibility", shown ? "visible" : "hidden");
  if (!shown) return null;
  return [plotted.x(k), plotted.y(plotted.scores[k])];
}

function markInPlot(id) {
  if (!plotted) return;
  const at = place(plotted.marker, rowOf(id));
  if (!at) return;
  const [bar, dot] = plotted.marker.children;
  bar.setAttribute("x1", at[0]);
  bar.setAttribute("x2", at[0]);
  dot.setAttribute("cx", at[0]);
  dot.setAttribute("cy", at[1]);
}

function markChosen() {
  if (!plotted) return;
  const at = place(plotted.chosen, rowOf(state.selected));
  if (!at) return;
  plotted.chosen.setAttribute("cx", at[0]);
  plotted.chosen.setAttribute("cy", at[1]);
}
