import { line, talk } from "/ws-talk.js";

const name = document.getElementById("name");
const message = document.getElementById("message");
const send = talk("/ws/chat", (text) => line("talk", "in", text));

document.getElementById("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  // The first comma ends the name, so the name has none.
  const who = name.value.replaceAll(",", " ").trim();
  if (!who || !send(`${who},${message.value}`)) return;
  line("talk", "out", message.value);
  message.value = "";
  message.focus();
});
