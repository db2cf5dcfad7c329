// The list is shown as the server has it. An item's text only ever enters the page as text.

const list = document.getElementById("item-list");
const form = document.getElementById("add-item-form");
const input = document.getElementById("item-input");
const button = form.querySelector("button");
const status = document.getElementById("status");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    await ask({
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ item: input.value }),
    });
    input.value = "";
    await refresh();
    tell("Added.");
  } catch (error) {
    tell(error.message, true);
  } finally {
    button.disabled = false;
    input.focus();
  }
});

// Others may have added something while the reader was elsewhere.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh().catch(() => {});
});

refresh().catch((error) => tell(error.message, true));

async function refresh() {
  const items = await ask();
  list.replaceChildren(...items.map(entry));
  document.getElementById("empty").hidden = items.length > 0;
}

async function ask(options = {}) {
  let response;
  try {
    response = await fetch("/api/items", { cache: "no-store", ...options });
  } catch {
    throw new Error("The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The server answered ${response.status}.`);
  return answer;
}

function entry({ item, created }) {
  const li = document.createElement("li");
  li.textContent = item;
  const when = new Date(created);
  if (!Number.isNaN(when.getTime())) {
    li.dataset.created = when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
  return li;
}

function tell(text, alarm = false) {
  status.textContent = text;
  status.classList.toggle("alarm", alarm);
}
