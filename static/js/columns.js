// Checkboxes of a [data-columns="cookie"] form show and hide [data-column] cells at once; the choice is kept in that cookie.
document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-columns]");
  if (!form) return;
  const secure = location.protocol === "https:" ? "; secure" : "";
  const keep = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax${secure}`;
  };
  if (event.target.name === "density") {
    document.documentElement.dataset.density = event.target.value;
    return keep("density", event.target.value);
  }
  const chosen = new Set(new FormData(form).getAll("column"));
  for (const cell of document.querySelectorAll("[data-column]")) cell.hidden = !chosen.has(cell.dataset.column);
  keep(form.dataset.columns, [...chosen].join("."));
});

// With scripts the form needs no button.
const quiet = () => {
  for (const button of document.querySelectorAll("[data-columns] button")) button.hidden = true;
};
quiet();
document.addEventListener("htmx:load", quiet);
