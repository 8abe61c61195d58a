import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, type Rolldown } from "vite";
import { expect, it } from "vitest";

/** gzip -9 of what a page loads for the entry, its lazy chunks apart. */
async function gzipBytes(entry: string, external: RegExp[] = []): Promise<number> {
  const [built] = (await build({
    configFile: false,
    logLevel: "silent",
    root: fileURLToPath(new URL(".", import.meta.url)),
    build: {
      write: false,
      lib: { entry, formats: ["es"] },
      // Vite leaves the whitespace in ES libraries.
      rolldownOptions: { external, output: { minify: true } },
    },
  })) as [Rolldown.RolldownOutput];
  const [first] = built.output;
  return gzipSync(first.code, { level: 9 }).length;
}

it("keeps the conversation client within 3 kB, and within 4.5 kB with the protocol's fold", async () => {
  expect(await gzipBytes("conversation-client.ts", [/protocol\/(deliver|state)/])).toBeLessThanOrEqual(3_072);
  expect(await gzipBytes("conversation-client.ts")).toBeLessThanOrEqual(4_608);
});

it("keeps the socket client within 0.7 kB", async () => {
  expect(await gzipBytes("websocket-io.ts")).toBeLessThanOrEqual(717);
});
