// Rows marked in a form[data-picked]: a bar says how many they are, and how long when they have data-seconds,
// copies their values and empties the selection.
const boxes = (form) => [...form.querySelectorAll("tbody input[type=checkbox]")];
const clock = (seconds) => {
  const pad = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}:${pad(seconds % 60)}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
};

const show = (form) => {
  const marked = boxes(form).filter((box) => box.checked);
  const all = form.querySelector("[data-select-all]");
  all.checked = marked.length > 0 && marked.length === boxes(form).length;
  all.indeterminate = marked.length > 0 && !all.checked;
  form.querySelector("[data-picked-bar]").hidden = !marked.length;
  const seconds = marked.reduce((sum, box) => sum + Number(box.dataset.seconds ?? NaN), 0);
  form.querySelector("[data-picked-count]").textContent = `${marked.length} selected${seconds ? `, ${clock(seconds)}` : ""}`;
};

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-picked]");
  if (form) queueMicrotask(() => show(form)); // after table.js has marked the others
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-picked-copy]");
  if (copy) {
    const marked = boxes(copy.closest("form")).filter((box) => box.checked);
    await navigator.clipboard.writeText(marked.map((box) => box.value).join("\n"));
    const label = copy.querySelector("[data-label]");
    label.dataset.was ??= label.textContent;
    label.textContent = "Copied";
    return setTimeout(() => { label.textContent = label.dataset.was; }, 1500);
  }
  const form = event.target.closest("[data-picked-clear]")?.closest("[data-picked]");
  if (!form) return;
  for (const box of boxes(form)) {
    box.checked = false;
    box.closest("tr").removeAttribute("aria-selected");
  }
  show(form);
});

// The browser remembers boxes when one comes back to the page.
const begin = () => {
  for (const button of document.querySelectorAll("[data-picked-copy], [data-picked-clear]")) button.hidden = false;
  document.querySelectorAll("[data-picked]").forEach(show);
};
begin();
document.addEventListener("htmx:load", begin);
addEventListener("pageshow", begin);
