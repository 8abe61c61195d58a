/** Requests to addresses that a tenant chose leave by one way. Every file that could open another is named here. */
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join, relative } from "node:path";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What can open a connection; types alone cannot. */
const OPENS =
  /\bfetch\(|(?:globalThis|window)\.fetch\b(?!;|,|\)|\s*[=>{])|\bXMLHttpRequest\b|new WebSocket\(|import (?!type\b)[^;]*from "(?:undici|node:(?:https?|http2|net|tls|dgram)|(?:https?|http2|net|tls|dgram)|nodemailer|axios|got|ws|ioredis|pg)"|import\("(?:undici|nodemailer|node:(?:https?|net|tls))"\)/;

/** Why each may: where it connects to was never a tenant's choice. */
const MAY: Record<string, string> = {
  "core/src/net/egress.ts": "the one way out: it checks",
  "core/src/visitors/jwks.ts": "calls egress.fetch",
  "worker/src/providers/vendor-fetch.ts":
    "vendors' own addresses, and the base URL of the installation's configuration",
  "worker/src/providers/chat-provider.ts": "calls the fetch it is given, which for a tenant's address is the egress",
  "core/src/mail/mailer.ts": "SMTP_URL of the installation",
  "core/src/toolkits/composio/composio-fetch.ts": "Composio's address, of the installation's configuration",
  "core/src/toolkits/composio/files.ts": "calls egress.fetch",
  "core/src/toolkits/mcp/mcp-oauth.ts": "calls a fetch that is egress.fetch",
  "core/src/toolkits/mcp/mcp-wire.ts": "calls egress.fetch, below the SDK",
  "core/src/members/accounts.ts": "makes a pool of the installation's own Postgres",
  "core/src/toolkits/openapi/read-document.ts": "calls egress.fetch",
  "core/src/toolkits/openapi/client-credentials.ts": "calls egress.fetch",
  "server/src/limits/network.ts": "tells addresses' networks, connects nowhere",
};

/** Connections to the installation's own Postgres and Redis, and listening, are no requests. */
const NO_REQUESTS = /^(core\/src\/(db|dev|queue|events|redis)\/|server\/src\/(realtime\/redis-adapter|main)\.ts$)/;

async function sources(folder: string): Promise<string[]> {
  const found = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && !/\.test\.ts$|-fixture\.ts$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes("node_modules"));
}

test("only the egress and a named few can make requests", async () => {
  const files = (
    await Promise.all(["core/src", "server/src", "worker/src", "protocol/src", "migrations/src"].map(sources))
  ).flat();
  expect(files.length).toBeGreaterThan(150);
  const opening: string[] = [];
  for (const file of files) {
    const code = (await readFile(join(ROOT, file), "utf8")).replaceAll(/^\s*(\*|\/\/|\/\*).*$/gm, "");
    if (OPENS.test(code) && !NO_REQUESTS.test(file)) opening.push(file);
  }
  expect(opening.toSorted()).toEqual(Object.keys(MAY).toSorted());
});
