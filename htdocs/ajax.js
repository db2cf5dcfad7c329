import { getJson, poll, put, tell } from "./live.js";

poll("/ajax/time", 3, (answer) => put("time", answer.time));
poll("/ajax/processcount", 5, (answer) => put("processcount", answer.processcount));

const input = document.getElementById("input");
let waiting = 0;
let latest = 0;

// Typing is sent once the fingers rest; Enter sends at once and must not navigate.
input.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(count, 150);
});
document.getElementById("input-form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  count();
});

async function count() {
  // Answers can overtake each other: only the one to the latest question is shown.
  const mine = ++latest;
  try {
    const answer = await getJson("/ajax/processinput", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ input: input.value }),
    });
    if (mine !== latest) return;
    const characters = answer.processed === 1 ? "1 character" : `${answer.processed} characters`;
    put("processed", `${characters} (${answer.length} bytes posted)`);
  } catch {
    if (mine === latest) tell("The server could not count that.");
  }
}
