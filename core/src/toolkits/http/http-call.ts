/** One request of a tool and what comes back, for every kind of toolkit that speaks HTTP. Nothing is retried here. */
import type { Egress } from "../../net/egress.ts";
import type { Redactor } from "../../secrets/without-secrets.ts";
import type { ToolAnswer } from "../toolkit.ts";
import { HttpUnsettled, isUnsettled } from "./http-failure.ts";
import type { HttpRequest } from "./http-request.ts";

export interface HttpCallOptions {
  egress: Egress;
  /** Takes the credentials out of what comes back. */
  redactor: Redactor;
  /** A call that may be sent again over a connection that was kept open. */
  isRead: boolean;
  signal: AbortSignal;
  timeoutMs: number;
  /** Most of an answer that is read, in bytes. */
  maxResponseBytes: number;
}

export interface HttpReply {
  status: number;
  headers: Headers;
  /** Without secrets. */
  text: string;
}

export async function sendHttp(request: HttpRequest, options: HttpCallOptions): Promise<HttpReply> {
  const { egress, redactor, isRead } = options;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  const { url, method, headers, body } = request;
  const response = await (isRead ? egress.fetch : egress.fetchOnce)(url, { method, headers, body, signal });
  const { text: said, isCut } = await readText(response, options.maxResponseBytes);
  const text = isCut ? `${redactor.cut(said)} … [cut]` : redactor.whole(said);
  return { status: response.status, headers: response.headers, text };
}

/** @throws HttpUnsettled when the reply is no definite answer */
export function answerOf({ status, headers, text }: HttpReply, redactor: Redactor): ToolAnswer {
  if (isUnsettled(status)) throw new HttpUnsettled(status, Object.fromEntries(headers), text);
  if (status >= 300 && status < 400) {
    return {
      content: { status, error: "The service answered with a redirect, which is not followed." },
      isError: true,
    };
  }
  const content = contentOf(text, headers.get("content-type"), redactor);
  if (status >= 400) return { content: { status, error: content }, isError: true };
  return { content: text === "" ? { status } : content };
}

/** At most so many bytes; the rest is not even read. */
export async function readText(response: Response, maxBytes: number): Promise<{ text: string; isCut: boolean }> {
  if (!response.body) return { text: "", isCut: false };
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const left = maxBytes - bytes;
    if (chunk.byteLength >= left) {
      return { text: text + decoder.decode(chunk.subarray(0, left), { stream: true }), isCut: true };
    }
    bytes += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
  }
  return { text: text + decoder.decode(), isCut: false };
}

/** JSON may spell a secret in ways of its own, so it is looked at once more as JSON is written here. */
function contentOf(text: string, contentType: string | null, redactor: Redactor): unknown {
  if (contentType === null || !/\bjson\b/i.test(contentType)) return text;
  try {
    return JSON.parse(redactor.whole(JSON.stringify(JSON.parse(text)))) as unknown;
  } catch {
    return text;
  }
}
