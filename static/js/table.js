// Rows of a table[data-rows]: double-click or Enter opens the row's a[data-open], j and k move, x marks, "." opens Action, "/" searches.
const rows = () => [...document.querySelectorAll("table[data-rows] > tbody > tr:has([data-open])")];
const current = () => document.querySelector("table[data-rows] tr.cursor");
const off = () => document.documentElement.dataset.keys === "off";
const typing = (target) => target.closest("input:not([type=checkbox]), select, textarea, dialog, [popover], [contenteditable]");

const moveTo = (row) => {
  if (!row) return;
  current()?.classList.remove("cursor");
  row.classList.add("cursor");
  row.querySelector("[data-open]").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
};

document.addEventListener("dblclick", (event) => {
  const row = event.target.closest("table[data-rows] > tbody > tr");
  if (!row || event.target.closest("a, button, input, label, [popover]")) return;
  row.querySelector("[data-open]")?.click();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (off() && event.key !== "Enter") return;
  const all = rows();
  const at = all.indexOf(current());
  const row = all[at];
  const does = {
    j: () => moveTo(all[Math.min(at + 1, all.length - 1)]),
    k: () => moveTo(all[Math.max(at - 1, 0)]),
    x: () => row?.querySelector("input[type=checkbox]")?.click(),
    ".": () => {
      const action = row?.querySelector("[popovertarget]");
      action?.focus(); // where the focus goes back to
      action?.click();
    },
    Enter: () => event.target === document.body && row?.querySelector("[data-open]")?.click(),
    "/": () => document.querySelector("input[type=search]")?.focus(),
  }[event.key];
  if (!does || (event.key === "Enter" && event.target !== document.body)) return;
  event.preventDefault();
  does();
});

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!box.matches("table[data-rows] input[type=checkbox]")) return;
  if (box.matches("[data-select-all]")) {
    for (const other of box.closest("table").querySelectorAll("tbody input[type=checkbox]")) {
      other.checked = box.checked;
      other.closest("tr").setAttribute("aria-selected", String(box.checked));
    }
  } else {
    box.closest("tr").setAttribute("aria-selected", String(box.checked));
  }
});

// While a new page of a list is on its way the old rows stay, dimmed.
document.addEventListener("htmx:beforeRequest", (event) => {
  event.detail.target.querySelector?.("table[data-rows]")?.setAttribute("aria-busy", "true");
});
