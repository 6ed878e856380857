// Toasts in [data-toasts] go after 6 s, not while hovered or focused; one with data-is="bad" stays until it is closed.
const LASTS = 6000;

const arm = (toast) => {
  if (toast.dataset.armed) return;
  toast.dataset.armed = "yes";
  toast.querySelector("[data-toast-close]").hidden = false;
  if (toast.dataset.is === "bad") return;
  const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, LASTS) : toast.remove());
  setTimeout(leave, LASTS);
};
const armAll = () => document.querySelectorAll("[data-toasts] .toast").forEach(arm);

armAll();
document.addEventListener("htmx:load", armAll);
document.addEventListener("click", (event) => event.target.closest("[data-toast-close]")?.closest(".toast").remove());
