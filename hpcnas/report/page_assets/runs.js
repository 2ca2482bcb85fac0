// Runs switched on and off: their series, rows, cells and cards.
function showRuns() {
  for (const part of document.querySelectorAll("[data-run]")) part.classList.toggle("off", isOff(+part.dataset.run));
  for (const holder of document.querySelectorAll("[data-panel]")) {
    const series = [...holder.querySelectorAll("[data-run]")];
    holder.classList.toggle("off", series.length > 0 && series.every((part) => part.classList.contains("off")));
  }
  fillBoard();
}

const switches = [...document.querySelectorAll("#runs input")];
for (const box of switches) {
  box.checked = !isOff(+box.value);
  box.addEventListener("change", () => {
    keep({ off: switches.filter((other) => !other.checked).map((other) => data.runs[+other.value]), page: 0 });
    showRuns();
  });
}
if (switches.length) showRuns();
else state.off = []; // of a page of several runs that was written here before
