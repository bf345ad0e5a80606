// What Python wrote into the page: JSON, and binary pieces that are decoded when they are needed.

const data = JSON.parse(document.getElementById("data").textContent);
const bytesText = document.getElementById("bytes").textContent;
const ops = data.ops;
const nOps = ops.address.length;
const ROOT = nOps; // groups are numbered after the operations; the model itself comes first

function decode([start, length], Kind) {
  const text = atob(bytesText.slice(start, start + 4 * Math.ceil(length / 3)));
  const raw = new Uint8Array(length);
  for (let k = 0; k < length; k++) raw[k] = text.charCodeAt(k);
  return new Kind(raw.buffer);
}

const isGroup = (id) => id >= nOps;
const groupOf = (id) => data.groups[id - nOps];
const nGroups = data.groups.length;
const depths = decode(data.depth, Float32Array);

// The group that each operation and group is in, and the operations below each group, in order of execution.
const ownerOf = new Int32Array(nOps + nGroups).fill(-1);
const opsBelow = Array.from({ length: nGroups }, () => []);
data.groups.forEach((group, k) => group.rows.flat().forEach((id) => { ownerOf[id] = nOps + k; }));
for (let op = 0; op < nOps; op++) {
  for (let id = ownerOf[op]; id >= 0; id = ownerOf[id]) opsBelow[id - nOps].push(op);
}

const parentsOf = Array.from({ length: nOps }, () => []);
const childrenOf = Array.from({ length: nOps }, () => []);
for (const pairs of [data.edges, data.loops]) {
  for (let k = 0; k < pairs.length; k += 2) {
    childrenOf[pairs[k]].push(pairs[k + 1]);
    parentsOf[pairs[k + 1]].push(pairs[k]);
  }
}

function pathOf(id) {
  return isGroup(id) ? groupOf(id).path : ops.address[id];
}

function nameOf(id) {
  if (id === ROOT) return data.name;
  return isGroup(id) ? groupOf(id).title : ops.title[id];
}

const idOfPath = new Map();
for (let id = nOps + nGroups - 1; id >= 0; id--) idOfPath.set(pathOf(id), id);

function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

function say(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return number.toExponential(2);
  return String(Number(number.toPrecision(3)));
}
