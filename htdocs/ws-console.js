// A console for WebSocket scripts. It stands by itself: the server also sends it inside of a page of its own.

const SHOWN = 500; // entries; older ones go
const PATIENCE = 3000; // ms without an answer before the hint about buffers
const ERRORS = "stderr.cgiserve"; // asks for standard error too, which only the server's own machine gets

const element = (id) => document.getElementById(id);
const address = element("address");
const message = element("message");
let socket = null;
let sent = 0; // when the last message went out, if nothing came back since
let waiting = 0;

const asked = new URLSearchParams(location.search).get("url");
address.value = location.pathname.endsWith("/ws-console.html") ? (asked ?? "/ws/echo") : location.pathname + location.search;

element("connect-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) socket.close(1000);
  else connect();
});

element("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(message.value);
  entry("out", message.value, new TextEncoder().encode(message.value).length);
  message.value = "";
  sent = performance.now();
  clearTimeout(waiting);
  waiting = setTimeout(() => { element("hint").hidden = false; }, PATIENCE);
});

/** Whether a host is this very machine, so that its server may tell more. */
function isHere({ hostname }) {
  return /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

function connect(plain = false) {
  let url;
  let asks;
  try {
    url = new URL(address.value, location.href);
    url.protocol = { "http:": "ws:", "https:": "wss:" }[url.protocol] ?? url.protocol;
    asks = !plain && isHere(url) && url.host === location.host;
    socket = asks ? new WebSocket(url, ERRORS) : new WebSocket(url);
  } catch (error) {
    tell(`That is no address: ${error.message}`, true);
    return;
  }
  const began = performance.now();
  let opened = false;
  socket.binaryType = "arraybuffer";
  element("connect").textContent = "Disconnect";
  tell(`Connecting to ${url} …`);
  socket.onopen = () => {
    opened = true;
    tell(`Connected to ${url} in ${milliseconds(performance.now() - began)}.`);
    setOpen(true);
    message.focus();
  };
  socket.onmessage = ({ data }) => {
    if (socket.protocol === ERRORS && typeof data === "string") {
      const { stream, data: text } = JSON.parse(data);
      data = text;
      if (stream === "stderr") {
        entry("in", data, new TextEncoder().encode(data).length, undefined, "standard error");
        return;
      }
    }
    const took = sent ? performance.now() - sent : undefined;
    sent = 0;
    clearTimeout(waiting);
    element("hint").hidden = true;
    if (typeof data === "string") entry("in", data, new TextEncoder().encode(data).length, took);
    else entry("in", hexadecimal(new Uint8Array(data)), data.byteLength, took, "binary");
  };
  socket.onclose = ({ code, reason }) => {
    if (asks && !opened) {
      // A browser lets go of a server that does not know what was asked for: perhaps it is another's.
      connect(true);
      return;
    }
    socket = null;
    sent = 0;
    clearTimeout(waiting);
    setOpen(false);
    element("connect").textContent = "Connect";
    if (opened) tell(`Closed: ${code}${reason && ` “${reason}”`}${meaning(code)}.`, code !== 1000 && code !== 1005);
    else tell("No WebSocket there. The server's log says why.", true);
  };
}

function setOpen(open) {
  message.disabled = !open;
  element("send").disabled = !open;
  address.readOnly = open;
}

function meaning(code) {
  return { 1000: ", the end", 1001: ", going away", 1006: ", the connection broke", 1009: ", a message was too big",
    1011: ", the program failed", 1013: ", too slow, try again later" }[code] ?? "";
}

/** One line of the conversation; text of others only ever as text. */
function entry(direction, text, octets, took, kind = "") {
  const item = document.createElement("li");
  item.className = direction;
  const note = document.createElement("small");
  note.textContent = [new Date().toLocaleTimeString(), `${octets} B`, kind, took === undefined ? "" : milliseconds(took)]
    .filter(Boolean).join(" · ");
  const body = document.createElement("span");
  body.textContent = text;
  body.classList.toggle("alarm", kind === "standard error");
  item.append(body, note);
  const talk = element("talk");
  const atEnd = talk.scrollTop + talk.clientHeight >= talk.scrollHeight - 8;
  talk.append(item);
  while (talk.childElementCount > SHOWN) talk.firstElementChild.remove();
  if (atEnd) talk.scrollTop = talk.scrollHeight;
}

function hexadecimal(octets) {
  const shown = Array.from(octets.subarray(0, 256), (octet) => octet.toString(16).padStart(2, "0")).join(" ");
  return octets.length > 256 ? `${shown} …` : shown;
}

function milliseconds(time) {
  return `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;
}

function tell(text, alarm = false) {
  element("status").textContent = text;
  element("status").classList.toggle("alarm", alarm);
}
