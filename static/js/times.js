// <time data-ago> says how long ago it is, and keeps saying it.
const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { style: "short", numeric: "always" });

const say = (time) => {
  const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
  const [unit, size] = steps.find(([, least]) => Math.abs(seconds) >= least) ?? ["second", 1];
  time.textContent = words.format(Math.round(seconds / size), unit);
};
const sayAll = () => document.querySelectorAll("time[data-ago]").forEach(say);

sayAll();
setInterval(sayAll, 15000);
document.addEventListener("htmx:load", sayAll);
