import { createServer, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { closeServer, listen } from "./listening.ts";
import { followSse, readSse, RefusedError, type SseMessage } from "./sse-client.ts";

let server: Server | null = null;

afterEach(async () => {
  server?.closeAllConnections();
  if (server) await closeServer(server);
  server = null;
});

async function read(text: string, cutAt: number): Promise<SseMessage[]> {
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes.slice(0, cutAt));
      controller.enqueue(bytes.slice(cutAt));
      controller.close();
    },
  });
  const messages: SseMessage[] = [];
  for await (const message of readSse(new Response(body))) messages.push(message);
  return messages;
}

describe("readSse", () => {
  it("reads ids, events, comments, CRLF and several data lines, wherever the bytes are cut", async () => {
    const text = ": hi\r\nid: 7\r\nevent: note\r\ndata: größer\r\ndata: 😀\r\n\r\ndata:x\n\nid: 8\n\ndata: unfinished";
    for (let cutAt = 0; cutAt <= new TextEncoder().encode(text).length; cutAt++) {
      expect(await read(text, cutAt)).toEqual([
        { id: "7", event: "note", data: "größer\n😀" },
        { id: "7", event: "message", data: "x" },
      ]);
    }
  });
});

describe("followSse", () => {
  it("connects again where it was after the stream breaks", async () => {
    const asked: (string | undefined)[] = [];
    server = createServer((request, response) => {
      asked.push(request.headers["last-event-id"] as string | undefined);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const after = Number(request.headers["last-event-id"] ?? 0);
      response.write(`id: ${after + 1}\ndata: ${after + 1}\n\n`, () => response.destroy());
    });
    const url = `http://127.0.0.1:${await listen(server, 0)}`;
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { data } of followSse(url, { signal: stop.signal, retryMs: 1 })) {
      seen.push(data);
      if (seen.length === 3) stop.abort();
    }
    expect(seen).toEqual(["1", "2", "3"]);
    expect(asked).toEqual([undefined, "1", "2"]);
  });

  it("gives up on a 4xx answer", async () => {
    server = createServer((_request, response) => response.writeHead(404).end("no such thing"));
    const url = `http://127.0.0.1:${await listen(server, 0)}`;
    const following = followSse(url, { signal: new AbortController().signal });
    await expect(following.next()).rejects.toThrow(RefusedError);
  });
});
