// What colours mean: families of functions, or numbers along a scale.

const VIRIDIS = ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"];
const FAMILY_COLORS = { // told apart by eyes that lack one kind of cone, too: tests/explorer/test_colors.py
  light: ["#479ad8", "#e8a23d", "#96ceb2", "#f0dc6a", "#caa1d5", "#d9714f", "#b1bbc6", "#d0e5fa", "#ffffff"],
  dark: ["#1673ba", "#a86c07", "#3b9377", "#b29d29", "#8c5d99", "#b54f2e", "#66717f", "#454e5a", "#252e3a"],
};

const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
const VIRIDIS_RGB = VIRIDIS.map(rgb);

function viridis(part) {
  const place = Math.min(1, Math.max(0, part)) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS_RGB[low].map((a, k) => Math.round(a + (place - low) * (VIRIDIS_RGB[low + 1][k] - a)));
}

const asHex = (color) => "#" + color.map((n) => n.toString(16).padStart(2, "0")).join("");
const GRADIENT = `linear-gradient(to right, ${VIRIDIS.join(", ")})`;

function inkOn(hex) {
  // Black or white, whichever has more contrast to the ground (WCAG 2.1).
  const [r, g, b] = rgb(hex).map((n) => (n <= 10 ? n / 255 / 12.92 : ((n / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.185 ? "#ffffff" : "#0b0f16";
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function colorings() {
  return [
    { value: "family", label: "kind of function" },
    ...data.profiles.map((profile, k) => ({ value: `profile:${k}`, label: profile.name })),
    ...Object.keys(data.columns).map((name) => ({ value: `column:${name}`, label: name })),
  ];
}

// ------------------------------------------------------------------ scores

const tables = new Map(); // decoded once

function tableOf(profile, name) {
  const place = name === "bySubject" ? profile.bySubject : profile.tables[name];
  if (!place) return null;
  const key = place.join();
  if (!tables.has(key)) tables.set(key, decode(place, Float32Array));
  return tables.get(key);
}

function choiceOf(profile, picks = state.picks) {
  let number = 0;
  for (const { name, labels } of profile.dims) number = number * labels.length + Math.min(picks[name] || 0, labels.length - 1);
  return number;
}

function choicesOf(profile) {
  // All combinations of labels, in the order of the tables.
  let found = [{}];
  for (const { name, labels } of profile.dims) {
    found = found.flatMap((picks) => labels.map((_, k) => ({ ...picks, [name]: k })));
  }
  return found;
}

function sayPicks(profile, picks) {
  return profile.dims.map(({ name, labels }) => labels[Math.min(picks[name] || 0, labels.length - 1)]).join(" · ");
}

function rowsOfTable(profile, name, choice) {
  const table = tableOf(profile, name);
  const n = profile.rows.length;
  return table && table.subarray(choice * n, (choice + 1) * n);
}

function scoresOf(profile, choice, subject) {
  if (subject < 0 || !profile.bySubject || subject >= profile.subjects.length) return rowsOfTable(profile, "score", choice);
  const n = profile.rows.length;
  const start = (choice * profile.subjects.length + subject) * n;
  return tableOf(profile, "bySubject").subarray(start, start + n);
}

function currentProfile() {
  return state.color.startsWith("profile:") ? data.profiles[Number(state.color.slice(8))] : null;
}

// ------------------------------------------------------------------ values of operations

let painted = null; // of the operations: values, their range, what they are

function readValues() {
  const values = new Float32Array(nOps).fill(NaN);
  let label = "";
  const profile = currentProfile();
  if (profile) {
    const scores = scoresOf(profile, choiceOf(profile), state.subject);
    profile.rows.forEach((op, k) => { values[op] = scores[k]; });
    const who = state.subject >= 0 && profile.subjects[state.subject] ? `subject ${profile.subjects[state.subject]}` : "";
    label = [profile.measure, sayPicks(profile, state.picks), who].filter(Boolean).join(" · ");
  } else if (state.color.startsWith("column:")) {
    label = state.color.slice(7);
    values.set(decode(data.columns[label], Float32Array));
  } else {
    painted = null;
    return;
  }
  const logs = label === "bytes of the output" || label === "floating-point operations";
  const finite = Array.from(values).filter((value) => Number.isFinite(value) && (!logs || value > 0));
  const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  painted = { values, label, low, high, logs, none: finite.length === 0, some: finite.length < nOps };
}

function valueOf(id) {
  // What is folded shows the last operation in it that has a value.
  if (!painted) return NaN;
  if (!isGroup(id)) return painted.values[id];
  const below = opsBelow[id - nOps];
  for (let k = below.length - 1; k >= 0; k--) if (Number.isFinite(painted.values[below[k]])) return painted.values[below[k]];
  return NaN;
}

function partOf(value) {
  const { low, high, logs } = painted;
  if (high <= low) return 0.5;
  return logs ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

function fillOf(id) {
  if (!painted) return isGroup(id) ? css("--fold") : FAMILY_COLORS[state.theme][ops.family[id]];
  const value = valueOf(id);
  if (!Number.isFinite(value) || (painted.logs && value <= 0)) return css("--unknown");
  return asHex(viridis(partOf(value)));
}

function drawLegend() {
  const box = document.getElementById("legend");
  box.replaceChildren();
  if (!painted) {
    const used = new Set(ops.family);
    data.families.forEach((family, k) => {
      if (used.has(k)) box.append(legendKey(FAMILY_COLORS[state.theme][k], family));
    });
    return;
  }
  if (painted.none) {
    box.append(element("span", {}, `${painted.label}: no values`));
    return;
  }
  const scale = element("span", { class: "scale" });
  scale.style.background = GRADIENT;
  box.append(element("span", {}, painted.label), element("span", { class: "key" }, say(painted.low), scale, say(painted.high)));
  if (painted.some) box.append(legendKey(css("--unknown"), "no value"));
  if (painted.logs) box.append(element("span", { class: "quiet" }, "logarithmic"));
}

function legendKey(color, text) {
  const square = element("i");
  square.style.background = color;
  return element("span", { class: "key" }, square, text);
}

// ------------------------------------------------------------------ elements

function element(tag, attributes = {}, ...children) {
  // Text goes in as text, never as HTML.
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
