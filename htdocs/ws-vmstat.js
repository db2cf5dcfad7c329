import { talk } from "/ws-talk.js";

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const shown = {
  busy: (value) => `${value} %`,
  load: (value) => value,
  available: (value) => `${number.format(value / 1024)} MiB`,
  running: number.format,
  switches: number.format,
  interrupts: number.format,
};

talk("/ws/vmstat", (text) => {
  const counters = JSON.parse(text);
  for (const [id, show] of Object.entries(shown)) {
    if (id in counters) document.getElementById(id).textContent = show(counters[id]);
  }
});
