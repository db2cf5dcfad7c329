// The server under test as a process of its own: started on a free port, its banner read, stopped for certain.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const START_LIMIT = 15_000; // ms until the banner
const STOP_LIMIT = 10_000; // ms from SIGTERM to SIGKILL
const MAX_LOG = 64 * 1024; // characters kept of what it wrote to stderr

export class Server {
  /** Serves `root` with its own configuration, but what its scripts keep goes into `scratch`. */
  constructor(binary, root, scratch) {
    Object.assign(this, { binary, root, log: "", origin: "", config: join(scratch, "cgiserve.toml") });
    const state = JSON.stringify(join(scratch, "state"));
    writeFileSync(this.config, `state-directory = ${state}\n${readFileSync(join(root, "cgiserve.toml"), "utf8")}`);
  }

  async start() {
    const options = ["--config", this.config, "-d", this.root, "0"];
    this.process = spawn(this.binary, options, { stdio: ["ignore", "pipe", "pipe"] });
    this.gone = once(this.process, "exit").catch(() => {});
    this.process.stderr.on("data", (text) => (this.log = (this.log + text).slice(-MAX_LOG)));
    const banner = await new Promise((resolve, reject) => {
      let out = "";
      const timer = setTimeout(() => reject(new Error("no banner from the server")), START_LIMIT);
      this.process.stdout.on("data", (text) => {
        out += text;
        if (out.includes("\n")) resolve(out.split("\n")[0]);
      });
      this.process.once("error", reject);
      this.process.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${this.log}`)));
      this.gone.then(() => clearTimeout(timer));
      this.process.stdout.once("data", () => clearTimeout(timer));
    });
    const found = /^Serving HTTP on 127\.0\.0\.1 port (\d+) \((http:\/\/127\.0\.0\.1:\1)\/\) \.\.\.$/.exec(banner);
    if (!found) throw new Error(`not the banner: ${banner}`);
    this.origin = found[2];
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill("SIGTERM");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), STOP_LIMIT);
    await this.gone;
    clearTimeout(timer);
  }

  /** As after a reboot: another process, another port, the same state folder. */
  async restart() {
    await this.stop();
    await this.start();
  }
}
