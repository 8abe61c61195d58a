import { Hono } from "hono";
import { expect, test } from "vitest";
import { clientAddress } from "./client-address.ts";
import type { AppContext } from "./request.ts";

async function seen(hops: number, forwarded: string | undefined): Promise<string> {
  const app = new Hono().get("/", (c) => c.text(String(clientAddress(c as unknown as AppContext, hops))));
  const env = { incoming: { socket: { remoteAddress: "10.0.0.1" } } };
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  return (await app.request("/", { headers }, env)).text();
}

test.each([
  [0, "6.6.6.6", "10.0.0.1"],
  [0, undefined, "10.0.0.1"],
  [1, "203.0.113.7", "203.0.113.7"],
  [1, "6.6.6.6, 203.0.113.7", "203.0.113.7"],
  [2, "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"],
  [2, "203.0.113.7", "10.0.0.1"],
  [1, undefined, "10.0.0.1"],
  [1, " , ", "10.0.0.1"],
])("behind %i proxies, %s is %s", async (hops, forwarded, expected) => {
  expect(await seen(hops, forwarded)).toBe(expected);
});
