// Leaderboard: rows as arrays in the order of its columns; one page of them is in the document at a time.
const rowsOnPage = 50;
const board = byId("board");
const heads = [...board.tHead.rows[0].cells];
const keys = heads.map((cell) => cell.dataset.key);
const column = (key) => keys.indexOf(key);
const isNumber = (key) => heads[column(key)].classList.contains("n");
const digits = { fitness: 2, std: 2, error: 2, seconds: 0, macs: 1 };
const field = (row, key) => row[column(key)];
const runName = (row) => data.runs[field(row, "run")];
let rows = [];

function cellText(row, key) {
  const value = field(row, key);
  if (value === null) return "-";
  if (key === "run") return data.runs[value];
  if (typeof value !== "number") return value;
  return key in digits ? value.toFixed(digits[key]) : value.toLocaleString("en");
}

function idButton(run, id) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = id.toLocaleString("en");
  button.title = "Draw it, and show its lineage";
  button.addEventListener("click", () => showGenotype(run, id));
  return button;
}

function drawBoard() {
  const pages = Math.max(1, Math.ceil(rows.length / rowsOnPage));
  state.page = Math.max(0, Math.min(state.page, pages - 1));
  const [from, to] = [state.page * rowsOnPage, Math.min(rows.length, (state.page + 1) * rowsOnPage)];
  const body = document.createElement("tbody");
  for (const row of rows.slice(from, to)) {
    const line = body.insertRow();
    for (const key of keys) {
      const cell = line.insertCell();
      if (isNumber(key)) cell.className = "n";
      cell.append(key === "id" ? idButton(field(row, "run"), field(row, "id")) : cellText(row, key));
    }
  }
  board.replaceChild(body, board.tBodies[0]);
  const [first, last, all] = [from + 1, to, rows.length].map((count) => count.toLocaleString("en"));
  byId("page").textContent = rows.length ? `${first} to ${last} of ${all}` : "none";
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
}

function sortBoard() {
  const sign = state.descending ? -1 : 1;
  const value = state.key === "run" ? runName : (row) => field(row, state.key);
  rows.sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === null || y === null) return (x === null) - (y === null);
    return (x < y ? -1 : x > y ? 1 : 0) * sign || field(a, "id") - field(b, "id");
  });
  for (const cell of heads) cell.removeAttribute("aria-sort");
  heads[column(state.key)].setAttribute("aria-sort", state.descending ? "descending" : "ascending");
}

// All rows that the filter and the choice of runs leave.
function fillBoard() {
  const wanted = state.filter.trim().toLowerCase();
  const match = (row) => String(field(row, "id")) === wanted || [cellText(row, "mutation"), runName(row)].some((text) => text.toLowerCase().includes(wanted));
  rows = data.rows.filter((row) => !isOff(field(row, "run")) && (!wanted || match(row)));
  sortBoard();
  drawBoard();
}

function turn(pages) {
  keep({ page: state.page + pages });
  drawBoard();
}

if (!keys.includes(state.key)) state.key = "fitness"; // of a page that had other columns
for (const cell of heads) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = cell.textContent;
  cell.replaceChildren(button);
  button.addEventListener("click", () => {
    const key = cell.dataset.key;
    keep({ key, descending: key === state.key ? !state.descending : !["id", "run", "parent", "mutation"].includes(key), page: 0 });
    sortBoard();
    drawBoard();
  });
}
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("filter").value = state.filter;
byId("filter").addEventListener("input", (event) => {
  keep({ filter: event.target.value, page: 0 });
  fillBoard();
});
board.closest("section").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
fillBoard();
