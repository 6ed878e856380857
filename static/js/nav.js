// On narrow screens the sidebar is a drawer: [data-nav-open] opens it; Escape, a link or a click outside closes it.
const root = document.documentElement;
const button = document.querySelector("[data-nav-open]");
const sidebar = document.getElementById("sidebar");
const main = document.querySelector(".main");

const set = (open) => {
  if (open) root.dataset.nav = "open";
  else delete root.dataset.nav;
  button.setAttribute("aria-expanded", String(open));
  main.inert = open;
  if (open) sidebar.querySelector("nav a")?.focus();
  else button.focus();
};

button?.addEventListener("click", (event) => {
  event.stopPropagation();
  set(true);
});
document.addEventListener("click", (event) => {
  if (root.dataset.nav && !event.target.closest(".sidebar")) set(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && root.dataset.nav) set(false);
});
