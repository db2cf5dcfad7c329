// Every page on a phone and on a desktop, in light and in dark: nothing sticks out, all text can be read, and what a
// screen reader needs is there.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PAGES = {
  "/": "index", "/ajax.html": "ajax", "/todo.html": "todo", "/dump.html": "dump-forms",
  "/cgi-bin/dump/with/a/path?and=a+query": "dump", "/form.html": "form", "/upload.html": "upload",
  "/cgi-bin/upload.py?q=question&empty=": "upload-answer", "/hello.zzz": "zzz", "/not-found.html": "not-found",
  "/ws-echo.html": "ws-echo", "/ws-chat.html": "ws-chat", "/ws-console.html": "ws-console",
  "/cgi-bin/guestbook.sh": "guestbook-sh", "/cgi-bin/guestbook.pl": "guestbook-pl", "/cgi-bin/guestbook.py": "guestbook-py",
};
// 320 pixels is the narrowest phone, and what WCAG 1.4.10 asks of any page.
const SCREENS = { phone: { width: 320, height: 640, phone: true }, desktop: { width: 1280, height: 800, phone: false } };

export async function appearance(page) {
  await page.goto("/");
  await page.run(`fetch("/api/items", { method: "POST", body: JSON.stringify({ item: "a_very_long_word_without_a_place_to_break_it_".repeat(4) }) })`);
  for (const [screen, size] of Object.entries(SCREENS)) {
    for (const dark of [false, true]) {
      await page.looks({ ...size, dark });
      for (const [path, name] of Object.entries(PAGES)) {
        await page.goto(path);
        await page.wait("!/…/.test(document.querySelector('.figures')?.textContent)", "live figures");
        await page.wait("document.querySelector('#item-list')?.childElementCount !== 0", "the items");
        const faults = await page.run(`(${inspect})(${size.width}, ${dark})`);
        if (process.env.SHOTS) {
          mkdirSync(process.env.SHOTS, { recursive: true });
          writeFileSync(join(process.env.SHOTS, `${name}-${screen}-${dark ? "dark" : "light"}.png`), await page.screenshot());
        }
        assert.deepEqual(faults, [], `${path} (${screen}, ${dark ? "dark" : "light"})`);
      }
    }
  }
}

/** Runs in the page: a sentence for each fault. */
function inspect(width, dark) {
  const faults = [];
  const fault = (text) => faults.push(text);

  if (document.documentElement.scrollWidth > width) fault(`${document.documentElement.scrollWidth} pixels wide`);
  for (const it of document.querySelectorAll("body *")) {
    const box = it.getBoundingClientRect();
    if (box.width > 0 && (box.right > width + 1 || box.left < -1)) fault(`${it.tagName} sticks out`);
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const colour = parts(getComputedStyle(it).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const ground = luminance(behind(document.body));
  if (dark ? ground > 0.1 : ground < 0.7) fault(`the page is not ${dark ? "dark" : "light"}`);
  for (const it of document.querySelectorAll("body *")) {
    const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || it.matches("input, textarea, select");
    if (!own || it.getClientRects().length === 0) continue;
    const [a, b] = [luminance(parts(getComputedStyle(it).color)), luminance(behind(it))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) fault(`${it.tagName} "${it.textContent.slice(0, 20)}" has a contrast of ${contrast.toFixed(2)}`);
  }

  if (!document.documentElement.lang) fault("no language");
  if (!document.title) fault("no title");
  if (document.querySelectorAll("h1").length !== 1) fault("not exactly one h1");
  if (document.querySelectorAll("main").length !== 1) fault("not exactly one main");
  for (const it of document.querySelectorAll("input, textarea, select")) {
    if (!it.labels?.length) fault(`${it.id || it.name} has no label`);
    const target = it.matches("[type=checkbox]") ? it.labels[0] : it;
    if (target.getBoundingClientRect().height < 24) fault(`${it.id || it.name} is too small to touch`);
  }
  const seen = new Set();
  for (const { id } of document.querySelectorAll("[id]")) {
    if (seen.has(id)) fault(`two elements called ${id}`);
    seen.add(id);
  }
  const inline = document.querySelectorAll("script:not([src]), style, [style], [onclick], [onload], [onsubmit]").length;
  if (inline > 0) fault("inline script or style");
  return faults;
}
