"use strict";
// The page works without scripts; with them, figures tell their values, the leaderboard sorts, and genotypes are drawn.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
for (const part of document.querySelectorAll(".script")) part.hidden = false;

// What the reader has chosen: it outlives the reloads of a run that goes on.
const state = { theme: "automatic", filter: "", key: "fitness", descending: true, page: 0, off: [], ...history.state };
function keep(change) {
  Object.assign(state, change);
  history.replaceState(state, "");
}
addEventListener("hashchange", () => keep({})); // a link inside the page makes an entry of its own

// Theme: automatic -> dark -> light.
const themes = ["automatic", "dark", "light"];
function showTheme() {
  if (state.theme === "automatic") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
  byId("theme").textContent = "Theme: " + state.theme;
}
byId("theme").addEventListener("click", () => {
  keep({ theme: themes[(themes.indexOf(state.theme) + 1) % themes.length] });
  showTheme();
});
showTheme();
