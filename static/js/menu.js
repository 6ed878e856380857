// Menus and panels are popovers, opened by the browser. This adds to menus arrows, Home, End, first letters, and a place where CSS cannot give one.
const buttonOf = (menu) => document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
const items = (menu) => [...menu.querySelectorAll("a, button, input")].filter((item) => !item.disabled && item.offsetParent);

const place = (menu, button) => {
  const at = button.getBoundingClientRect();
  const left = menu.classList.contains("start") ? at.left : at.right - menu.offsetWidth;
  const below = at.bottom + 4;
  const top = below + menu.offsetHeight > innerHeight ? Math.max(8, at.top - 4 - menu.offsetHeight) : below;
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${top}px`;
};

// toggle does not bubble, but it can be caught on its way down.
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!(menu instanceof HTMLElement) || !menu.matches(".menu[popover]")) return;
  const button = buttonOf(menu);
  const open = event.newState === "open";
  button?.setAttribute("aria-expanded", String(open));
  if (!open || !button) return;
  if (!CSS.supports("position-area", "block-end")) place(menu, button);
  if (menu.role === "menu") items(menu)[0]?.focus();
}, true);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("[role=menu]:popover-open");
  if (!menu || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = items(menu);
  const at = all.indexOf(document.activeElement);
  const go = (index) => {
    event.preventDefault();
    event.stopPropagation();
    all[(index + all.length) % all.length]?.focus();
  };
  if (event.key === "ArrowDown") go(at + 1);
  else if (event.key === "ArrowUp") go(at - 1);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(all.length - 1);
  else if (event.key === "Tab") menu.hidePopover();
  else if (event.key.length === 1 && event.key !== " ") {
    const letter = event.key.toLowerCase();
    const after = [...all.slice(at + 1), ...all.slice(0, at + 1)];
    const found = after.find((item) => (item.closest("label") ?? item).textContent.trim().toLowerCase().startsWith(letter));
    event.stopPropagation();
    found?.focus();
  }
});

// What a menu did is done: it closes, unless it holds choices.
document.addEventListener("click", (event) => {
  const item = event.target.closest("[role=menu] > :is(a, button)");
  item?.closest("[popover]").hidePopover();
});
