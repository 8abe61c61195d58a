import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startFaultProxy, type FaultProxy } from "./fault-proxy.ts";
import { closeServer, listen } from "./listening.ts";
import { waitFor } from "./wait-for.ts";

/** One client socket and what it saw. */
interface Client {
  socket: Socket;
  received: string;
  ended: boolean;
  error: string | null;
  closed: boolean;
}

let echo: Server;
let echoSockets: Set<Socket>;
let proxy: FaultProxy;
const clients: Client[] = [];

beforeEach(async () => {
  echoSockets = new Set();
  echo = createServer((socket) => {
    echoSockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => echoSockets.delete(socket));
    socket.on("data", (bytes) => socket.write(bytes));
  });
  proxy = await startFaultProxy({ target: { port: await listen(echo, 0) } });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await proxy.stop();
  for (const socket of echoSockets) socket.destroy();
  await closeServer(echo);
});

function open(): Client {
  const socket = connect(proxy.port, "127.0.0.1");
  const client: Client = { socket, received: "", ended: false, error: null, closed: false };
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => (client.received += text));
  socket.on("end", () => (client.ended = true));
  socket.on("error", (error: NodeJS.ErrnoException) => (client.error = error.code ?? error.message));
  socket.on("close", () => (client.closed = true));
  clients.push(client);
  return client;
}

async function openEchoing(): Promise<Client> {
  const client = open();
  client.socket.write("hello");
  await waitFor(() => client.received === "hello", { describe: "the echo" });
  client.received = "";
  return client;
}

const echoed = (client: Client, text: string) =>
  waitFor(() => client.received === text, {
    describe: () => `${text.length} characters, got ${client.received.length}`,
  });

/** Long enough for an echo to have arrived if it could; only ever proves that something did not happen. */
const aMoment = () => new Promise((resolve) => setTimeout(resolve, 60));

describe("pass", () => {
  it("carries large transfers both ways and ends with them", async () => {
    const client = open();
    const text = "0123456789".repeat(200_000);
    client.socket.write(text);
    await echoed(client, text);
    for (const socket of echoSockets) socket.end();
    await waitFor(() => client.ended, { describe: "the end" });
    client.socket.end();
    await waitFor(() => proxy.connections() === 0, { describe: "no connections" });
  });
});

describe("refuse", () => {
  it("refuses new connections and leaves open ones alone", async () => {
    const before = await openEchoing();
    await proxy.setMode({ kind: "refuse" });
    const after = open();
    await waitFor(() => after.error, { describe: "an error" });
    expect(after.error).toBe("ECONNREFUSED");
    before.socket.write("still here");
    await echoed(before, "still here");
    await proxy.setMode({ kind: "pass" });
    await openEchoing();
  });
});

describe("cut", () => {
  it("resets open connections on both sides", async () => {
    const client = await openEchoing();
    expect(proxy.cut()).toBe(1);
    await waitFor(() => client.closed, { describe: "the reset" });
    expect(client.error).toBe("ECONNRESET");
    await waitFor(() => echoSockets.size === 0, { describe: "the server's side to close" });
    expect(proxy.connections()).toBe(0);
  });
});

describe("blackhole", () => {
  it("delivers nothing and closes nothing; what was held arrives afterwards, new connections too", async () => {
    const client = await openEchoing();
    await proxy.setMode({ kind: "blackhole" });
    client.socket.write("into the void");
    const late = open();
    late.socket.write("anyone?");
    await aMoment();
    expect([client.received, client.closed, late.received, late.error]).toEqual(["", false, "", null]);
    await proxy.setMode({ kind: "pass" });
    await echoed(client, "into the void");
    await echoed(late, "anyone?");
  });

  it("the peer of a client that left meanwhile learns of it afterwards", async () => {
    const client = await openEchoing();
    await proxy.setMode({ kind: "blackhole" });
    client.socket.resetAndDestroy();
    await aMoment();
    expect(echoSockets.size).toBe(1);
    await proxy.setMode({ kind: "pass" });
    await waitFor(() => echoSockets.size === 0, { describe: "the server's side to close" });
  });
});

describe("half-open", () => {
  it("the server's side is gone, the client's stays silent for good", async () => {
    const client = await openEchoing();
    await proxy.setMode({ kind: "half-open" });
    await waitFor(() => echoSockets.size === 0, { describe: "the server's side to close" });
    client.socket.write("hello?");
    await proxy.setMode({ kind: "pass" });
    await aMoment();
    expect([client.received, client.ended, client.closed]).toEqual(["", false, false]);
    await openEchoing();
    client.socket.destroy();
    await waitFor(() => proxy.connections() === 1, { describe: "only the new connection" });
  });
});

describe("latency and throttle", () => {
  it("delays each direction", async () => {
    const client = await openEchoing();
    await proxy.setMode({ kind: "latency", delayMs: 40 });
    const startedMs = performance.now();
    client.socket.write("slow");
    await echoed(client, "slow");
    expect(performance.now() - startedMs).toBeGreaterThan(78);
  });

  it("limits the rate towards the client and loses nothing", async () => {
    const client = await openEchoing();
    await proxy.setMode({ kind: "throttle", bytesPerSecond: 20_000 });
    const startedMs = performance.now();
    const text = "x".repeat(5_000);
    client.socket.write(text);
    await echoed(client, text);
    expect(performance.now() - startedMs).toBeGreaterThan(200);
    client.received = "";
    const rest = "y".repeat(100_000);
    client.socket.write(rest);
    await aMoment();
    expect(client.received.length).toBeLessThan(rest.length);
    await proxy.setMode({ kind: "pass" });
    await echoed(client, rest);
  });
});
