/** `npm start` as a newcomer runs it, a model that says what a test wants, and a browser for its demo page. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { launchBrowser } from "@agent-engine/testing/browser.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import type { Browser } from "playwright-core";

export interface DemoShop {
  demoUrl: string;
  apiUrl: string;
  browser: Browser;
  model: ModelServer;
  /** Of the demo tenant, as the start wrote it down. */
  secretKey: string;
  /** As a crash or the machine's memory killer would: nothing is said to anybody. */
  kill(): Promise<void>;
  /** On the same folder and ports. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param options.model false: no model is configured, and the agent quotes its documents
 * @param options.env more than a newcomer has
 */
export async function openDemoShop(options: { model: boolean; env?: Record<string, string> }): Promise<DemoShop> {
  const ends: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  };
  try {
    const folder = mkdtempSync(join(tmpdir(), "agent-engine-demo-"));
    // As root, Postgres runs under another account, which must reach it.
    chmodSync(folder, 0o755);
    ends.push(async () => rmSync(folder, { recursive: true, force: true }));
    const model = await startModelServer({ tokens: 20 });
    ends.push(() => model.stop());

    const [port, demoPort] = [await freePort(), await freePort()];
    const env = {
      ROLE: "all",
      DATA_DIR: join(folder, "data"),
      PORT: String(port),
      DEMO_PORT: String(demoPort),
      ...(options.model ? { OPENAI_BASE_URL: model.url } : null),
      ...options.env,
    };
    let running: RunningProcess | null = null;
    const start = async () => {
      const child = (running = startProcess({ name: "npm start", args: ["scripts/start.ts"], env }));
      ends.push(() => child.stop());
      await child.waitForOutput(/Ctrl-C stops everything/, 60_000);
    };
    await start();
    const browser = await launchBrowser();
    ends.push(() => browser.close());
    return {
      demoUrl: `http://localhost:${demoPort}/`,
      apiUrl: `http://localhost:${port}`,
      browser,
      model,
      secretKey: (JSON.parse(readFileSync(join(folder, "data", "dev.json"), "utf8")) as { secretKey: string })
        .secretKey,
      async kill() {
        running?.signal("SIGKILL");
        await running?.exited;
      },
      start,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
