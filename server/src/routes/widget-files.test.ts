import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { OpenAPIHono } from "@hono/zod-openapi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { AppEnv } from "../http/request.ts";
import { widgetRoutes } from "./widget-files.ts";

const SOURCE = "export const panel = 1;\n".repeat(100);

describe("widget files", () => {
  const directory = mkdtempSync(join(tmpdir(), "widget-"));
  const app = new OpenAPIHono<AppEnv>();
  const get = (path: string, headers: Record<string, string> = {}) => app.request(path, { headers });

  beforeAll(() => {
    mkdirSync(join(directory, "chunks"));
    writeFileSync(join(directory, "widget.js"), SOURCE);
    writeFileSync(join(directory, "panel-Ab3dEf9_.js"), SOURCE);
    writeFileSync(join(directory, "chunks/panel.css"), "a{}");
    writeFileSync(join(directory, ".secret"), "secret");
    app.onError((error, c) => c.text("", error instanceof ProblemError && error.code === "not_found" ? 404 : 500));
    widgetRoutes(app, directory);
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test("are for every origin, typed, and cached by whether their name has a hash", async () => {
    const script = await get("/widget.js");
    expect(Object.fromEntries(script.headers)).toMatchObject({
      "content-type": "text/javascript; charset=utf-8",
      "access-control-allow-origin": "*",
      "cross-origin-resource-policy": "cross-origin",
      "cache-control": "public, max-age=300, stale-while-revalidate=86400",
      vary: "Accept-Encoding",
    });
    const chunk = await get("/widget/panel-Ab3dEf9_.js");
    expect(chunk.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    const style = await get("/widget/chunks/panel.css");
    expect(style.headers.get("content-type")).toBe("text/css; charset=utf-8");
    expect(style.headers.get("cache-control")).toContain("max-age=300");
  });

  test("come in the encoding the browser takes", async () => {
    const body = async (acceptEncoding: string) => {
      const response = await get("/widget.js", { "accept-encoding": acceptEncoding });
      return { encoding: response.headers.get("content-encoding"), bytes: Buffer.from(await response.arrayBuffer()) };
    };
    const brotli = await body("gzip, deflate, br");
    expect(brotli.encoding).toBe("br");
    expect(brotliDecompressSync(brotli.bytes).toString()).toBe(SOURCE);
    const gzip = await body("gzip, br;q=0");
    expect(gzip.encoding).toBe("gzip");
    expect(gunzipSync(gzip.bytes).toString()).toBe(SOURCE);
    expect(await body("identity")).toEqual({ encoding: null, bytes: Buffer.from(SOURCE) });
  });

  test("are not sent again when the browser has them", async () => {
    const etag = (await get("/widget.js")).headers.get("etag") ?? "";
    const again = await get("/widget.js", { "if-none-match": etag });
    expect([again.status, await again.text()]).toEqual([304, ""]);
    writeFileSync(join(directory, "widget.js"), `${SOURCE}//`);
    expect((await get("/widget.js", { "if-none-match": etag })).status).toBe(200);
  });

  test.each([
    "/widget/missing.js",
    "/widget/",
    "/widget/.secret",
    "/widget/..%2f..%2fpackage.json",
    "/widget/chunks/../../../package.json",
    "/widget/%2e%2e/package.json",
    "/widget/chunks",
    "/widget/panel.exe",
    "/widget/a%00.js",
  ])("%s is not one", async (path) => {
    expect((await get(path)).status).toBe(404);
  });
});
