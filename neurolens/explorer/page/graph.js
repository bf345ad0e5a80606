// The graph, drawn by cytoscape.js at places that are given.

const stage = document.getElementById("graph");
const tip = document.getElementById("tip");
let cy = null;
let drawn = null; // places and arrows

function makeGraph() {
  cy = cytoscape({
    container: stage,
    layout: { name: "preset" },
    minZoom: 0.02,
    maxZoom: 4,
    boxSelectionEnabled: false,
    autoungrabify: true,
    autounselectify: true,
    pixelRatio: "auto",
    textureOnViewport: nOps > 400,
    hideEdgesOnViewport: false,
  });
  cy.on("tap", "node", (event) => tapped(event.target));
  cy.on("tap", (event) => { if (event.target === cy) select(null); });
  cy.on("mouseover", "node", (event) => hover(idOf(event.target)));
  cy.on("mouseout", "node", () => hover(null));
  cy.on("mousemove", "node", (event) => moveTip(event.renderedPosition));
  cy.on("viewport", () => {
    tip.hidden = true;
    const { x, y } = cy.pan();
    state.view = [cy.zoom(), x, y];
    writeFragment();
  });
}

const idOf = (node) => Number(node.id().replace(/\D/g, ""));

function tapped(node) {
  const id = idOf(node);
  stage.focus({ preventScroll: true });
  if (node.id().startsWith("h")) { // the name of an unfolded module
    keepInPlace(id, () => fold(id, false));
    select(id);
  } else if (isGroup(id) && !state.open.has(id)) {
    keepInPlace(id, () => fold(id, true));
    select(id);
  } else select(id);
}

function keepInPlace(id, change) {
  // What was clicked stays under the pointer.
  const before = topLeft(id);
  change();
  const after = topLeft(id);
  if (before && after) cy.panBy({ x: (before.x - after.x) * cy.zoom(), y: (before.y - after.y) * cy.zoom() });
}

function topLeft(id) {
  const place = drawn && drawn.places.get(visibleOf(id));
  return place ? { x: place.x, y: place.y } : null;
}

function drawGraph() {
  drawn = layOut(stage.clientWidth, stage.clientHeight - foot());
  const elements = [];
  for (const [id, place] of drawn.places) {
    if (id === ROOT) continue;
    const position = { x: place.x + place.w / 2, y: place.y + place.h / 2 };
    const size = { w: place.w, h: place.h };
    if (!place.rows) {
      elements.push({ group: "nodes", pannable: true, data: { id: `n${id}`, label: labelOf(id), ...size }, position, classes: isGroup(id) ? "folded" : "op" });
      continue;
    }
    elements.push({ group: "nodes", pannable: true, data: { id: `n${id}`, z: chainOf(id).length, ...size }, position, classes: "frame" });
    elements.push({
      group: "nodes",
      pannable: true,
      data: { id: `h${id}`, label: handleLabel(id), w: place.handle, h: HEAD - 4 },
      position: { x: place.x + place.handle / 2 + 1, y: place.y + HEAD / 2 },
      classes: "handle",
    });
  }
  for (const { u, v, loop, points } of drawn.edges) {
    if (u === v) elements.push(anchor(u, points[points.length - 1]));
    const target = u === v ? `a${u}` : `n${v}`;
    elements.push({ group: "edges", data: { id: `e${u}-${v}`, source: `n${u}`, target, ...ends(u, v), ...bend(points) }, classes: loop ? "loop" : "" });
  }
  cy.batch(() => {
    cy.elements().remove();
    cy.add(elements);
  });
  cy.style(graphStyle());
  paintGraph();
}

function anchor(id, [x, y]) {
  // cytoscape routes an arrow from a node to itself in its own way; so it ends in a point at the node's top.
  return { group: "nodes", pannable: true, data: { id: `a${id}` }, position: { x, y }, classes: "anchor" };
}

function ends(u, v) {
  // In pixels from the middle of a box, so that a thicker border does not move the arrow.
  return { from: drawn.places.get(u).h / 2, to: u === v ? 0 : -drawn.places.get(v).h / 2 };
}

function bend(points) {
  // cytoscape takes the bends of an arrow as parts of the way between its ends, and distances from this line.
  const [sx, sy] = points[0];
  const [tx, ty] = points[points.length - 1];
  const length = Math.hypot(tx - sx, ty - sy) || 1;
  const [dx, dy] = [(tx - sx) / length, (ty - sy) / length];
  const inner = points.slice(1, -1);
  if (!inner.length) return { bends: 0 };
  return {
    bends: inner.length,
    weights: inner.map(([x, y]) => (((x - sx) * dx + (y - sy) * dy) / length).toFixed(5)).join(" "),
    distances: inner.map(([x, y]) => (-(x - sx) * dy + (y - sy) * dx).toFixed(2)).join(" "),
  };
}

function paintGraph() {
  if (!drawn) return;
  cy.batch(() => {
    cy.nodes(".op, .folded").forEach((node) => {
      const fill = fillOf(idOf(node));
      node.data({ fill, ink: inkOn(fill) });
    });
  });
  drawLegend();
  markSelected();
}

function markSelected() {
  cy.batch(() => {
    cy.elements(".selected, .near").removeClass("selected near");
    if (state.selected === null) return;
    const node = cy.getElementById(`n${visibleOf(state.selected)}`);
    node.addClass("selected");
    if (!node.hasClass("frame")) node.connectedEdges().addClass("near");
  });
}

