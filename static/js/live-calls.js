// [data-live] follows the calls in progress by the WebSocket that it names. The server says what is so; this only shows
// it, counts the seconds, and comes back after a break: the first message of a connection holds everything.
const box = document.querySelector("[data-live]");
const part = (name) => box.querySelector(`[data-live-${name}]`);
const pulse = document.querySelector("[data-live-pulse]");
const rows = part("rows");
const SILENT = 40; // seconds without a word, after which the connection counts as broken
const REVOKED = [4003, 4004];
let ahead = Number(box.dataset.liveNow) - Date.now() / 1000; // by so much the server's clock is ahead
let heard = 0;
let socket = null;
let failures = 0;
const waiting = new Map(); // rows that changed while their menu was open

const now = () => Date.now() / 1000 + ahead;
const length = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
};
const percent = (part) => `${(Math.min(1, Math.max(0, part)) * 100).toFixed(3)}%`;

// --- What time changes ---

const tick = () => {
  say();
  if (document.hidden) return;
  const at = now();
  for (const timer of box.querySelectorAll("[data-since]")) timer.textContent = length(at - Number(timer.dataset.since));
  for (const row of rows.children) {
    const start = Number(row.dataset.start);
    const whole = Math.max(at - start, 1);
    for (const bar of row.querySelectorAll("rect[data-from]")) {
      const from = Math.max(Number(bar.dataset.from), start);
      const until = bar.dataset.until ? Number(bar.dataset.until) : at;
      bar.setAttribute("x", percent((from - start) / whole));
      bar.setAttribute("width", percent((until - from) / whole));
    }
  }
};

const say = () => {
  const live = socket?.readyState === WebSocket.OPEN && heard > 0;
  pulse.dataset.state = live ? "live" : "late";
  const words = live ? "Live" : heard ? `Not connected, as of ${length(now() - heard)} ago` : "Connecting…";
  if (pulse.textContent !== words) pulse.textContent = words;
  if (live && now() - heard > SILENT) socket.close();
};

// --- What the server tells ---

const made = (html) => {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content.firstElementChild;
};

const put = (key, html) => {
  const old = rows.querySelector(`[data-key="${key}"]`);
  if (old?.querySelector(":popover-open")) {
    waiting.set(key, html);
    return old;
  }
  waiting.delete(key);
  const row = made(html);
  if (!old) {
    row.classList.add("is-new");
    return row;
  }
  const focused = old.contains(document.activeElement) ? [...old.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  old.replaceWith(row);
  if (focused >= 0) [...row.querySelectorAll("button:not(:disabled)")].at(Math.max(0, focused - 1))?.focus();
  return row;
};

const order = (keys) => {
  const wanted = new Set(keys);
  for (const row of [...rows.children]) if (!wanted.has(row.dataset.key)) row.remove();
  keys.forEach((key, index) => {
    const row = rows.querySelector(`[data-key="${key}"]`);
    if (row && rows.children[index] !== row) rows.insertBefore(row, rows.children[index] ?? null);
  });
  part("table").hidden = !keys.length;
};

const take = (message) => {
  ahead = message.now - Date.now() / 1000;
  heard = now();
  for (const name of ["counts", "foot"]) if (name in message) part(name).innerHTML = message[name];
  for (const [key, html] of Object.entries(message.rows ?? {})) {
    const row = put(key, html);
    if (!row.isConnected) rows.append(row);
  }
  if (message.order) order(message.order);
  tick();
};

// toggle does not bubble, but it can be caught on its way down.
rows.addEventListener("toggle", (event) => {
  const key = event.target.closest("[data-key]")?.dataset.key;
  if (event.newState === "closed" && waiting.has(key)) setTimeout(() => waiting.has(key) && put(key, waiting.get(key)));
}, true);

// --- The connection ---

const connect = () => {
  const here = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${box.dataset.live}`;
  socket = new WebSocket(here);
  socket.addEventListener("message", (event) => {
    failures = 0;
    take(JSON.parse(event.data));
  });
  socket.addEventListener("close", (event) => {
    if (REVOKED.includes(event.code)) return location.reload(); // the page itself says what is allowed now
    failures += 1;
    if (failures > 2) look();
    setTimeout(connect, Math.min(30, 2 ** failures) * 1000 * (0.5 + Math.random() / 2));
    say();
  });
};

// Where no WebSocket comes through, the page itself is asked, as often as a connection is tried.
const look = async () => {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (answer?.redirected) return location.reload();
  if (!answer?.ok) return;
  const read = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
  const shown = [...read.querySelectorAll("[data-live-rows] > tr")];
  take({
    now: Number(read.dataset.liveNow),
    counts: read.querySelector("[data-live-counts]").innerHTML,
    foot: read.querySelector("[data-live-foot]").innerHTML,
    rows: Object.fromEntries(shown.map((row) => [row.dataset.key, row.outerHTML])),
    order: shown.map((row) => row.dataset.key),
  });
};

// --- Commands: asked in the background; what the switch answered is said, nothing before ---

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-live-command]")) return;
  event.preventDefault();
  event.stopPropagation();
  const button = event.submitter;
  button.closest("[popover]")?.hidePopover();
  button.setAttribute("aria-busy", "true");
  const answer = await fetch(form.action, {
    method: "POST",
    body: new FormData(form, button),
    headers: { "HX-Request": "true" },
  }).catch(() => null);
  button.removeAttribute("aria-busy");
  if (answer?.status === 401) return location.reload();
  const toasts = document.querySelector("[data-toasts]");
  if (!answer?.ok) return toasts.append(failed());
  toasts.insertAdjacentHTML("beforeend", await answer.text());
  document.dispatchEvent(new CustomEvent("htmx:load"));
}, true);

const failed = () => {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.dataset.is = "bad";
  toast.setAttribute("role", "alert");
  toast.textContent = "The portal did not answer. The list shows what is so.";
  setTimeout(() => toast.remove(), 8000);
  return toast;
};

setInterval(tick, 1000);
connect();
