// Chromium, driven over its DevTools protocol by a pipe (--remote-debugging-pipe): JSON messages, each ended by a NUL,
// on file descriptors 3 and 4. No port is opened and no package is needed.

import { spawn } from "node:child_process";
import { once } from "node:events";

const WAIT = 15_000; // ms that a condition may take to come true
const STOP_LIMIT = 5_000; // ms from asking the browser to close to SIGKILL

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
  "--disable-extensions", "--disable-breakpad", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
  "--lang=en-GB", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
];

export class Browser {
  constructor(program, profile) {
    Object.assign(this, { program, profile, last: 0, open: new Map(), sessions: new Map() });
  }

  async start() {
    this.process = spawn(this.program, [...FLAGS, `--user-data-dir=${this.profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      detached: true, // a process group of its own, so that all its helpers can be ended together
    });
    this.gone = once(this.process, "exit").catch(() => {});
    this.gone.then(() => this.open.forEach(({ reject }) => reject(new Error("the browser ended"))));
    const [, , , to, from] = this.process.stdio;
    to.on("error", () => {});
    this.to = to;
    let held = Buffer.alloc(0);
    from.on("data", (chunk) => {
      held = Buffer.concat([held, chunk]);
      for (let end = held.indexOf(0); end >= 0; end = held.indexOf(0)) {
        this.heard(JSON.parse(held.subarray(0, end).toString()));
        held = held.subarray(end + 1);
      }
    });
    await this.send("Browser.getVersion");
  }

  /** A fresh window with cookies and cache of its own. */
  async page(server) {
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, server, { sessionId, browserContextId });
    this.sessions.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Network", "Log", "DOM"]) await page.send(`${domain}.enable`);
    return page;
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, method });
      this.to.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  heard(message) {
    const waiting = this.open.get(message.id);
    if (waiting) {
      this.open.delete(message.id);
      if (message.error) waiting.reject(new Error(`${waiting.method}: ${message.error.message}`));
      else waiting.resolve(message.result);
    } else {
      this.sessions.get(message.sessionId)?.heard(message);
    }
  }

  async stop() {
    if (!this.process?.pid) return;
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.send("Browser.close").catch(() => {});
      const timer = setTimeout(() => this.kill(), STOP_LIMIT);
      await this.gone;
      clearTimeout(timer);
    }
    // Helpers may outlive it for a moment; the test is over when the whole group is gone.
    while (this.kill()) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  kill() {
    try {
      return process.kill(-this.process.pid, "SIGKILL");
    } catch {
      return false; // nobody is left
    }
  }
}

/** One window, and a record of all that went wrong in it. */
class Page {
  constructor(browser, server, ids) {
    Object.assign(this, { browser, server, ...ids, problems: [], expected: [], requests: [] });
  }

  send(method, params) {
    return this.browser.send(method, params, this.sessionId);
  }

  heard({ method, params }) {
    if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params.exceptionDetails;
      this.problems.push(`exception: ${exception?.description ?? text}`);
    } else if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) {
      this.problems.push(`console: ${params.args.map((arg) => arg.value ?? arg.description).join(" ")}`);
    } else if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) {
      this.problems.push(`${params.entry.text} (${params.entry.url ?? "no address"})`);
    } else if (method === "Network.requestWillBeSent") {
      this.requests.push({ url: params.request.url, method: params.request.method });
      if (/^https?:/.test(params.request.url) && new URL(params.request.url).origin !== this.server.origin) {
        this.problems.push(`request to another host: ${params.request.url}`);
      }
    } else if (method === "Page.javascriptDialogOpening") {
      this.problems.push(`dialog: ${params.message}`);
      this.send("Page.handleJavaScriptDialog", { accept: false }).catch(() => {});
    }
  }

  /** Says that a problem whose text contains `part` belongs to the story. */
  expect(part) {
    this.expected.push(part);
  }

  /** Throws when anything went wrong that the story did not expect. */
  complain() {
    const left = this.problems.filter((problem) => !this.expected.some((part) => problem.includes(part)));
    if (left.length > 0) throw new Error(left.join("; "));
  }

  /** Opens a path of the server, or a whole URL, and waits until it is loaded. */
  async goto(path) {
    const url = new URL(path, this.server.origin).href;
    await this.navigates(async () => {
      const { errorText } = await this.send("Page.navigate", { url });
      if (errorText && errorText !== "net::ERR_ABORTED") throw new Error(`${url}: ${errorText}`);
    });
  }

  /** Does something that leads to another page, and waits until that is loaded. */
  async navigates(action) {
    await this.run("window.__before = true").catch(() => {});
    await action();
    await this.wait("!window.__before && document.readyState === 'complete'", "the next page to load");
  }

  /** The value of a JavaScript expression in the page. */
  async run(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true, userGesture: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until the expression is true; `what` names it in the complaint. */
  async wait(expression, what = expression) {
    const end = Date.now() + WAIT;
    for (;;) {
      // While a page is being replaced there is nothing to evaluate in; that is no reason to give up.
      const value = await this.run(expression).catch(() => undefined);
      if (value) return value;
      if (Date.now() > end) throw Object.assign(new Error(`waited in vain for ${what}`), { late: true });
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  async text(selector) {
    return this.run(`document.querySelector(${JSON.stringify(selector)}).textContent`);
  }

  async click(selector) {
    const at = await this.run(`(() => {
      const it = document.querySelector(${JSON.stringify(selector)});
      if (!it) return null;
      it.scrollIntoView({ block: "center" });
      const box = it.getClientRects()[0];
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      const top = document.elementFromPoint(x, y);
      return it.contains(top) || it.labels?.[0]?.contains(top) ? { x, y } : null;
    })()`);
    if (!at) throw new Error(`nothing to click at ${selector}`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
    }
  }

  /** Clicks into a field, clears it and types. */
  async type(selector, text) {
    await this.click(selector);
    await this.run(`document.querySelector(${JSON.stringify(selector)}).select()`);
    if (text === "") await this.press("Delete", 46);
    else await this.send("Input.insertText", { text });
  }

  async press(key, code) {
    const text = key === "Enter" ? "\r" : undefined;
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", key, code: key, text, windowsVirtualKeyCode: code });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key, code: key, windowsVirtualKeyCode: code });
  }

  async choose(selector, files) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.send("DOM.setFileInputFiles", { nodeId, files });
  }

  async looks({ width, height, dark, phone }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: phone ? 2 : 1, mobile: phone });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  async close() {
    this.browser.sessions.delete(this.sessionId);
    await this.browser.send("Target.disposeBrowserContext", { browserContextId: this.browserContextId });
  }
}
