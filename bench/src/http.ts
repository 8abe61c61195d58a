/**
 * HTTP over kept-alive connections with as little client as possible: node's `fetch` costs several times as much CPU,
 * and on a small machine the client's CPU is taken from what is measured.
 */
import { Agent, request, type IncomingMessage } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: Infinity, keepAliveMsecs: 60_000 });

export class HttpError extends Error {
  readonly status: number;
  constructor(url: string, status: number, body: string) {
    super(`${url} answered ${status}: ${body}`);
    this.status = status;
  }
}

/**
 * Sends JSON and resolves with the response once its headers are there. A kept connection that the server closed at
 * the same moment is no failure of the request: it goes out once more, as every HTTP client does.
 */
export function send(url: string, body: unknown, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const attempt = (isLast: boolean): void => {
      const outgoing = request(
        url,
        {
          method: "POST",
          agent,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers },
        },
        resolve,
      );
      outgoing.on("error", (error) => {
        if (outgoing.reusedSocket && !isLast) attempt(true);
        else reject(error);
      });
      outgoing.end(text);
    };
    attempt(false);
  });
}

/** Sends JSON and returns the JSON of a 2xx answer. */
export async function post<T>(url: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
  const response = await send(url, body, headers);
  response.setEncoding("utf8");
  let text = "";
  for await (const part of response) text += String(part);
  const status = response.statusCode ?? 0;
  if (status < 200 || status >= 300) throw new HttpError(url, status, text.slice(0, 500));
  return JSON.parse(text) as T;
}

/** Reads the JSON of a 2xx answer. */
export function get<T>(url: string, headers: Record<string, string> = {}): Promise<T> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => {
        const status = response.statusCode ?? 0;
        if (status < 200 || status >= 300) reject(new HttpError(url, status, text.slice(0, 500)));
        else resolve(JSON.parse(text) as T);
      });
      response.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

export function closeConnections(): void {
  agent.destroy();
}
