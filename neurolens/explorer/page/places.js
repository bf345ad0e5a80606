// Where everything is drawn. The rows of each module were found when the page was written; here sizes are added up
// for what is unfolded: rows are stacked, long stacks are broken into columns, and arrows that skip rows get lanes
// beside them, so that no arrow runs through a box.

const TEXT = 13.5; // pixels of letters
const HEAD = 28; // the band of a module that holds its name
const PAD = 12;
const GAP = 36; // between rows
const SPACE = 22; // between things in a row
const LANE = 7;
const BETWEEN = 26; // columns
const LONG = 760; // a stack higher than this is broken
const SHAPE_INNER = 1.1; // width / height that broken modules aim at

const pen = document.createElement("canvas").getContext("2d");
const FONT = '"DejaVu Sans", "Segoe UI", "Helvetica Neue", Arial, sans-serif';
const widths = new Map();

function widthOf(text, size) {
  const key = size + text;
  if (!widths.has(key)) {
    pen.font = `${size}px ${FONT}`;
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}

function cut(text, most) {
  return text.length <= most ? text : `${text.slice(0, Math.ceil(most * 0.6))}…${text.slice(-Math.floor(most * 0.4) + 1)}`;
}

function labelOf(id) {
  const passes = isGroup(id) || ops.passes[id] < 2 ? "" : `  ×${ops.passes[id]}`;
  const first = cut(nameOf(id), 30) + passes;
  if (!isGroup(id)) return ops.shape[id] ? `${first}\n${cut(ops.shape[id], 30)}` : first;
  const kind = groupOf(id).kind;
  return `+ ${first}\n${kind ? cut(kind, 22) + ", " : ""}${opsBelow[id - nOps].length} operations`;
}

function sizeOf(id) {
  const lines = labelOf(id).split("\n");
  return { w: Math.max(58, ...lines.map((line) => widthOf(line, TEXT))) + 18, h: lines.length > 1 ? 44 : 30 };
}

// ------------------------------------------------------------------ what asks for lanes

function chainOf(id) {
  const chain = [id];
  for (let owner = ownerOf[id]; owner >= 0; owner = ownerOf[owner]) chain.push(owner);
  return chain; // from the thing itself up to the model
}

function visibleEdges() {
  const found = new Map();
  for (const [pairs, loop] of [[data.edges, false], [data.loops, true]]) {
    for (let k = 0; k < pairs.length; k += 2) {
      const u = visibleOf(pairs[k]);
      const v = visibleOf(pairs[k + 1]);
      if (u === v && !(loop && pairs[k] === pairs[k + 1] && !isGroup(u))) continue;
      const key = u * (nOps + nGroups) + v;
      if (!found.has(key)) found.set(key, { u, v, loop });
      else if (!loop) found.get(key).loop = false;
    }
  }
  return [...found.values()];
}

function planRoutes(edges) {
  // For each arrow the modules it leaves, the one that holds both ends, and those it enters; for each module a list
  // of what crosses it.
  const demands = new Map();
  const demand = (group, one) => {
    if (!demands.has(group)) demands.set(group, []);
    demands.get(group).push(one);
  };
  for (const edge of edges) {
    const left = chainOf(edge.u);
    const right = chainOf(edge.v);
    let i = left.length - 1;
    let j = right.length - 1;
    while (i > 1 && j > 1 && left[i - 1] === right[j - 1]) { i--; j--; }
    edge.meet = left[i];
    edge.out = left.slice(0, i); // from the thing up to the child of the meeting place
    edge.into = right.slice(0, j);
    for (let k = 1; k < i; k++) demand(left[k], { kind: "out", source: edge.u, child: left[k - 1] });
    demand(edge.meet, { kind: edge.loop ? "loop" : "pass", source: edge.u, child: left[i - 1], to: right[j - 1] });
    for (let k = 1; k < j; k++) demand(right[k], { kind: "in", source: edge.u, child: right[k - 1] });
  }
  return demands;
}

// ------------------------------------------------------------------ sizes, from the inside out

function layOut(width, height) {
  const edges = visibleEdges();
  const demands = planRoutes(edges);
  const root = stack(ROOT, demands, width / Math.max(height, 1));
  const places = new Map();
  settle(root, 0, 0, places);
  for (const edge of edges) edge.points = route(edge, places);
  return { places, edges };
}

function stack(id, demands, shape) {
  const box = { id, rowOf: new Map(), columnOf: new Map() };
  box.rows = groupOf(id).rows.map((row, number) => {
    const things = row.map((child) => {
      box.rowOf.set(child, number);
      return isGroup(child) && state.open.has(child) ? stack(child, demands, SHAPE_INNER) : { id: child, ...sizeOf(child) };
    });
    return {
      things,
      w: things.reduce((sum, thing) => sum + thing.w, SPACE * (things.length - 1)),
      h: Math.max(...things.map((thing) => thing.h)),
    };
  });
  box.columns = breakIntoColumns(box.rows, shape, id === ROOT);
  box.columns.forEach((column, k) => {
    for (let row = column.start; row < column.stop; row++) {
      box.rows[row].things.forEach((thing) => box.columnOf.set(thing.id, k));
    }
  });
  giveLanes(box, demands.get(id) || []);
  measure(box);
  return box;
}

function breakIntoColumns(rows, shape, isRoot) {
  const total = rows.reduce((sum, row) => sum + row.h + GAP, 0);
  const tallest = Math.max(...rows.map((row) => row.h + GAP));
  let best = null;
  const most = total > (isRoot ? 420 : LONG) ? Math.min(rows.length, 60) : 1;
  for (let count = 1; count <= most; count++) {
    const columns = cutAt(rows, Math.max(tallest, total / count));
    const w = columns.reduce((sum, column) => sum + column.w + BETWEEN, 0);
    const h = Math.max(...columns.map((column) => column.h));
    const miss = Math.abs(Math.log(w / h / shape));
    if (!best || miss < best.miss) best = { columns, miss };
  }
  return best.columns;
}

function cutAt(rows, limit) {
  const columns = [];
  let column = null;
  rows.forEach((row, k) => {
    if (!column || column.h + row.h + GAP > limit + 1) columns.push((column = { start: k, stop: k, w: 0, h: 0 }));
    column.stop = k + 1;
    column.w = Math.max(column.w, row.w);
    column.h += row.h + GAP;
  });
  return columns;
}

function giveLanes(box, demands) {
  // A source has one lane on a side of a column, however many arrows it feeds.
  const wanted = new Map();
  const want = (side, column, source, a, b) => {
    const key = `${side} ${column} ${source}`;
    const known = wanted.get(key);
    if (known) Object.assign(known, { a: Math.min(known.a, a), b: Math.max(known.b, b) });
    else wanted.set(key, { key, side, column, a, b });
  };
  for (const { kind, source, child, to } of demands) {
    const row = box.rowOf.get(child);
    const column = box.columnOf.get(child);
    const { start, stop } = box.columns[column];
    if (kind === "out" && row < stop - 1) want("right", column, source, row, stop);
    if (kind === "in" && row > start) want("left", column, source, start - 1, row);
    if (kind !== "pass" && kind !== "loop") continue;
    const target = box.rowOf.get(to);
    const end = box.columnOf.get(to);
    if (kind === "pass" && end === column && target === row + 1) continue;
    const side = kind === "loop" ? "left" : "right";
    if (end === column) want(side, column, source, Math.min(row, target - 1), Math.max(row, target));
    else want(side, column, source, start - 1, stop);
    if (end !== column && !(side === "right" && end === column + 1)) want("left", end, source, box.columns[end].start - 1, target);
  }
  box.lanes = new Map();
  box.columns.forEach((column) => { column.left = []; column.right = []; });
  for (const lane of [...wanted.values()].sort((p, q) => p.b - p.a - (q.b - q.a))) {
    const taken = box.columns[lane.column][lane.side];
    let number = taken.findIndex((spans) => spans.every(([a, b]) => lane.b <= a || b <= lane.a));
    if (number < 0) number = taken.push([]) - 1;
    taken[number].push([lane.a, lane.b]);
    box.lanes.set(lane.key, number);
  }
  box.channel = box.columns.length > 2 || demands.some(({ kind }) => kind === "loop") ? 16 : 0;
}

function measure(box) {
  const head = box.id === ROOT ? 0 : HEAD;
  box.top = head + box.channel + 16;
  let x = PAD;
  for (const column of box.columns) {
    column.x = x + column.left.length * LANE;
    x = column.x + column.w + column.right.length * LANE + BETWEEN;
  }
  box.w = x - BETWEEN + PAD;
  box.h = box.top + Math.max(...box.columns.map((column) => column.h)) - GAP + 18;
  if (box.id === ROOT) return;
  // The name stands at the left of the head; an arrow that comes in at the middle must not cross it.
  box.handle = widthOf(handleLabel(box.id), TEXT) + 14;
  const wanted = 2 * (box.handle + 14);
  if (box.columns.length === 1 && box.w < wanted) {
    box.columns[0].x += (wanted - box.w) / 2;
    box.w = wanted;
  }
  box.w = Math.max(box.w, box.handle + 2 * PAD);
}

function handleLabel(id) {
  const kind = groupOf(id).kind;
  const name = cut(nameOf(id), 24);
  return kind && name.length + kind.length < 22 ? `− ${name}: ${kind}` : `− ${name}`;
}

// ------------------------------------------------------------------ places, from the outside in

function settle(box, x, y, places) {
  Object.assign(box, { x, y });
  places.set(box.id, box);
  for (const column of box.columns) {
    let top = y + box.top;
    for (let k = column.start; k < column.stop; k++) {
      const row = box.rows[k];
      let left = x + column.x + (column.w - row.w) / 2;
      Object.assign(row, { top, bottom: top + row.h });
      for (const thing of row.things) {
        if (thing.rows) settle(thing, left, top, places);
        else places.set(thing.id, { ...thing, x: left, y: top });
        left += thing.w + SPACE;
      }
      top += row.h + GAP;
    }
  }
}

function laneAt(box, side, column, source) {
  const number = box.lanes.get(`${side} ${column} ${source}`) || 0;
  const { x, w } = box.columns[column];
  return box.x + (side === "right" ? x + w + 5 + number * LANE : x - 5 - number * LANE);
}

function route(edge, places) {
  const { u, v, meet, out, into, loop } = edge;
  const start = places.get(u);
  const end = places.get(v);
  const points = [[start.x + start.w / 2, start.y + start.h]];
  let x = points[0][0];
  for (let k = 1; k < out.length; k++) x = leave(places.get(out[k]), out[k - 1], u, x, points);
  const tail = [];
  const entry = enter(into, u, places, tail);
  cross(places.get(meet), out[out.length - 1], into[into.length - 1], u, x, entry, loop, points);
  points.push(...tail, [end.x + end.w / 2, end.y]);
  return straighten(points);
}

const below = (row, number) => row.bottom + 7 + (number % 3) * 3;
const above = (row, number) => row.top - 12 - (number % 3) * 3;

function leave(box, child, source, x, points) {
  const number = box.rowOf.get(child);
  const column = box.columnOf.get(child);
  if (number === box.columns[column].stop - 1) return x;
  const lane = laneAt(box, "right", column, source);
  const y = below(box.rows[number], source);
  points.push([x, y], [lane, y], [lane, box.y + box.h - 4]);
  return lane;
}

function enter(into, source, places, points) {
  // From the child of the meeting place down to the thing itself; returns where its top is entered.
  const v = places.get(into[0]);
  let x = v.x + v.w / 2;
  const steps = [];
  for (let k = 1; k < into.length; k++) {
    const box = places.get(into[k]);
    const number = box.rowOf.get(into[k - 1]);
    const column = box.columnOf.get(into[k - 1]);
    if (number === box.columns[column].start) continue;
    const lane = laneAt(box, "left", column, source);
    const y = above(box.rows[number], source);
    steps.unshift([lane, box.y + 2], [lane, y], [x, y]);
    x = lane;
  }
  points.push(...steps);
  return x;
}

function cross(box, child, to, source, x, entry, loop, points) {
  const a = box.rowOf.get(child);
  const b = box.rowOf.get(to);
  const from = box.columnOf.get(child);
  const end = box.columnOf.get(to);
  const low = below(box.rows[a], source);
  const high = above(box.rows[b], source);
  if (!loop && from === end && b === a + 1) {
    points.push([x, box.rows[a].bottom + 5], [entry, box.rows[b].top - 12]);
    return;
  }
  const side = loop ? "left" : "right";
  const lane = laneAt(box, side, from, source);
  points.push([x, low], [lane, low]);
  if (from !== end && !(side === "right" && end === from + 1)) {
    const channel = box.y + box.top - 22 - (source % 3) * 3;
    const second = laneAt(box, "left", end, source);
    points.push([lane, channel], [second, channel], [second, high]);
  } else points.push([lane, high]);
  points.push([entry, high]);
}

function straighten(points) {
  const kept = [points[0]];
  for (let k = 1; k < points.length - 1; k++) {
    const [ax, ay] = kept[kept.length - 1];
    const [bx, by] = points[k];
    const [cx, cy] = points[k + 1];
    if (Math.abs(ax - bx) + Math.abs(ay - by) < 1) continue;
    if (Math.abs((bx - ax) * (cy - by) - (by - ay) * (cx - bx)) > 1) kept.push(points[k]);
  }
  kept.push(points[points.length - 1]);
  return kept;
}
