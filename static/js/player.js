// A [data-player]: its own controls in place of the browser's, the waveform as a slider, gaps in their places.
// Times are seconds of the recording; [data-scale] maps its milliseconds to percent of the drawing's width.
const SKIP = 10;
const clock = (seconds) => {
  const whole = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${pad(whole % 60)}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(whole % 60)}`;
};
const typing = (target) => target.closest("input, select, textarea, button, a, summary, dialog, [popover], [contenteditable]");
let latest = null; // the player that keys go to: the one used last

class Player {
  constructor(root) {
    this.root = root;
    this.media = root.querySelector("[data-media]");
    this.wave = root.querySelector("[data-wave]");
    this.scale = JSON.parse(root.dataset.scale);
    this.silences = JSON.parse(root.dataset.silences);
    this.length = Number(root.dataset.duration) / 1000;
    this.controls = root.querySelector("[data-controls]");
    this.at = Number(this.controls.dataset.start);
    this.skips = false;
    this.begun = false;
    this.begin();
  }

  find(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  begin() {
    this.controls.hidden = false;
    this.media.controls = false;
    this.find("plain-only")?.remove();
    if (this.media.localName === "video") this.watch();
    this.find("toggle").addEventListener("click", () => this.toggle());
    this.find("back").addEventListener("click", () => this.seek(this.now - SKIP));
    this.find("forward").addEventListener("click", () => this.seek(this.now + SKIP));
    this.find("speed").addEventListener("change", (event) => this.hurry(event.target.value));
    this.find("skip")?.addEventListener("click", (event) => {
      this.skips = !this.skips;
      event.currentTarget.setAttribute("aria-pressed", String(this.skips));
    });
    for (const name of ["play", "pause", "ended"]) this.media.addEventListener(name, () => this.show());
    for (const name of ["timeupdate", "seeking"]) this.media.addEventListener(name, () => this.follow());
    this.media.addEventListener("play", () => this.run());
    this.media.addEventListener("loadedmetadata", () => this.loaded());
    this.media.addEventListener("error", () => { this.find("trouble").hidden = false; });
    this.root.addEventListener("pointerdown", () => { latest = this; });
    this.root.addEventListener("focusin", () => { latest = this; });
    if (this.wave) this.makeSlider();
    this.show();
  }

  // The picture is a big button; in full screen the browser's own controls serve.
  watch() {
    const full = this.find("full");
    full.hidden = !document.fullscreenEnabled;
    full.addEventListener("click", () => this.media.requestFullscreen());
    this.media.addEventListener("click", () => { if (!this.media.controls) this.toggle(); });
    this.media.addEventListener("fullscreenchange", () => { this.media.controls = document.fullscreenElement === this.media; });
  }

  // Until the file is open, where one wants to begin.
  get now() {
    return this.begun ? this.media.currentTime : this.at;
  }

  // What was chosen before the file was opened: where to begin, and how fast.
  loaded() {
    if (Math.abs(this.media.currentTime - this.at) > 0.5) this.media.currentTime = this.at;
    this.begun = true;
    this.media.playbackRate = Number(this.find("speed").value);
  }

  toggle() {
    latest = this;
    if (this.media.paused) this.media.play().catch(() => this.show());
    else this.media.pause();
  }

  seek(seconds) {
    this.at = Math.max(0, Math.min(this.length, seconds));
    if (this.begun) this.media.currentTime = this.at;
    this.show();
  }

  hurry(speed) {
    this.media.defaultPlaybackRate = this.media.playbackRate = Number(speed);
  }

  faster(steps) {
    const choice = this.find("speed");
    choice.selectedIndex = Math.max(0, Math.min(choice.length - 1, choice.selectedIndex + steps));
    this.hurry(choice.value);
  }

  follow() {
    this.at = this.now;
    const silence = this.skips && this.silences.find(([begin, end]) => this.at * 1000 >= begin && this.at * 1000 < end - 50);
    if (silence) this.media.currentTime = silence[1] / 1000;
    this.show();
  }

  // Between the browser's own reports, so that the hand moves smoothly.
  run() {
    if (this.media.paused) return;
    this.at = this.now;
    this.draw();
    requestAnimationFrame(() => this.run());
  }

  show() {
    const paused = this.media.paused;
    for (const part of this.root.querySelectorAll("[data-when]")) part.hidden = (part.dataset.when === "paused") !== paused;
    this.find("toggle").setAttribute("aria-label", paused ? "Play" : "Pause");
    this.find("clock").textContent = clock(this.at);
    const link = this.find("link");
    const second = Math.floor(this.at);
    link.dataset.copy = `${new URL(this.root.dataset.page, location.href)}${second ? `?t=${second}` : ""}`;
    const label = link.querySelector("[data-label]");
    if (!label.dataset.was) label.textContent = `Copy link at ${clock(this.at)}`;
    if (this.wave) {
      this.wave.setAttribute("aria-valuenow", String(second));
      this.wave.setAttribute("aria-valuetext", `${clock(this.at)} of ${clock(this.length)}`);
    }
    this.draw();
  }

  draw() {
    if (!this.wave) return;
    const x = this.placeOf(this.at * 1000);
    this.find("played").setAttribute("width", String(x * 10));
    const hand = this.find("hand");
    hand.toggleAttribute("hidden", false);
    const [line, knob] = hand.children;
    line.setAttribute("x1", `${x}%`);
    line.setAttribute("x2", `${x}%`);
    knob.setAttribute("cx", `${x}%`);
  }

  placeOf(ms) {
    const piece = this.scale.find(([, end]) => ms <= end) ?? this.scale.at(-1);
    if (!piece) return 0;
    const [begin, end, left, right] = piece;
    return left + (right - left) * Math.max(0, Math.min(1, (ms - begin) / (end - begin)));
  }

  // In a gap there is nothing to play: its far side is meant.
  timeOf(x) {
    const piece = this.scale.find(([, , , right]) => x <= right) ?? this.scale.at(-1);
    if (!piece) return 0;
    const [begin, end, left, right] = piece;
    return (begin + (end - begin) * Math.max(0, Math.min(1, (x - left) / (right - left)))) / 1000;
  }

  makeSlider() {
    const wave = this.wave;
    for (const [name, value] of Object.entries({ role: "slider", tabindex: "0", "aria-label": "Position", "aria-valuemin": "0", "aria-valuemax": String(Math.floor(this.length)) })) wave.setAttribute(name, value);
    const to = (event) => {
      const box = wave.getBoundingClientRect();
      this.seek(this.timeOf((100 * (event.clientX - box.left)) / box.width));
    };
    wave.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      wave.setPointerCapture(event.pointerId);
      to(event);
    });
    wave.addEventListener("pointermove", (event) => {
      if (wave.hasPointerCapture(event.pointerId)) to(event);
    });
    wave.addEventListener("keydown", (event) => {
      const does = { Home: 0, End: this.length, PageUp: this.now + 60, PageDown: this.now - 60, ArrowUp: this.now + 1, ArrowDown: this.now - 1 }[event.key];
      if (does === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.seek(does);
    });
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || !latest?.root.isConnected) return;
  const does = {
    " ": () => latest.toggle(),
    ArrowLeft: () => latest.seek(latest.now - SKIP),
    ArrowRight: () => latest.seek(latest.now + SKIP),
    "<": () => latest.faster(-1),
    ">": () => latest.faster(1),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});

const begin = () => {
  for (const root of document.querySelectorAll("[data-player]:not([data-begun])")) {
    if (!root.querySelector("[data-media]")) continue;
    root.dataset.begun = "";
    const player = new Player(root);
    if (!latest?.root.isConnected) latest = player;
  }
};
begin();
document.addEventListener("htmx:load", begin);
