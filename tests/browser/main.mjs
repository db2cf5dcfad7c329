// Starts server and browser, tells the stories one after the other, and leaves no process and no file behind.

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Browser } from "./cdp.mjs";
import { Server } from "./server.mjs";
import { stories } from "./stories.mjs";

const STORY_LIMIT = 60_000; // ms for one story, over everything it does

const [binary, root] = process.argv.slice(2).map((path) => resolve(path));
const scratch = mkdtempSync(join(tmpdir(), "cgiserve-browser-"));
chmodSync(scratch, 0o755); // a server started as root runs scripts as somebody else, who has to reach the state folder

const server = new Server(binary, root, scratch);
const browser = new Browser(process.env.CHROMIUM, join(scratch, "profile"));
let status = 2;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => end().then(() => process.exit(2)));
try {
  await server.start();
  await browser.start();
  status = (await tell()) === 0 ? 0 : 1;
} catch (error) {
  console.error(`the browser test could not be run: ${error.message}`);
} finally {
  await end();
}
process.exit(status);

/** Tells the stories that were asked for; the number of those that failed. */
async function tell() {
  let passed = 0;
  let failed = 0;
  for (const [name, story] of stories) {
    if (process.env.STORY && !name.includes(process.env.STORY)) continue;
    let error = await once(story);
    if (error?.late) {
      // On a busy machine a click can go astray. What fails for a reason fails again.
      console.log(`again ${name}: ${error.message}`);
      error = await once(story);
    }
    if (error) {
      console.log(`FAIL  ${name}: ${error.message.trimEnd().replaceAll("\n", "\n      ")}`);
      for (const line of server.log.trimEnd().split("\n").slice(-20)) console.log(`      | ${line}`);
      failed += 1;
    } else {
      console.log(`ok    ${name}`);
      passed += 1;
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return passed === 0 ? 1 : failed;
}

/** Tells one story on a page of its own; what went wrong, if anything did. */
async function once(story) {
  const page = await browser.page(server);
  server.log = "";
  let timer;
  const late = new Promise((_, reject) => {
    const error = Object.assign(new Error(`not done after ${STORY_LIMIT / 1000} s`), { late: true });
    timer = setTimeout(() => reject(error), STORY_LIMIT);
  });
  try {
    await Promise.race([story(page, server), late]);
    page.complain();
    if (server.log.includes("panicked at")) throw new Error("the server panicked");
    return undefined;
  } catch (error) {
    return error;
  } finally {
    clearTimeout(timer);
    await page.close().catch(() => {});
  }
}

async function end() {
  await browser.stop();
  await server.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
