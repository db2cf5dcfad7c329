// What the server tells the author of a script: the explaining page and the live view.

import assert from "node:assert/strict";

export const why = [
  ["why, status: both are linked from the front page, and show what just happened", linked],
  ["why: the page names the cause, the fix and the nearest script", explained],
  ["status: the live view fills itself without a reload", live],
  ["status: without JavaScript it is a plain page", plain],
];

async function linked(page) {
  page.expect("502");
  await page.goto("/");
  await page.navigates(() => page.click("a[href='/cgi-bin/fails.sh']"));
  assert.match(await page.text(".cause"), /"Hello, world!".*header-line-without-colon/s);
  assert.match(await page.text("body"), /about to greet/);
  await page.goto("/");
  await page.navigates(() => page.click("a[href='/status']"));
  await page.wait("[...document.querySelectorAll('tr')].some((row) => /fails\\.sh.*about to greet/.test(row.textContent))", "its last words");
}

async function explained(page) {
  page.expect("404");
  await page.goto("/cgi-bin/guestbok.py?<script>alert(1)</script>");
  const cause = await page.text(".cause");
  assert.match(cause, /no-such-script/);
  assert.match(cause, /guestbook\.py/);
  assert.equal(await page.run("document.scripts.length"), 0);
}

async function live(page) {
  await page.goto("/status");
  assert.doesNotMatch(await page.text("#live"), /cgi-bin\/dump\?/);
  const before = await page.run("performance.timeOrigin");
  await page.run("fetch('/cgi-bin/dump').then((answer) => answer.text())");
  await page.wait("document.querySelector('#live').textContent.includes('/cgi-bin/dump')", "the script's row");
  await page.wait("[...document.querySelectorAll('rect.all')].some((bar) => Number(bar.getAttribute('height')) > 0)", "a bar");
  assert.equal(await page.run("document.querySelectorAll('#live svg text').length"), 0, "words within a drawing that is stretched");
  await page.run("window.talk = new WebSocket(`ws://${location.host}/ws/echo`)");
  await page.wait("[...document.querySelectorAll('#live tr')].some((row) => /\\/ws\\/echo.*talking.*end it/.test(row.textContent))", "the conversation's row");
  await page.run("talk.close()");
  await page.wait("!document.querySelector('#live').textContent.includes('talking')", "the end of that row");
  assert.equal(await page.run("performance.timeOrigin"), before, "the page was loaded again");
}

async function plain(page, server) {
  const text = await (await fetch(`${server.origin}/status`)).text();
  assert.match(text, /<noscript><meta http-equiv="refresh"/);
  assert.match(text, /<table>/);
}
