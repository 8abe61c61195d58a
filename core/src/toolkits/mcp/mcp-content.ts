/**
 * What a model reads of a call's result: its texts and its structured content. Of pictures, sounds and files it reads that
 * they are there, never their bytes.
 */
import { z } from "zod";
import type { CallResult } from "./mcp-session.ts";

const MAX_FILES = 50;
const MAX_NAME_LENGTH = 500;

const text = z.object({ type: z.literal("text"), text: z.string() });
const media = z.object({ type: z.enum(["image", "audio"]), data: z.string(), mimeType: z.string().optional() });
const link = z.object({
  type: z.literal("resource_link"),
  uri: z.string(),
  name: z.string().optional(),
  mimeType: z.string().optional(),
  size: z.number().optional(),
});
const embedded = z.object({
  type: z.literal("resource"),
  resource: z.object({
    uri: z.string().optional(),
    mimeType: z.string().optional(),
    text: z.string().optional(),
    blob: z.string().optional(),
  }),
});
const block = z.union([text, media, link, embedded]);

interface FileNote {
  kind: "image" | "audio" | "resource";
  name?: string;
  type?: string;
  sizeBytes?: number;
}

/** A text where there is nothing else; otherwise an object that says what is what. At most `maxBytes` as JSON. */
export function contentOf(result: CallResult, maxBytes: number): unknown {
  const texts: string[] = [];
  const files: FileNote[] = [];
  let unread = 0;
  for (const value of result.content) {
    const parsed = block.safeParse(value);
    if (!parsed.success) unread++;
    else if (parsed.data.type === "text") texts.push(parsed.data.text);
    else {
      const read = noteOf(parsed.data);
      if (typeof read === "string") texts.push(read);
      else files.push(read);
    }
  }
  const structured = result.structuredContent;
  // A server repeats its structured content as text, for clients that read nothing else.
  const said = texts.filter((entry) => structured === undefined || !isSameJson(entry, structured)).join("\n\n");
  if (structured === undefined && files.length === 0 && unread === 0) return cutText(said, maxBytes);
  const content = {
    ...(said === "" ? {} : { text: said }),
    ...(structured === undefined ? {} : { structured }),
    ...(files.length === 0 ? {} : { files: files.slice(0, MAX_FILES) }),
    ...(files.length > MAX_FILES ? { moreFiles: files.length - MAX_FILES } : {}),
    ...(unread === 0 ? {} : { unreadParts: unread }),
  };
  const keys = Object.keys(content);
  const whole = keys.length === 1 && keys[0] === "structured" ? structured : content;
  const json = JSON.stringify(whole);
  return Buffer.byteLength(json) <= maxBytes ? whole : cutText(json, maxBytes);
}

function noteOf(value: Exclude<z.output<typeof block>, { type: "text" }>): FileNote | string {
  if (value.type === "resource_link") {
    return note("resource", value.name ?? value.uri, value.mimeType, value.size);
  }
  if (value.type === "resource") {
    const { uri, mimeType, text: words, blob } = value.resource;
    if (words !== undefined) return uri === undefined ? words : `${uri.slice(0, MAX_NAME_LENGTH)}:\n${words}`;
    return note("resource", uri, mimeType, blob === undefined ? undefined : decodedSize(blob));
  }
  return note(value.type, undefined, value.mimeType, decodedSize(value.data));
}

function note(
  kind: FileNote["kind"],
  name: string | undefined,
  type: string | undefined,
  sizeBytes: number | undefined,
): FileNote {
  return {
    kind,
    ...(name === undefined ? {} : { name: name.slice(0, MAX_NAME_LENGTH) }),
    ...(type === undefined ? {} : { type: type.slice(0, 100) }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

function decodedSize(base64: string): number {
  return Buffer.byteLength(base64, "base64");
}

function isSameJson(words: string, structured: unknown): boolean {
  try {
    return JSON.stringify(JSON.parse(words)) === JSON.stringify(structured);
  } catch {
    return false;
  }
}

/** In bytes, never in the middle of a character. */
export function cutText(words: string, maxBytes: number): string {
  if (Buffer.byteLength(words) <= maxBytes) return words;
  const kept = new TextDecoder().decode(Buffer.from(words).subarray(0, maxBytes), { stream: true });
  return `${kept} … [cut]`;
}
