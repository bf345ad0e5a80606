// Activation maps, RDMs and planes: levels to pixels. Level 0 is missing, 1 to 255 run along the scale.

const LEVELS = Array.from({ length: 256 }, (_, k) => (k === 0 ? [150, 150, 150] : viridis((k - 1) / 254)));

function drawLevels(canvas, levels, width, height, blank = null) {
  canvas.width = width;
  canvas.height = height;
  const image = canvas.getContext("2d").createImageData(width, height);
  levels.forEach((level, k) => image.data.set([...LEVELS[level], blank && blank(k) ? 0 : 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function scaleBar(low, high, words) {
  const bar = element("i");
  bar.style.background = GRADIENT;
  return element("div", { class: "scalebar" }, say(low), bar, say(high), element("span", { class: "quiet" }, words));
}

function picture(id, alt = id) {
  const source = data.stimuli.pictures[id];
  return source ? element("img", { src: source, alt, title: id }) : null;
}

// ------------------------------------------------------------------ activation maps

function showMaps(op) {
  const found = data.maps[op] || [];
  return found.flatMap((maps) => {
    const [nStimuli, nPasses, height, width] = maps.shape;
    const levels = decode(maps.levels, Uint8Array);
    const grid = element("div", { class: "maps" });
    const fill = (pass) => {
      grid.replaceChildren(...data.stimuli.shown.slice(0, nStimuli).map((id, k) => {
        const start = (k * nPasses + pass) * height * width;
        const canvas = element("canvas", { role: "img", "aria-label": `Activation to ${id}` });
        drawLevels(canvas, levels.subarray(start, start + height * width), width, height);
        if (height < width / 4) canvas.style.height = "24px";
        return element("figure", {}, picture(id), canvas, element("figcaption", { title: id }, id));
      }));
    };
    fill(nPasses - 1);
    const parts = [];
    if (found.length > 1) parts.push(element("p", {}, element("code", {}, maps.address)));
    if (nPasses > 1) {
      const options = maps.passes.map((number, k) => element("option", { value: k, selected: k === nPasses - 1 }, `pass ${number}`));
      parts.push(element("label", { class: "small" }, "Pass ", element("select", { onchange: (event) => fill(Number(event.target.value)) }, ...options)));
    }
    return [...parts, grid, scaleBar(maps.low, maps.high, ""), element("p", { class: "small" }, `${maps.said}.${levels.includes(0) ? " Grey is not a finite number." : ""}`)];
  });
}

// ------------------------------------------------------------------ RDM

const RDM_SIZE = 330;
const STRIP = 30;

function showRdm(op) {
  const found = data.rdms[op];
  if (found.low === null) return [element("p", { class: "small" }, `No ${data.metric} distance of any two patterns is defined, as where they do not vary.`)];
  const ids = data.stimuli.ids;
  const n = ids.length;
  const upper = decode(found.levels, Uint8Array);
  const full = new Uint8Array(n * n);
  const at = (i, j) => upper[i * n - (i * (i + 1)) / 2 + j - i - 1];
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) full[i * n + j] = full[j * n + i] = at(i, j);
  const canvas = element("canvas", { role: "img", "aria-label": `RDM of ${n} stimuli`, tabindex: "0" });
  drawLevels(canvas, full, n, n, (k) => k % (n + 1) === 0);
  const strip = Object.keys(data.stimuli.pictures).length ? STRIP : 0;
  Object.assign(canvas.style, { left: `${strip + 4}px`, top: `${strip + 4}px`, width: `${RDM_SIZE}px`, height: `${RDM_SIZE}px` });
  const box = element("div", { class: "rdm" }, canvas);
  box.style.height = `${RDM_SIZE + strip + 8}px`;
  if (strip) addStrips(box, ids);
  const pair = element("div", { class: "pair" }, element("span", { class: "quiet" }, "Point at a cell to see its two stimuli."));
  const tell = (i, j) => {
    const level = i === j ? null : full[i * n + j];
    const value = level === null ? 0 : level === 0 ? null : found.low + ((level - 1) / 254) * (found.high - found.low);
    pair.replaceChildren(...[picture(ids[i]), picture(ids[j]), element("span", {}, element("bdi", {}, ids[i]), " – ", element("bdi", {}, ids[j]), `: ${value === null ? "missing" : say(value)}`)].filter(Boolean));
  };
  canvas.addEventListener("mousemove", (event) => {
    const cell = (offset) => Math.max(0, Math.min(n - 1, Math.floor((offset / RDM_SIZE) * n)));
    tell(cell(event.offsetY), cell(event.offsetX));
  });
  let [row, column] = [0, 1];
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    row = Math.max(0, Math.min(n - 1, row + step[0]));
    column = Math.max(0, Math.min(n - 1, column + step[1]));
    tell(row, column);
  });
  const some = data.stimuli.count > n ? `${n} of ${data.stimuli.count} stimuli, evenly chosen. ` : "";
  return [box, scaleBar(found.low, found.high, `${data.metric} distance`), pair, element("p", { class: "small" }, `${some}The diagonal, left blank, is zero.${upper.includes(0) ? " Grey is missing." : ""}`)];
}

function addStrips(box, ids) {
  const count = Math.min(ids.length, Math.floor(RDM_SIZE / (STRIP - 4)));
  const side = Math.min(STRIP - 2, RDM_SIZE / count - 1);
  for (let k = 0; k < count; k++) {
    const index = Math.floor(((k + 0.5) * ids.length) / count);
    const middle = STRIP + 4 + ((index + 0.5) / ids.length) * RDM_SIZE - side / 2;
    for (const [left, top] of [[0, middle], [middle, 0]]) {
      const image = picture(ids[index], "");
      if (!image) continue;
      Object.assign(image.style, { left: `${left}px`, top: `${top}px`, width: `${side}px`, height: `${side}px` });
      box.append(image);
    }
  }
}

// ------------------------------------------------------------------ plane

function showPlane(op) {
  const found = data.rdms[op];
  const points = decode(found.points, Int8Array);
  if (!points.length) return [element("p", { class: "small" }, "No plane: some distances are missing.")];
  const box = element("div", { class: "plane", role: "img", "aria-label": "Stimuli in a plane: near ones evoke similar patterns" });
  const half = [186 - 20, 150 - 20];
  data.stimuli.ids.forEach((id, k) => {
    const mark = picture(id) || element("i", { title: id });
    const size = mark.tagName === "IMG" ? 30 : 9;
    mark.style.left = `${186 + (points[2 * k] / 127) * half[0] - size / 2}px`;
    mark.style.top = `${150 - (points[2 * k + 1] / 127) * half[1] - size / 2}px`;
    box.append(mark);
  });
  return [box, element("p", { class: "small" }, `Classical scaling of the RDM to two dimensions, which keep ${Math.round(100 * (found.share || 0))} % of its eigenvalues.`)];
}
