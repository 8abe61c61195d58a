/**
 * The demo page: a shop on another origin than the API, which embeds the widget as any customer does, by the script
 * tag. Its Content-Security-Policy is as strict as a careful customer's: no inline code or style, Trusted Types enforced.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname } from "node:path";
import type { Logger } from "pino";

const FOLDER = new URL("../demo/", import.meta.url);
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};
/** Nothing but the files of the folder and one below it. */
const FILE = /^\/(?:images\/)?[a-z-]+\.(?:css|js|svg)$/;

export interface DemoSiteOptions {
  /** 0 takes a free one. */
  port: number;
  apiUrl: string;
  publishableKey: string;
  log: Pick<Logger, "info" | "error">;
}

export interface DemoSite {
  url: string;
  stop(): Promise<void>;
}

export function demoPolicy(apiUrl: string): string {
  const { origin } = new URL(apiUrl);
  return [
    "default-src 'none'",
    `script-src 'self' ${origin}`,
    `connect-src ${origin} ${origin.replace(/^http/, "ws")}`,
    "style-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

/** Rejects when the port is taken. */
export async function startDemoSite({ port, apiUrl, publishableKey, log }: DemoSiteOptions): Promise<DemoSite> {
  const policy = demoPolicy(apiUrl);

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://demo");
    const name = pathname === "/" ? "/index.html" : pathname;
    if (name !== "/index.html" && !FILE.test(name)) {
      response.writeHead(404, { "content-type": "text/plain" }).end("There is no such page.\n");
      return;
    }
    try {
      let body: string = await readFile(new URL(`.${name}`, FOLDER), "utf8");
      if (name === "/index.html") {
        body = body
          .replace("{{apiUrl}}", () => escaped(apiUrl.replace(/\/$/, "")))
          .replace("{{publishableKey}}", () => escaped(publishableKey));
      }
      response
        .writeHead(200, {
          "content-type": TYPES[extname(name)] ?? "application/octet-stream",
          "content-security-policy": policy,
          "cache-control": "no-cache",
          "x-content-type-options": "nosniff",
          "referrer-policy": "strict-origin-when-cross-origin",
        })
        .end(body);
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing) log.error({ err: error, name }, "the demo page could not be read");
      response.writeHead(isMissing ? 404 : 500, { "content-type": "text/plain" }).end("There is no such page.\n");
    }
  }

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, resolve);
  });
  const url = `http://localhost:${(server.address() as AddressInfo).port}`;
  log.info({ url }, "demo page");
  return {
    url,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
