// Values of figures, by pointer and by arrow keys.
const tip = byId("tip");
const isOff = (run) => state.off.includes(data.runs[run]); // the run of a series, a row, ...; undefined is never off
const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 5 });

function watchPanel(holder) {
  const svg = holder.querySelector("svg");
  const panel = data.panels[holder.dataset.panel];
  const [left, top, right, bottom] = panel.box;
  const cursor = svg.querySelector(".cursor");
  const scale = (value, [low, high], from, to) => from + ((value - low) / (high - low)) * (to - from);
  const place = (series, k) => [scale(series.x[k], panel.x, left, right), scale(series.y[k], panel.y, bottom, top)];
  const shown = () => panel.series.flatMap((series, s) => (isOff(series.run) ? [] : [s]));
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
    for (const s of shown()) {
      const series = panel.series[s];
      for (let k = 0; k < series.x.length; k++) {
        const [x, y] = place(series, k);
        const distance = (x - px) ** 2 + (y - py) ** 2;
        if (distance < nearest) { nearest = distance; best = [s, k]; }
      }
    }
    if (best) show(...best);
  });
  holder.classList.toggle("clicks", panel.series.some((series) => series.ids));
  svg.addEventListener("click", () => {
    const { run, ids } = panel.series[chosen.s];
    if (ids && chosen.k >= 0 && !tip.hidden) showGenotype(run, ids[chosen.k]);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const all = shown();
    if (!all.length) return;
    if (!all.includes(chosen.s)) chosen = { s: all[0], k: -1 };
    const series = panel.series[chosen.s];
    const last = series.x.length - 1;
    const step = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
    if (event.key === "ArrowRight") show(chosen.s, Math.min(last, chosen.k + step));
    else if (event.key === "ArrowLeft") show(chosen.s, Math.max(0, chosen.k - step));
    else if (event.key === "Home") show(chosen.s, 0);
    else if (event.key === "End") show(chosen.s, last);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : all.length - 1;
      const s = all[(all.indexOf(chosen.s) + step) % all.length];
      show(s, Math.max(0, Math.min(panel.series[s].x.length - 1, chosen.k)));
    } else if (event.key === "Enter" && series.ids && chosen.k >= 0) showGenotype(series.run, series.ids[chosen.k]);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
  });
}
for (const holder of document.querySelectorAll("[data-panel]")) watchPanel(holder);
