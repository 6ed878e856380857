// [data-copy] copies its value, or the text of the element that [data-copy-from] names, and says so for a moment.
const reveal = () => {
  for (const button of document.querySelectorAll("[data-copy], [data-copy-from]")) button.hidden = false;
};
reveal();
document.addEventListener("htmx:load", reveal);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.querySelector(button.dataset.copyFrom).textContent;
  await navigator.clipboard.writeText(text);
  const label = button.querySelector("[data-label]");
  if (!label || label.dataset.was) return;
  label.dataset.was = label.textContent;
  label.textContent = "Copied";
  setTimeout(() => {
    label.textContent = label.dataset.was;
    delete label.dataset.was;
  }, 1500);
});
