// [data-auth-for="basic digest"] shows only while one of these methods is chosen in its [data-auth-form].
const show = (form) => {
  const chosen = form.querySelector("input[name=auth]:checked")?.value ?? "";
  for (const part of form.querySelectorAll("[data-auth-for]")) part.hidden = !part.dataset.authFor.split(" ").includes(chosen);
};

const showAll = () => {
  for (const form of document.querySelectorAll("[data-auth-form]")) show(form);
};
showAll();
document.addEventListener("htmx:load", showAll);
document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-auth-form]");
  if (form && event.target.name === "auth") show(form);
});
