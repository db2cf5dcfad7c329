// Shows what the built-in endpoints say, for as long as the page is open.

const status = document.getElementById("status");

/** Asks `url` at once and then every `seconds`, and hands each JSON answer to `show`.
 *  A question is skipped while the one before it is still open, so a slow server is not buried. */
export function poll(url, seconds, show) {
  let open = false;
  const ask = async () => {
    if (open) return;
    open = true;
    try {
      show(await getJson(url, { signal: AbortSignal.timeout(10_000) }));
      tell("");
    } catch {
      tell("The server does not answer. Trying again…");
    } finally {
      open = false;
    }
  };
  ask();
  setInterval(ask, seconds * 1000);
}

/** The JSON answer to a request; throws on any status but 2xx. */
export async function getJson(url, options = {}) {
  const response = await fetch(url, { cache: "no-store", ...options });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

/** Puts `text` into the page's element `id`, always as text. */
export function put(id, text) {
  document.getElementById(id).textContent = text;
}

/** A sentence for the reader. Unchanged text is left alone, or screen readers would repeat it. */
export function tell(text) {
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("alarm", text !== "");
}