function graphStyle() {
  const text = { label: "data(label)", "font-family": FONT, "font-size": TEXT, "text-wrap": "wrap", "text-valign": "center", "text-halign": "center", "line-height": 1.25, "min-zoomed-font-size": 5 };
  const box = { width: "data(w)", height: "data(h)", "border-width": 1, "border-color": css("--frame"), "overlay-opacity": 0, "z-index-compare": "manual" };
  return [
    { selector: "node.op", style: { ...box, ...text, shape: "round-rectangle", "corner-radius": 6, "background-color": "data(fill)", color: "data(ink)", "z-index": 30 } },
    { selector: "node.folded", style: { ...box, ...text, shape: "round-rectangle", "corner-radius": 6, "background-color": "data(fill)", color: "data(ink)", "border-width": 3, "border-style": "double", "z-index": 30 } },
    { selector: "node.frame", style: { ...box, shape: "round-rectangle", "corner-radius": 8, "background-color": css("--edge"), "background-opacity": 0.08, "z-index": "data(z)" } },
    { selector: "node.handle", style: { ...text, width: "data(w)", height: "data(h)", shape: "round-rectangle", "corner-radius": 6, "background-color": css("--ground"), "background-opacity": 0.85, color: css("--ink"), "border-width": 0, "overlay-opacity": 0, "z-index-compare": "manual", "z-index": 40 } },
    { selector: "node.anchor", style: { width: 1, height: 1, opacity: 0, events: "no" } },
    { selector: "edge", style: { width: 1.4, "line-color": css("--edge"), "target-arrow-color": css("--edge"), "target-arrow-shape": "triangle", "arrow-scale": 0.75, "curve-style": "straight", "source-endpoint": (edge) => `0 ${edge.data("from")}px`, "target-endpoint": (edge) => `0 ${edge.data("to")}px`, "overlay-opacity": 0, events: "no", "z-index": 20, "z-index-compare": "manual" } },
    { selector: "edge[bends > 0]", style: { "curve-style": "round-segments", "edge-distances": "endpoints", "segment-weights": "data(weights)", "segment-distances": "data(distances)", "segment-radii": 5 } },
    { selector: "edge.loop", style: { "line-style": "dashed", "line-color": "#d0453a", "target-arrow-color": "#d0453a" } },
    { selector: "edge.near", style: { width: 2.6, "line-color": css("--accent"), "target-arrow-color": css("--accent"), "z-index": 25 } },
    { selector: "node.near", style: { "border-width": 2.5, "border-color": css("--accent") } },
    { selector: "node.selected", style: { "border-width": 4, "border-style": "solid", "border-color": css("--accent") } },
  ];
}

function fitGraph() {
  cy.resize();
  const { x1, y1, w, h } = cy.elements().boundingBox({ includeLabels: false });
  const room = { w: stage.clientWidth - 36, h: stage.clientHeight - 26 - foot() };
  const zoom = Math.min(1.25, room.w / w, room.h / h);
  cy.viewport({ zoom, pan: { x: 18 + (room.w - zoom * w) / 2 - zoom * x1, y: 16 + (room.h - zoom * h) / 2 - zoom * y1 } });
}

const foot = () => document.getElementById("legend").offsetHeight + 16; // what the legend covers

const LEGIBLE = 0.75; // letters of 10 pixels
const RIM = 16; // pixels around the graph

function bringIntoView(id) {
  const place = drawn.places.get(visibleOf(id));
  if (!place) return;
  const zoom = Math.max(cy.zoom(), LEGIBLE);
  const { x, y } = cy.pan();
  const [left, top] = [place.x * cy.zoom() + x, place.y * cy.zoom() + y];
  const [right, bottom] = [left + place.w * cy.zoom(), top + place.h * cy.zoom()];
  const inside = left > 10 && top > 10 && right < stage.clientWidth - 10 && bottom < stage.clientHeight - foot();
  if (inside && zoom === cy.zoom()) return;
  const centre = { x: place.x + place.w / 2, y: place.y + Math.min(place.h / 2, stage.clientHeight / zoom / 2.5) };
  const whole = drawn.places.get(ROOT);
  cy.viewport({
    zoom,
    pan: {
      x: keepFull(stage.clientWidth / 2 - centre.x * zoom, whole.x * zoom, whole.w * zoom, stage.clientWidth),
      y: keepFull(stage.clientHeight / 2 - centre.y * zoom, whole.y * zoom, whole.h * zoom, stage.clientHeight - foot()),
    },
  });
}

function keepFull(pan, start, size, room) {
  // No more emptiness beside the graph than it takes: none where it is larger than the view, else it is in the middle.
  if (size + 2 * RIM <= room) return (room - size) / 2 - start;
  return Math.max(room - RIM - size - start, Math.min(RIM - start, pan));
}

// ------------------------------------------------------------------ hover, here and in the plot

let hovered = null;

function hover(id, where = null) {
  if (hovered !== null) cy.getElementById(`n${visibleOf(hovered)}`).removeClass("near");
  hovered = id;
  markInPlot(id);
  if (id === null) {
    tip.hidden = true;
    return;
  }
  const node = cy.getElementById(`n${visibleOf(id)}`);
  if (!node.hasClass("frame")) node.addClass("near");
  const value = valueOf(id);
  const lines = [pathOf(id) || data.name, isGroup(id) ? count(opsBelow[id - nOps].length, "operation") : ops.shape[id]];
  if (painted) lines.push(`${painted.label}: ${say(value)}`);
  tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
  tip.hidden = false;
  if (where) moveTip(where);
}

function moveTip({ x, y }) {
  tip.style.left = `${Math.max(4, Math.min(x + 14, stage.clientWidth - tip.offsetWidth - 6))}px`;
  tip.style.top = `${y + 20 + tip.offsetHeight > stage.clientHeight ? Math.max(4, y - tip.offsetHeight - 12) : y + 16}px`;
}
