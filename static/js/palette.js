// The search dialog: asks when it opens, arrows move through what was found, Enter opens it. The answers come by htmx.
const dialog = document.getElementById("palette");
const input = dialog?.querySelector("input");
const options = () => [...dialog.querySelectorAll("a[role=option]")];
const current = () => dialog.querySelector("[aria-selected=true]");

const mark = (option) => {
  current()?.setAttribute("aria-selected", "false");
  option?.setAttribute("aria-selected", "true");
  if (option) input.setAttribute("aria-activedescendant", option.id);
  else input.removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
};

if (dialog) {
  new MutationObserver(() => {
    if (!dialog.open) return;
    input.select();
    window.htmx.trigger(input, "ask");
  }).observe(dialog, { attributeFilter: ["open"] });

  dialog.addEventListener("htmx:afterSwap", () => mark(options()[0]));

  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.indexOf(current());
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all.length || ((event.key === "Home" || event.key === "End") && input.value)) return;
    event.preventDefault();
    mark(all[(to + all.length) % all.length]);
  });

  // Enter before the answer came goes to the page of the search.
  dialog.querySelector("form").addEventListener("submit", (event) => {
    if (!current() || dialog.querySelector(".htmx-request")) return;
    event.preventDefault();
    current().click();
  });
}
