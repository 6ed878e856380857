// [data-dialog="id"] opens that <dialog>, [data-close] closes the one it stands in, a click on the backdrop too.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  if (event.target.closest("[data-close]") || event.target.matches("dialog[open]")) event.target.closest("dialog")?.close();
});
