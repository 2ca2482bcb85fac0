// Any genotype by a click on its id: drawn, with its facts and its lineage, in a window over the page.
const dialog = byId("genotype");
const rowOf = new Map(data.rows.map((row) => [`${field(row, "run")}:${field(row, "id")}`, row]));
const pageInches = (holder) => (holder.clientWidth < 520 ? 3.9 : 5.8);

function fillDrawing(holder, run, id) {
  if (id in data.genotypes[run]) holder.replaceChildren(...drawGenotype(run, id, pageInches(holder)));
  else holder.textContent = `It is not among the genotypes that this page holds: hpcnas show ${id} draws it.`;
}

function facts(row) {
  if (!row) return "It has no fitness.";
  const spread = field(row, "std") === null ? "" : ` ± ${cellText(row, "std")}`;
  const macs = field(row, "macs") === null ? "" : `, ${cellText(row, "macs")} million MACs`;
  return `Fitness ${cellText(row, "fitness")}${spread} % over ${cellText(row, "n")} repeats, ${cellText(row, "parameters")} parameters${macs}.`;
}

function lineage(run, id) {
  const chain = [];
  for (let next = rowOf.get(`${run}:${id}`); next; next = rowOf.get(`${run}:${field(next, "parent")}`)) chain.unshift(next);
  return chain;
}

function fillLineage(table, chain) {
  const body = document.createElement("tbody");
  chain.forEach((row, k) => {
    const change = k ? field(row, "fitness") - field(chain[k - 1], "fitness") : null;
    const line = body.insertRow();
    const values = [idButton(field(row, "run"), field(row, "id")), cellText(row, "mutation"), cellText(row, "fitness"), change === null ? "-" : (change < 0 ? "" : "+") + change.toFixed(2), cellText(row, "parameters")];
    values.forEach((value, c) => {
      const cell = line.insertCell();
      cell.append(value);
      if (c !== 1) cell.className = "n";
    });
  });
  table.replaceChild(body, table.tBodies[0]);
}

function ancestry(chain) {
  if (!chain.length) return "";
  const first = field(chain[0], "parent") === null ? "a random genotype" : "an ancestor that is not on this page";
  return `${chain.length - 1} mutations from ${first}`;
}

function showGenotype(run, id) {
  tip.hidden = true;
  if (!dialog.open) dialog.showModal();
  const chain = lineage(run, id);
  byId("genotype-title").textContent = `Genotype ${id.toLocaleString("en")} of ${data.runs[run]}`;
  dialog.querySelector(".facts").textContent = facts(rowOf.get(`${run}:${id}`));
  fillDrawing(dialog.querySelector(".drawing"), run, id);
  dialog.querySelector("details").hidden = !(id in data.genotypes[run]);
  if (id in data.genotypes[run]) dialog.querySelector("pre").textContent = genotypeText(run, id);
  const table = dialog.querySelector("table");
  table.hidden = !chain.length;
  table.caption.textContent = `Lineage: ${ancestry(chain)}`;
  fillLineage(table, chain);
  dialog.scrollTop = 0;
  dialog.dataset.shown = `${run}:${id}`;
}

byId("genotype-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside the window

// The drawings that the page shows from the start, and ids in its other tables.
function drawBest() {
  for (const holder of document.querySelectorAll("[data-genotype]")) fillDrawing(holder, +holder.dataset.of, +holder.dataset.genotype);
}
let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnWidth) return; // a phone's bars come and go
  drawnWidth = innerWidth;
  drawBest();
  if (dialog.open) fillDrawing(dialog.querySelector(".drawing"), ...dialog.dataset.shown.split(":").map(Number));
});
for (const cell of document.querySelectorAll("[data-id]")) cell.replaceChildren(idButton(+cell.dataset.of, +cell.dataset.id));
drawBest();
