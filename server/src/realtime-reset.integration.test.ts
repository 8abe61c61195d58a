/** Visitors whose connection breaks in the middle of opening a socket, which must be nobody's trouble but theirs. */
import { connect } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { REALTIME_PATH } from "@agent-engine/protocol/realtime.ts";
import { startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;

beforeAll(async () => {
  fixture = await startServerFixture();
});
afterAll(() => fixture.stop());

/** Asks for an upgrade from an origin that the server has to look up, and resets the connection so many turns later. */
async function resetAfter(turns: number): Promise<void> {
  const socket = connect(fixture.server.port, "127.0.0.1");
  socket.on("error", () => {});
  const gone = new Promise((resolve) => socket.once("close", resolve));
  const lines = [
    `GET ${REALTIME_PATH}/?EIO=4&transport=websocket HTTP/1.1`,
    "host: localhost",
    `origin: https://visitor-${turns}.example`,
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  for (let left = turns; left > 0; left--) await turn();
  socket.resetAndDestroy();
  await gone;
}

test("a reset at any moment of an upgrade does not reach the process", async () => {
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  process.on("uncaughtException", note);
  try {
    for (let turns = 1; turns <= 40; turns++) await resetAfter(turns);
    const health = await fetch(`${fixture.url}/healthz`);
    expect(health.status).toBe(200);
    expect(uncaught).toEqual([]);
  } finally {
    process.off("uncaughtException", note);
  }
});
