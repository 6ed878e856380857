// Follows the event log over /wsi in a browser; comes back where it was. An ES module without dependencies.
//
//     import { subscribe } from "./subscribe.js";
//     const subscription = subscribe({ onEvent: (event, text) => console.log(event.session_id) });
//     subscription.close();
//
// A browser may open the socket only from a page of the same host, so serve this file and your page on the tenant's
// host (by the reverse proxy before it). A person who is signed in to the portal needs no token then; without a session,
// give an administrator's API token as `token`. Elsewhere, in Node.js 22 or later, give `url`, `token` and `cursor`.
//
// `event` is the parsed message, `text` its bytes as they came. Ids are strings and stay strings: they exceed what a
// JavaScript number holds. The last event_id handled is kept by `cursor` (localStorage unless you give your own
// { load(), save(id) }), so that a reload or a lost connection loses nothing: the next subscription names it as
// `since`. If onEvent throws or rejects, the event comes again after the next connection.

const FINAL = {
  4002: "wrong credentials",
  4003: "the token or its permission is gone",
  4004: "the tenant is not active",
};

export function subscribe({
  onEvent,
  onState = () => {},
  onGap = () => {},
  url = location.origin.replace(/^http/, "ws") + "/wsi",
  token,
  eventTypes = ["call_cdr"],
  profile = "v16",
  cursor = inLocalStorage(url),
}) {
  let socket;
  let timer;
  let pause = 1000;
  let closed = false;

  function end(state) {
    closed = true;
    clearTimeout(timer);
    socket?.close();
    onState(state);
  }

  function connect() {
    const mine = (socket = new WebSocket(url));
    const since = cursor.load();
    const say = (message) => mine.send(JSON.stringify(message));
    let turn = Promise.resolve(); // events are handled one after the other
    let began;

    async function hear(text) {
      if (closed || mine.readyState !== WebSocket.OPEN) return;
      const message = JSON.parse(text);
      if (message.event_type) {
        await onEvent(message, text);
        if (mine === socket) cursor.save(message.event_id); // else a newer connection has taken over from here
      } else if (message.status !== 0) {
        end(`The portal refused to ${message.command}: ${message.error}.`);
      } else if (message.command === "auth") {
        const wanted = { topics: ["cdr_events"], event_types: eventTypes, profile };
        say({ command: "subscribe", ...wanted, ...(since ? { since } : {}) });
      } else if (message.command === "subscribe") {
        began = Date.now();
        if (message.gap) onGap(since, message.events_url);
        if (!since) cursor.save(message.cursor);
        onState(`Subscribed, from event ${message.cursor} on.`);
      }
    }

    mine.onopen = () => say(token ? { command: "auth", access_token: token } : { command: "auth" });
    mine.onmessage = ({ data }) => {
      turn = turn.then(() => hear(data)).catch((error) => {
        onState(`The event could not be handled: ${error.message ?? error}`);
        mine.close(); // nothing after it may be taken before it
      });
    };
    mine.onclose = ({ code }) => {
      if (closed) return;
      if (FINAL[code]) return end(`The portal closed the connection: ${FINAL[code]}.`);
      pause = began && Date.now() - began > 60_000 ? 1000 : Math.min(2 * pause, 60_000);
      const wait = pause * (0.5 + Math.random() / 2); // not all clients at the same moment
      onState(`Not connected (${code}). Trying again in ${(wait / 1000).toFixed(1)} s.`);
      timer = setTimeout(connect, wait);
    };
  }

  connect();
  return { close: () => end("Closed.") };
}

function inLocalStorage(url) {
  const name = `voxledger cursor ${url}`;
  return { load: () => localStorage.getItem(name), save: (id) => localStorage.setItem(name, id) };
}
