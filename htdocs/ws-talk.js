// What the WebSocket pages share: a connection that comes back, and a list of what was said.

const SHOWN = 200; // entries; older ones go
const FIRST = 500; // ms before the first new attempt; each further one waits twice as long
const LONGEST = 15_000;

/** Connects to `path` of this server, again and again; `heard` is given each text message. Returns a function that
 *  sends a text, and says whether it could. */
export function talk(path, heard) {
  const status = document.getElementById("status");
  let socket;
  let pause = FIRST;
  const tell = (text, alarm) => {
    status.textContent = text;
    status.classList.toggle("alarm", alarm);
  };
  const connect = () => {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    socket = new WebSocket(url);
    socket.onopen = () => {
      pause = FIRST;
      tell("Connected.", false);
    };
    socket.onmessage = ({ data }) => heard(data);
    socket.onclose = ({ code, reason }) => {
      tell(`Not connected (${reason || code}). Trying again…`, true);
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, LONGEST);
    };
  };
  connect();
  return (text) => {
    if (socket.readyState !== WebSocket.OPEN) return false;
    socket.send(text);
    return true;
  };
}

/** Adds a line to the list `id`, always as text; `direction` is "in" or "out". */
export function line(id, direction, text) {
  const list = document.getElementById(id);
  const item = document.createElement("li");
  item.className = direction;
  const body = document.createElement("span");
  body.textContent = text;
  item.append(body);
  list.append(item);
  while (list.childElementCount > SHOWN) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}
