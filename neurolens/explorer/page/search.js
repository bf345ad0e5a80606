// Search: part of an address, or a glob with * in it.

const searchBox = document.getElementById("search");
const foundList = document.getElementById("found");
const MOST_FOUND = 60;
let found = [];
let chosenNumber = -1;

function search(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const matches = wanted.includes("*") ? globMatcher(wanted) : (path) => path.includes(wanted);
  const all = [];
  for (let id = 0; id < nOps + nGroups; id++) {
    if (id === ROOT) continue;
    const path = pathOf(id).toLowerCase();
    if (!matches(path)) continue;
    const rank = path === wanted ? 0 : path.startsWith(wanted) ? 1 : 2;
    all.push({ id, rank });
  }
  return all.sort((a, b) => a.rank - b.rank || a.id - b.id).map(({ id }) => id);
}

function globMatcher(glob) {
  const pattern = glob.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*");
  const expression = new RegExp(`^${pattern}$`);
  return (path) => expression.test(path);
}

function showFound() {
  found = search(searchBox.value);
  chosenNumber = found.length ? 0 : -1;
  const items = found.slice(0, MOST_FOUND).map((id, k) => element("li", {
    id: `found-${k}`, role: "option", "aria-selected": String(k === 0), onmousedown: (event) => { event.preventDefault(); take(k); },
  }, pathOf(id), element("span", { class: "quiet" }, isGroup(id) ? "  module" : `  ${ops.shape[id]}`)));
  if (found.length > MOST_FOUND) items.push(element("li", { class: "none" }, `and ${found.length - MOST_FOUND} more`));
  if (!found.length && searchBox.value.trim()) items.push(element("li", { class: "none" }, "Nothing is called so."));
  foundList.replaceChildren(...items);
  openList(items.length > 0);
}

function openList(isOpen) {
  foundList.hidden = !isOpen;
  searchBox.setAttribute("aria-expanded", String(isOpen));
  if (isOpen && chosenNumber >= 0) searchBox.setAttribute("aria-activedescendant", `found-${chosenNumber}`);
  else searchBox.removeAttribute("aria-activedescendant");
}

function moveChosen(by) {
  const count = Math.min(found.length, MOST_FOUND);
  if (!count) return;
  foundList.children[chosenNumber].setAttribute("aria-selected", "false");
  chosenNumber = (chosenNumber + by + count) % count;
  foundList.children[chosenNumber].setAttribute("aria-selected", "true");
  foundList.children[chosenNumber].scrollIntoView({ block: "nearest" });
  searchBox.setAttribute("aria-activedescendant", `found-${chosenNumber}`);
}

function take(k) {
  if (k < 0 || k >= found.length) return;
  openList(false);
  goTo(found[k]);
  stage.focus({ preventScroll: true });
}

searchBox.addEventListener("input", showFound);
searchBox.addEventListener("focus", () => { if (searchBox.value) showFound(); });
searchBox.addEventListener("blur", () => openList(false));
searchBox.addEventListener("keydown", (event) => {
  const act = { ArrowDown: () => moveChosen(1), ArrowUp: () => moveChosen(-1), Enter: () => take(chosenNumber), Escape: () => { openList(false); stage.focus(); } }[event.key];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
});
