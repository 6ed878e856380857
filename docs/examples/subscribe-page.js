// What subscribe.html does: one line for each event, the newest on top.
import { subscribe } from "./subscribe.js";

const list = document.querySelector("ol");
const status = document.querySelector("[role=status]");
let subscription;

document.querySelector("form").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  subscription?.close();
  subscription = subscribe({
    token: new FormData(submitted.target).get("token"),
    onEvent: (event, text) => {
      const line = document.createElement("li");
      line.textContent = text; // never as HTML: names come from outside
      list.prepend(line);
    },
    onState: (text) => (status.textContent = text),
    onGap: (since, address) => (status.textContent = `Events after ${since} are gone. What is left: ${address}`),
  });
});
