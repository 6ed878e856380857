// Keys of every page: Ctrl K searches, "?" tells the keys, "g" and a letter goes to the page of the menu with that data-go.
// Single keys are off with data-keys="off" on <html>; then only Ctrl K is left.
const WAITS = 1500;
let since = 0;

const typing = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), select, textarea, dialog, [popover], [contenteditable]");
const show = (id) => {
  const dialog = document.getElementById(id);
  if (dialog && !dialog.open && !document.querySelector("dialog[open]")) dialog.showModal();
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return show("palette");
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.documentElement.dataset.keys === "off") return;
  if (Date.now() - since < WAITS) {
    since = 0;
    const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (!link) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // the letter is no longer the list's
    return link.click();
  }
  if (event.key === "g") since = Date.now();
  else if (event.key === "?") {
    event.preventDefault();
    show("keys");
  }
}, true);
