// What a person does with each demonstration, and what must come of it. Every story gets a fresh window; any error on
// the console, any dialog and any request to another host fails it, unless it says that it expects one.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appearance } from "./appearance.mjs";
import { conversations } from "./websocket.mjs";
import { why } from "./why.mjs";

// Text that becomes markup, a script or an attribute wherever escaping was forgotten.
const NASTY = `<b>x</b> "><script>alert(1)</script> '&amp; <img src=x onerror=alert(2)> grün 木 🙂`;

export const stories = [
  ["index: every demonstration is linked, and every link answers", index],
  ["ajax: time and process count change without a reload, typing is counted", ajax],
  ["ajax: pages of old poll with ?_= and a content type on GET", oldPages],
  ["todo: items are added, refused, kept over a restart, and never become markup", todo],
  ["todo: sixty at once lose nothing", sixty],
  ["todo: another site's form adds nothing", foreignForm],
  ["dump: link, GET, url-encoded and multipart forms show what was sent", dump],
  ["zzz: any address with the suffix shows its path and today's date", zzz],
  ["form: all fields arrive, by POST and by GET", form],
  ["upload: name, size, SHA-256 and preview of several files", upload],
  ["upload: a form without a file, and a script that posts FormData", uploadOddly],
  ...["sh", "pl", "py"].map((language) => [`guestbook.${language}: signing, reloading, escaping`, (page) => guestbook(page, language)]),
  ["not found: the site's own page, with 404", notFound],
  ...why,
  ...conversations,
  ["appearance: phone and desktop, light and dark", appearance],
];

async function index(page) {
  await page.goto("/");
  await page.wait("/^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC$/.test(document.getElementById('time').textContent)", "the time");
  await page.wait("Number(document.getElementById('processcount').textContent) > 0", "the process count");
  const first = await page.text("#time");
  const links = await page.run("[...document.links].map((a) => ({ href: a.href, words: (a.getAttribute('href') + ' ' + a.textContent).toLowerCase() }))");
  for (const word of ["ajax", "todo", "dump", "zzz", "upload", "form", "guestbook.sh", "guestbook.pl", "guestbook.py"]) {
    assert(links.some(({ words }) => words.includes(word)), `no link for ${word}`);
  }
  page.expect("502"); // of the one that fails on purpose
  for (const { href } of links) {
    const wanted = href.endsWith("/fails.sh") ? 502 : 200;
    assert.equal(await page.run(`fetch(${JSON.stringify(href)}).then((r) => r.status)`), wanted, href);
  }
  await page.wait(`document.getElementById('time').textContent !== ${JSON.stringify(first)}`, "a later time");
  assert.equal(await page.text("#status"), "");
}

