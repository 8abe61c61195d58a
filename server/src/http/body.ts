import { ProblemError } from "@agent-engine/core/errors.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";

/** Largest request body, in bytes. */
export const MAX_BODY_BYTES = 1_000_000;

/** Deepest nesting of a JSON body: what reads it later may recurse. */
const MAX_DEPTH = 64;

/** Escapes that may stand for what Postgres cannot store: NUL, and surrogates without their half. */
const UNSTORABLE = /\\u(0000|d[89a-f])/i;

/** Reads a JSON body. No body at all is an empty object, so that what is missing is named field by field. */
export async function readJson(request: Request): Promise<unknown> {
  const text = await readText(request);
  if (text.trim() === "") return {};
  const type = request.headers.get("content-type");
  if (type !== null && !/^(application\/([\w.+-]+\+)?json|text\/plain)\b/i.test(type)) {
    throw new ProblemError("invalid_request", "The body must be JSON. Send it with `content-type: application/json`.");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProblemError(
      "invalid_request",
      "The body is not valid JSON. Check its quotes, commas and encoding (UTF-8).",
    );
  }
  if (isDeeperThan(value, MAX_DEPTH)) {
    throw new ProblemError("invalid_request", `The body is nested more than ${MAX_DEPTH} levels deep.`);
  }
  return UNSTORABLE.test(text) ? clean(value) : value;
}

/** The body as text; throws `too_large` before more than the limit is held. */
export async function readText(request: Request): Promise<string> {
  try {
    return await read(request);
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    // The client went away or was too slow. Its connection's error must not pass for one of the database's.
    throw new ProblemError("invalid_request", "The body ended before it was whole. Send the request again.", {
      cause: error,
    });
  }
}

async function read(request: Request): Promise<string> {
  const declared = request.headers.get("content-length");
  if (declared !== null) {
    // Node's parser holds a body to its declared length.
    if (Number(declared) > MAX_BODY_BYTES) throw tooLarge();
    return request.text();
  }
  if (!request.body) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function tooLarge(): ProblemError {
  return new ProblemError("too_large", `A request body may hold at most ${MAX_BODY_BYTES.toLocaleString("en")} bytes.`);
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((each) => isDeeperThan(each, levels - 1));
}

function clean(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value);
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [cleanText(key), clean(each)]));
}
