import { line, talk } from "/ws-talk.js";

const message = document.getElementById("message");
const send = talk("/ws/echo", (text) => line("talk", "in", text));

document.getElementById("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!send(message.value)) return;
  line("talk", "out", message.value);
  message.value = "";
});
