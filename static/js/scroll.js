// Back over a swap of htmx loads the page anew, and the browser then forgets where one was. This remembers it for the tab.
const here = () => `scroll ${location.pathname}${location.search}`;

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.boosted) sessionStorage.setItem(here(), String(scrollY));
});
addEventListener("popstate", () => sessionStorage.setItem("scroll back", here()), true);

if (sessionStorage.getItem("scroll back") === here()) {
  const at = Number(sessionStorage.getItem(here()) ?? 0);
  history.scrollRestoration = "manual";
  scrollTo(0, at);
  addEventListener("load", () => scrollTo(0, at));
  addEventListener("pagehide", () => {
    history.scrollRestoration = "auto"; // not before: the browser would go to its own place, the top
  });
}
sessionStorage.removeItem("scroll back");