async function ajax(page) {
  await page.goto("/");
  await page.navigates(() => page.click("a[href*=ajax]"));
  await page.run("window.sameDocument = true");
  await page.wait("document.getElementById('time').textContent.endsWith('UTC')", "the time");
  const first = await page.text("#time");
  await page.wait(`document.getElementById('time').textContent !== ${JSON.stringify(first)}`, "a later time");
  await page.wait("Number(document.getElementById('processcount').textContent) > 0", "the process count");
  const asked = (path) => page.requests.filter(({ url }) => url.endsWith(path)).length;
  const end = Date.now() + 15_000;
  while (asked("/ajax/processcount") < 4 || asked("/ajax/time") < 5) { // the index page asked as well
    assert(Date.now() < end, "the polling stopped");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  for (const [text, count] of [["x", "1 character "], ["木é🙂 x", "5 characters"], [NASTY, `${[...NASTY].length} characters`], ["", "0 characters"]]) {
    await page.type("#input", text);
    await page.wait(`document.getElementById('processed').textContent.startsWith(${JSON.stringify(count)})`, `${count} of ${text}`);
  }
  await page.type("#input", "entered");
  await page.press("Enter", 13);
  await page.wait("document.getElementById('processed').textContent.startsWith('7 characters')", "7 characters after Enter");
  assert.equal(await page.run("window.sameDocument"), true, "the page was reloaded");
}

async function oldPages(page) {
  await page.goto("/ajax.html");
  const get = (path) => page.run(`fetch(${JSON.stringify(path)}, { headers: { "X-Requested-With": "XMLHttpRequest" } }).then((r) => r.json())`);
  assert.match((await get("/ajax/time?_=1795244932000")).time, / UTC$/);
  assert((await get("/ajax/processcount?_=123")).processcount > 0);
  // fetch takes no content type on GET seriously, XMLHttpRequest sends it.
  const old = await page.run(`new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("GET", "/ajax/time?_=1");
    request.setRequestHeader("Content-Type", "application/json");
    request.onload = () => done(request.responseText);
    request.send();
  })`);
  assert.match(JSON.parse(old).iso, /Z$/);
  const posted = await page.run(`fetch("/ajax/processinput", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"input":"abc"}' }).then((r) => r.json())`);
  assert.deepEqual(posted, { processed: 3, length: 15 });
}

async function todo(page, server) {
  await page.goto("/todo.html");
  const items = () => page.run("[...document.querySelectorAll('#item-list > li')].map((li) => li.textContent)");
  const last = (text) => page.wait(`document.querySelector('#item-list > li:last-child')?.textContent === ${JSON.stringify(text)}`, `the item ${text}`);
  for (const text of ["buy milk", NASTY]) {
    await page.type("#item-input", text);
    await page.click("#add-item-form button");
    await last(text);
  }
  await page.type("#item-input", "by the Enter key");
  await page.press("Enter", 13);
  await last("by the Enter key");
  assert.equal(await page.run("document.querySelectorAll('#item-list b, #item-list img, #item-list script').length"), 0);
  assert.equal(await page.run("document.activeElement.id"), "item-input");

  page.expect("status of 400");
  await page.type("#item-input", "   ");
  await page.click("#add-item-form button");
  await page.wait("/missing or empty/.test(document.getElementById('status').textContent)", "a word about the empty item");
  const kept = await items();
  await page.goto("/todo.html");
  await last("by the Enter key");
  assert.deepEqual(await items(), kept);

  await server.restart();
  await page.goto("/todo.html");
  await last("by the Enter key");
  assert.deepEqual(await items(), kept);
}

async function sixty(page) {
  await page.goto("/todo.html");
  const statuses = await page.run(`Promise.all(Array.from({ length: 60 }, (_, n) => fetch("/api/items", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ item: "sixty " + n }),
  }).then((r) => r.status)))`);
  assert.deepEqual(new Set(statuses), new Set([201]));
  await page.goto("/todo.html");
  await page.wait("[...document.querySelectorAll('#item-list > li')].filter((li) => li.textContent.startsWith('sixty ')).length === 60", "all sixty");
}

async function foreignForm(page, server) {
  const foreign = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(`<link rel="icon" href="data:,"><form method="post" action="${server.origin}/api/items"><input name="item" value="planted"><button>Win</button></form>`);
  });
  await new Promise((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  try {
    page.expect("request to another host"); // this page is one
    page.expect("status of 403");
    await page.goto(`http://127.0.0.1:${foreign.address().port}/`);
    await page.navigates(() => page.click("button"));
    assert.match(await page.text("body"), /only accepted from pages of this site/);
  } finally {
    foreign.closeAllConnections();
    foreign.close();
  }
  await page.goto("/todo.html");
  assert(!(await page.run("fetch('/api/items').then((r) => r.text())")).includes("planted"));
}

async function dump(page) {
  const rows = (id) => page.run(`Object.fromEntries([...document.querySelectorAll('#${id} tr')].map((tr) => [tr.cells[0].firstChild.data.trim(), tr.cells[1].textContent]))`);
  await page.goto("/dump.html");
  await page.navigates(() => page.click("a[href*=extra]"));
  assert.equal(await page.text("#method"), "GET");
  assert.equal(await page.text("#path"), "/cgi-bin/dump/extra/path info");
  assert.equal((await rows("request")).PATH_INFO, "/extra/path info");
  assert.equal((await rows("query")).colour, "grün");
  assert.match((await rows("headers"))["User-Agent"], /Chrome/);

  await page.goto("/dump.html");
  await page.type("#get-text", NASTY);
  await page.navigates(() => page.click("#get-form button"));
  assert.equal((await rows("query")).text, NASTY);

  await page.goto("/dump.html");
  await page.type("#post-text", NASTY);
  await page.navigates(() => page.click("#post-form button"));
  assert.equal(await page.text("#method"), "POST");
  assert.equal((await rows("form")).text, NASTY);
  assert.match(await page.text("#body"), /^text=%3Cb%3Ex%3C%2Fb%3E/);

  await withFiles({ "small.txt": NASTY }, async ([file]) => {
    await page.goto("/dump.html");
    await page.type("#multi-text", NASTY);
    await page.choose("#multi-file", [file]);
    await page.navigates(() => page.click("#multipart-form button"));
    assert.equal((await rows("form")).text, NASTY);
    assert.equal((await rows("form")).file, `file small.txt, ${Buffer.byteLength(NASTY)} bytes`);
    assert((await page.text("#body")).includes(NASTY));
  });
  assert.equal(await page.run("document.querySelectorAll('main b, main img, main script').length"), 0);
}

async function zzz(page) {
  await page.goto("/");
  await page.navigates(() => page.click("a[href='/hello.zzz']"));
  assert.match(await page.text("main"), /A file stands behind/);
  for (const path of ["/hello.zzz", "/no/such/folder/page.zzz", `/${NASTY.replaceAll("/", "")}.zzz`]) {
    const before = today();
    await page.goto(`${path.split("/").map(encodeURIComponent).join("/")}?query=1`);
    assert.equal(await page.text("#path"), path);
    const shown = await page.run("document.getElementById('today').dateTime");
    assert([before, today()].includes(shown), `${shown} is not today`);
    assert.match(await page.text("#today"), /^\w+day, \d{1,2} \w+ \d{4}$/);
  }
  assert.equal(await page.run("document.querySelectorAll('main b, main img, main script').length"), 0);
}

async function form(page) {
  const fields = () => page.run("[...document.querySelectorAll('#fields tr')].map((tr) => [tr.cells[0].textContent, tr.cells[1].textContent])");
  await page.goto("/form.html");
  await page.type("#name", NASTY);
  await page.type("#message", "two\nlines");
  await page.click("input[value^=peppers]");
  await page.navigates(() => page.click("#post-form button"));
  assert.deepEqual(await fields(), [["name", NASTY], ["message", "two\r\nlines".replace("\r", "")], ["size", "medium"], ["topping", "olives"], ["topping", "peppers & more"]]);

  await page.goto("/form.html");
  await page.type("#query", NASTY);
  await page.navigates(() => page.click("#get-form button"));
  assert.deepEqual(await fields(), [["q", NASTY]]);
}

async function upload(page) {
  const large = Buffer.alloc(3_000_001, "0123456789abcdef\n");
  const contents = { [`<b>"x" & grün木.txt`]: `first line\n${NASTY}`, "empty.bin": "", "binary.png": Buffer.from([137, 80, 78, 71, 0, 255]), "large.txt": large };
  await withFiles(contents, async (files) => {
    await page.goto("/");
    await page.navigates(() => page.click("a[href*=upload]"));
    await page.choose("#files", files);
    await page.type("#comment", NASTY);
    await page.navigates(() => page.click("#upload-form button"));
  });
  const shown = await page.run("[...document.querySelectorAll('table.file')].map((table) => Object.fromEntries([...table.rows].map((tr) => [tr.cells[0].textContent, tr.cells[1].textContent])))");
  assert.equal(shown.length, 4);
  for (const [number, [name, content]] of Object.entries(contents).entries()) {
    const data = Buffer.from(content);
    assert.equal(shown[number].Name, name);
    assert.equal(shown[number].Size, `${data.length} bytes`);
    assert.equal(shown[number]["SHA-256"], createHash("sha256").update(data).digest("hex"));
  }
  assert.equal(shown[2].Type, "image/png");
  assert.deepEqual(await page.run("[...document.querySelectorAll('pre.preview')].map((pre) => pre.textContent)"),
    [`first line\n${NASTY}`, large.subarray(0, 2048).toString()]);
  assert.equal(await page.text("#fields td"), NASTY);
  assert.equal(await page.run("document.querySelectorAll('main b, main img, main script').length"), 0);
}

async function uploadOddly(page) {
  await page.goto("/upload.html");
  await page.navigates(() => page.click("#upload-form button"));
  assert.match(await page.text("table.file"), /no file was chosen/);

  await page.goto("/upload.html");
  const answer = await page.run(`(() => {
    const form = new FormData();
    form.append('a "quoted"\\nname', "value");
    form.append("file", new File(["text"], 'it"s.txt', { type: "text/plain" }));
    return fetch("/cgi-bin/upload.py", { method: "POST", body: form, headers: { Accept: "application/json" } }).then((r) => r.json());
  })()`);
  assert.deepEqual(answer.fields, [['a "quoted"\r\nname', "value"]]);
  assert.equal(answer.files[0].name, 'it"s.txt');
  assert.equal(answer.files[0].sha256, createHash("sha256").update("text").digest("hex"));
  const dictionary = await page.run(`fetch("/cgi-bin/upload.py", { method: "POST", body: new URLSearchParams({ x: "1", "ü": "<b>" }), headers: { Accept: "application/json" } }).then((r) => r.json())`);
  assert.deepEqual(dictionary.fields, [["x", "1"], ["ü", "<b>"]]);
}

async function guestbook(page, language) {
  await page.goto("/");
  await page.navigates(() => page.click(`a[href$='guestbook.${language}']`));
  const address = await page.run("location.href");
  const entries = () => page.run("[...document.querySelectorAll('#entries li')].map((li) => [li.querySelector('.who').firstChild.data, li.querySelector('.what').textContent])");
  const message = `$(id) \`id\` %s \\0101 \\n ${NASTY}`;
  for (const [who, what, seen] of [["Ann", "first", "first"], [NASTY.slice(0, 50), message, message], ["Lines", "one\ntwo", "one  two"]]) {
    await page.type("#name", who);
    await page.type("#message", what);
    await page.navigates(() => page.click("form button"));
    assert.equal(await page.run("location.href"), address);
    assert.deepEqual((await entries())[0], [who.trim(), seen]);
  }
  const before = await entries();
  await page.navigates(() => page.send("Page.reload"));
  assert.deepEqual(await entries(), before, "reloading posted again");
  assert.equal(await page.run("document.querySelectorAll('main b, main img, main script').length"), 0);

  // The browser holds the form to its limits; the script must not rely on it.
  page.expect("status of 400");
  await page.run("document.querySelector('form').noValidate = true");
  await page.navigates(() => page.click("form button"));
  assert.match(await page.text("[role=alert]"), /A name and a message/);
}

async function notFound(page) {
  page.expect("status of 404");
  await page.goto("/no/such/page.html");
  assert.equal(await page.run("performance.getEntriesByType('navigation')[0].responseStatus"), 404);
  assert.match(await page.text("h1"), /no such page/);
  await page.navigates(() => page.click("main a"));
  assert.equal(await page.run("location.pathname"), "/");
}

/** Files of these names and contents, for as long as `use` needs them. */
async function withFiles(contents, use) {
  const folder = mkdtempSync(join(tmpdir(), "cgiserve-upload-"));
  try {
    const paths = Object.entries(contents).map(([name, content]) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    });
    return await use(paths);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Today as the server's scripts see it, which run on this machine. */
function today() {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
