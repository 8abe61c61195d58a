/** A real browser, a page of another origin that embeds the built widget, and an engine in memory behind it. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { launchBrowser } from "@agent-engine/testing/browser.ts";
import { startFakeEngine, type FakeEngine, type FakeEngineOptions } from "@agent-engine/testing/fake-engine.ts";
import { closeServer, listen } from "@agent-engine/testing/listening.ts";
import { buildWidget } from "../build.ts";

export interface World {
  browser: Browser;
  widgetDir: string;
  close(): Promise<void>;
}

/** Builds the widget and starts a browser: once for a file of tests. */
export async function openWorld(): Promise<World> {
  const widgetDir = mkdtempSync(join(tmpdir(), "agent-engine-widget-"));
  await buildWidget(widgetDir);
  const browser = await launchBrowser();
  return {
    browser,
    widgetDir,
    async close() {
      await browser.close();
      rmSync(widgetDir, { recursive: true, force: true });
    },
  };
}

export interface PageOptions extends FakeEngineOptions {
  /** The page's Content-Security-Policy; `{api}` and `{ws}` are the engine's origins. */
  policy?: string;
  /** What stands in the page's body; the script tag unless told otherwise, `{api}` as above. */
  body?: string;
  browser?: BrowserContextOptions;
}

export interface Embedded {
  page: Page;
  engine: FakeEngine;
  /** What the page's console and its uncaught errors said. */
  complaints: string[];
  /** Origins that were asked for anything. */
  asked: Set<string>;
  close(): Promise<void>;
}

export const STRICT_POLICY = [
  "default-src 'none'",
  "script-src {api}",
  "connect-src {api} {ws}",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

export async function embed(world: World, options: PageOptions = {}): Promise<Embedded> {
  const engine = await startFakeEngine({ ...options, widgetDir: world.widgetDir });
  const fill = (text: string) =>
    text.replaceAll("{api}", engine.url).replaceAll("{ws}", engine.url.replace("http", "ws"));
  const body = options.body ?? `<script src="{api}/widget.js" data-key="${engine.publishableKey}" async></script>`;
  const site = createServer((_request, response) => {
    if (options.policy) response.setHeader("content-security-policy", fill(options.policy));
    response
      .writeHead(200, { "content-type": "text/html" })
      .end(
        `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width, initial-scale=1"><title>A shop</title><button id="before">Before</button>${fill(body)}`,
      );
  });
  const port = await listen(site, 0);
  const context = await world.browser.newContext(options.browser);
  const page = await context.newPage();
  const complaints: string[] = [];
  const asked = new Set<string>();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.add(new URL(request.url()).origin));
  await page.goto(`http://localhost:${port}/`);
  return {
    page,
    engine,
    complaints,
    asked,
    async close() {
      await context.close();
      await engine.stop();
      site.closeAllConnections();
      await closeServer(site);
    },
  };
}
