"use strict";
// The page works without this; with it, figures tell their values, and the leaderboard sorts, filters and shows lineages.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  for (const part of document.querySelectorAll(".script")) part.hidden = false;

  // Theme: automatic -> dark -> light.
  const themes = ["automatic", "dark", "light"];
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "automatic") + 1) % themes.length];
    if (next === "automatic") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    theme.textContent = "Theme: " + next;
  });

  // Values of figures, by pointer and by arrow keys.
  const tip = document.getElementById("tip");
  const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 5 });

  function watchPanel(holder) {
    const svg = holder.querySelector("svg");
    const panel = data.panels[holder.dataset.panel];
    const [left, top, right, bottom] = panel.box;
    const cursor = svg.querySelector(".cursor");
    const scale = (value, [low, high], from, to) => from + ((value - low) / (high - low)) * (to - from);
    const place = (series, k) => [scale(series.x[k], panel.x, left, right), scale(series.y[k], panel.y, bottom, top)];
    let chosen = { s: 0, k: -1 };

    function show(s, k) {
      const series = panel.series[s];
      const [x, y] = place(series, k);
      chosen = { s, k };
      cursor.setAttribute("visibility", "visible");
      cursor.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      const name = panel.categories.length ? panel.categories[series.x[k]] : number(series.x[k]);
      tip.textContent = `${series.label}\n${panel.xLabel}: ${name}\n${panel.yLabel}: ${number(series.y[k])}`;
      tip.hidden = false;
      const frame = svg.getBoundingClientRect();
      const shrink = frame.width / svg.viewBox.baseVal.width;
      const wish = frame.left + x * shrink + 12;
      tip.style.left = Math.max(4, Math.min(wish, document.documentElement.clientWidth - tip.offsetWidth - 8)) + window.scrollX + "px";
      tip.style.top = frame.top + y * shrink + 12 + window.scrollY + "px";
    }

    function hide() {
      cursor.setAttribute("visibility", "hidden");
      tip.hidden = true;
    }

    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const shrink = frame.width / svg.viewBox.baseVal.width;
      const px = (event.clientX - frame.left) / shrink, py = (event.clientY - frame.top) / shrink;
      let best = null, nearest = Infinity;
      panel.series.forEach((series, s) => {
        for (let k = 0; k < series.x.length; k++) {
          const [x, y] = place(series, k);
          const distance = (x - px) ** 2 + (y - py) ** 2;
          if (distance < nearest) { nearest = distance; best = [s, k]; }
        }
      });
      if (best) show(...best);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const series = panel.series[chosen.s];
      const last = series.x.length - 1;
      const step = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
      if (event.key === "ArrowRight") show(chosen.s, Math.min(last, chosen.k + step));
      else if (event.key === "ArrowLeft") show(chosen.s, Math.max(0, chosen.k - step));
      else if (event.key === "Home") show(chosen.s, 0);
      else if (event.key === "End") show(chosen.s, last);
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const count = panel.series.length;
        const s = (chosen.s + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
        show(s, Math.max(0, Math.min(panel.series[s].x.length - 1, chosen.k)));
      } else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
  }
  for (const holder of document.querySelectorAll("[data-panel]")) watchPanel(holder);

  // Leaderboard: rows as arrays in the order of its columns; one page of them is in the document at a time.
  const rowsOnPage = 50;
  const board = document.getElementById("board");
  const heads = [...board.tHead.rows[0].cells];
  const keys = heads.map((cell) => cell.dataset.key);
  const isNumber = (key) => heads[column(key)].classList.contains("n");
  const column = (key) => keys.indexOf(key);
  const digits = { fitness: 2, std: 2, error: 2, seconds: 0 };
  let rows = data.rows, sortKey = "fitness", descending = true, page = 0;

  const runName = (row) => data.runs[row[column("run")]];
  function text(row, key) {
    const value = row[column(key)];
    if (value === null) return "-";
    if (key === "run") return data.runs[value];
    if (typeof value !== "number") return value;
    return key in digits ? value.toFixed(digits[key]) : value.toLocaleString("en");
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(rows.length / rowsOnPage));
    page = Math.max(0, Math.min(page, pages - 1));
    const body = document.createElement("tbody");
    for (const row of rows.slice(page * rowsOnPage, (page + 1) * rowsOnPage)) {
      const line = body.insertRow();
      for (const key of keys) {
        const cell = line.insertCell();
        if (isNumber(key)) cell.className = "n";
        if (key === "id") {
          const button = document.createElement("button");
          button.type = "button";
          button.textContent = text(row, key);
          button.title = "Show its lineage";
          button.addEventListener("click", () => { showLineage(row); document.getElementById("lineage").scrollIntoView(); });
          cell.append(button);
        } else cell.textContent = text(row, key);
      }
    }
    board.replaceChild(body, board.tBodies[0]);
    document.getElementById("page").textContent = rows.length
      ? `${(page * rowsOnPage + 1).toLocaleString("en")} to ${Math.min(rows.length, (page + 1) * rowsOnPage).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`
      : "none";
    document.getElementById("previous").disabled = page === 0;
    document.getElementById("next").disabled = page >= pages - 1;
  }

  function sort() {
    const k = column(sortKey), sign = descending ? -1 : 1;
    const value = sortKey === "run" ? (row) => runName(row) : (row) => row[k];
    rows.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * sign || a[column("id")] - b[column("id")];
    });
  }

  for (const cell of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = cell.dataset.key;
      descending = key === sortKey ? !descending : !["id", "run", "parent", "mutation"].includes(key);
      sortKey = key;
      for (const other of heads) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      page = 0;
      sort();
      draw();
    });
  }
  document.getElementById("previous").addEventListener("click", () => { page--; draw(); });
  document.getElementById("next").addEventListener("click", () => { page++; draw(); });
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    const match = (row) => String(row[column("id")]) === wanted || text(row, "mutation").toLowerCase().includes(wanted) || runName(row).toLowerCase().includes(wanted);
    rows = wanted ? data.rows.filter(match) : data.rows.slice();
    page = 0;
    sort();
    draw();
  });
  board.closest("section").querySelector("form").addEventListener("submit", (event) => event.preventDefault());

  // Lineage: follow the parents.
  const byId = new Map(data.rows.map((row) => [row[column("run")] + ":" + row[column("id")], row]));
  function showLineage(row) {
    const chain = [];
    for (let next = row; next; next = byId.get(next[column("run")] + ":" + next[column("parent")])) chain.unshift(next);
    const table = document.getElementById("line");
    table.caption.textContent = `Genotype ${row[column("id")]} of ${runName(row)}, ${chain.length - 1} mutations from ${chain[0][column("parent")] === null ? "a random genotype" : "an ancestor that is not on this page"}`;
    const body = document.createElement("tbody");
    chain.forEach((link, k) => {
      const change = k ? link[column("fitness")] - chain[k - 1][column("fitness")] : null;
      const cells = [link[column("id")], text(link, "mutation"), text(link, "fitness"), change === null ? "-" : (change < 0 ? "" : "+") + change.toFixed(2), text(link, "parameters")];
      const line = body.insertRow();
      cells.forEach((value, c) => {
        const cell = line.insertCell();
        cell.textContent = value;
        if (c !== 1) cell.className = "n";
      });
    });
    table.replaceChild(body, table.tBodies[0]);
  }

  rows = data.rows.slice();
  sort();
  draw();
})();
