// A form that is on its way shows it on its button and cannot be sent twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.busy) return event.preventDefault();
  if (form.method !== "post" || event.defaultPrevented) return;
  form.dataset.busy = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});

// The back button brings a page back as it was left: busy.
const wake = () => {
  for (const form of document.querySelectorAll("form[data-busy]")) delete form.dataset.busy;
  for (const button of document.querySelectorAll("form [aria-busy=true]")) button.removeAttribute("aria-busy");
};
addEventListener("pageshow", wake);
document.addEventListener("htmx:afterRequest", wake);

// A search's address names only what was filled in.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});
document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb !== "get") return;
  for (const [name, value] of Object.entries(event.detail.parameters)) if (value === "") delete event.detail.parameters[name];
});
