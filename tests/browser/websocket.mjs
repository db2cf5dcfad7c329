// What a person does with the WebSocket demonstrations, and what must come of it.

import assert from "node:assert/strict";

// Text that becomes markup or a script wherever it is not put in as text.
const NASTY = `<b>x</b> "><script>alert(1)</script> '&amp; <img src=x onerror=alert(2)> grün 木 🙂`;

export const conversations = [
  ["websocket echo: a message comes back with ECHO! before it, as text", echo],
  ["websocket chat: two tabs, each hears the other and not itself", chat],
  ["websocket counters: they live", counters],
  ["websocket console: sizes, times, how it ended, and the hint about buffers", consolePage],
  ["websocket console: at the script's own address", ownAddress],
  ["websocket console: standard error in another colour", standardError],
];

const said = (direction, text) =>
  `[...document.querySelectorAll("#talk li.${direction} span")].some((s) => s.textContent === ${JSON.stringify(text)})`;
const connected = `document.getElementById("status").textContent.startsWith("Connected")`;

async function say(page, text) {
  await page.type("#message", text);
  await page.click("#send-form button");
}

async function echo(page) {
  await page.goto("/");
  await page.navigates(() => page.click("a[href='/ws-echo.html']"));
  await page.wait(connected, "the connection");
  for (const text of ["hello", NASTY]) {
    await say(page, text);
    await page.wait(said("in", `ECHO! ${text}`), "the echo");
  }
  assert.equal(await page.run("document.querySelectorAll('#talk b, #talk img, #talk script').length"), 0);
}

async function chat(page, server) {
  const other = await page.browser.page(server);
  try {
    for (const [tab, name] of [[page, "Ada"], [other, "Bob"]]) {
      await tab.goto("/ws-chat.html");
      await tab.wait(connected, "the connection");
      await tab.type("#name", name);
    }
    await say(page, "good morning, all");
    await other.wait(said("in", "Ada says: good morning, all"), "Ada's words");
    await say(other, NASTY);
    await page.wait(said("in", `Bob says: ${NASTY}`), "Bob's words");
    assert.equal(await page.run(`document.querySelectorAll("#talk li.in").length`), 1, "Ada does not hear herself");
    assert.equal(await other.run(`document.querySelectorAll("#talk li.in").length`), 1, "nor does Bob");
    other.complain();
  } finally {
    await other.close();
  }
}

async function counters(page) {
  await page.goto("/ws-vmstat.html");
  await page.wait("/^\\d+ %$/.test(document.getElementById('busy').textContent)", "the processor");
  await page.wait("/MiB$/.test(document.getElementById('available').textContent)", "the memory");
  const first = await page.text("#switches");
  await page.wait(`document.getElementById("switches").textContent !== ${JSON.stringify(first)}`, "another count");
}

async function consolePage(page) {
  await page.goto("/ws-console.html?url=/ws/echo");
  await page.click("#connect");
  await page.wait(connected, "the connection");
  await say(page, "grün");
  await page.wait(said("in", "ECHO! grün"), "the echo");
  // What the script says on standard error may come first.
  const note = await page.run(`[...document.querySelectorAll("#talk li.in")]
    .find((li) => li.querySelector("span").textContent === "ECHO! grün").querySelector("small").textContent`);
  assert.match(note, /11 B · [\d.]+ ms$/, "octets, not letters, and how long it took");
  await page.click("#connect");
  await page.wait(`document.getElementById("status").textContent.startsWith("Closed: 1000")`, "the end");
  // The counters do not answer; but each of their lines is an answer to the eye. A room with nobody else in it is silent.
  await page.goto("/ws-console.html?url=/ws/chat");
  await page.click("#connect");
  await page.wait(connected, "the connection");
  await say(page, "Ada,anybody there?");
  await page.wait(`!document.getElementById("hint").hidden`, "the hint");
}

async function ownAddress(page, server) {
  page.expect("426"); // what a plain request for a WebSocket is answered with, console or not
  await page.goto("/cgi-bin/ws-echo.py/a?b=c");
  assert.equal(await page.run(`document.getElementById("address").value`), "/cgi-bin/ws-echo.py/a?b=c");
  await page.click("#connect");
  await page.wait(connected, "the connection");
  await say(page, NASTY);
  await page.wait(said("in", `ECHO! ${NASTY}`), "the echo");
  assert.equal(await page.run("getComputedStyle(document.body).maxWidth"), "800px", "its style came with it");
  assert(server.origin);
}

async function standardError(page) {
  await page.goto("/ws-console.html?url=/ws/echo");
  await page.click("#connect");
  await page.wait(connected, "the connection");
  const loud = `[...document.querySelectorAll("#talk li.in span.alarm")].find((s) => s.textContent.includes("somebody is here"))`;
  await page.wait(`Boolean(${loud})`, "what the script says to its log");
  await say(page, "hello");
  await page.wait(said("in", "ECHO! hello"), "the echo, without an envelope");
  const colours = await page.run(`[${loud}, document.querySelector("#talk li.in span:not(.alarm)")].map((s) => getComputedStyle(s).color)`);
  assert.notEqual(colours[0], colours[1]);
}
