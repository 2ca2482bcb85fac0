// A page of a search that goes on says how old it is, and loads itself anew when the head has had time to write the next one.
const loadedS = performance.now() / 1000;

function since(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// Nobody loses what he is reading: a drawing, a marked text, a value, a filter that is being typed.
function isInUse() {
  return document.hidden || dialog.open || !tip.hidden || String(getSelection()) !== "" || document.activeElement === byId("filter");
}

function watchAge() {
  const age = Date.now() / 1000 - data.live.written;
  const isLate = age > 3 * data.live.period + data.live.again;
  byId("age").textContent = `Written ${since(age)} ago; ${isLate ? "the search has ended or waits" : "the search goes on, and this page loads itself anew"}.`;
  const isDue = age > data.live.period && performance.now() / 1000 - loadedS > data.live.again;
  if (!isDue || isInUse()) return;
  keep({ scroll: scrollY });
  location.reload();
}

if (data.live) {
  if (state.scroll !== undefined) scrollTo(0, state.scroll);
  watchAge();
  setInterval(watchAge, 1000);
}
if (state.scroll !== undefined) keep({ scroll: undefined });
