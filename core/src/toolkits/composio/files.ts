/** Files go by signed addresses, not through models: uploads before a call, what it gave back as a name and an address. */
import { createHash } from "node:crypto";
import type { Egress } from "../../net/egress.ts";
import type { ComposioApi } from "./composio-client.ts";

const MAX_UPLOAD_BYTES = 10_000_000;
const MAX_DOWNLOADS = 10;
const MAX_DEPTH = 8;
const LOOK_MS = 5_000;

/** A file that cannot be used, in words for the model. Nothing was done. */
export class BadFile extends Error {
  constructor(message: string) {
    super(message);
    this.name = "BadFile";
  }
}

export interface UploadTarget {
  toolSlug: string;
  toolkitSlug: string;
}

/**
 * Puts a file that a model gave where the tool finds it.
 * @throws BadFile, or what the SDK throws
 */
export async function uploadFile(
  given: unknown,
  target: UploadTarget,
  api: ComposioApi,
  egress: Pick<Egress, "fetch" | "fetchOnce">,
  signal: AbortSignal,
): Promise<{ name: string; mimetype: string; s3key: string }> {
  const { name, mimetype, text, url } = (typeof given === "object" && given !== null ? given : {}) as Record<
    string,
    unknown
  >;
  if (typeof name !== "string" || name === "") throw new BadFile("A file needs a name.");
  const isText = typeof text === "string";
  if (isText === (typeof url === "string")) throw new BadFile(`The file ${name} needs either text or a url.`);
  const read = isText ? { bytes: Buffer.from(text), type: null } : await readUrl(name, String(url), egress, signal);
  if (read.bytes.byteLength > MAX_UPLOAD_BYTES) throw tooLarge(name);
  const type =
    typeof mimetype === "string" && mimetype !== ""
      ? mimetype
      : (read.type ?? (isText ? "text/plain" : "application/octet-stream"));
  const place = await api.files.createPresignedURL(
    {
      filename: name,
      mimetype: type,
      md5: createHash("md5").update(read.bytes).digest("hex"),
      tool_slug: target.toolSlug,
      toolkit_slug: target.toolkitSlug,
    },
    { signal },
  );
  const isAzure = place.metadata?.storage_backend === "azure_blob_storage";
  const put = await egress
    .fetchOnce(place.new_presigned_url, {
      method: "PUT",
      headers: { "content-type": type, ...(isAzure ? { "x-ms-blob-type": "BlockBlob" } : {}) },
      body: new Uint8Array(read.bytes),
      signal,
    })
    .catch((error: unknown) => {
      throw signal.aborted ? error : new BadFile(`The file ${name} could not be stored.`);
    });
  await put.body?.cancel();
  if (!put.ok) throw new BadFile(`The file ${name} could not be stored: the storage answered ${put.status}.`);
  return { name, mimetype: type, s3key: place.key };
}

function tooLarge(name: string): BadFile {
  return new BadFile(`The file ${name} is larger than ${MAX_UPLOAD_BYTES / 1_000_000} MB.`);
}

async function readUrl(
  name: string,
  url: string,
  egress: Pick<Egress, "fetch">,
  signal: AbortSignal,
): Promise<{ bytes: Buffer; type: string | null }> {
  if (!URL.canParse(url)) throw new BadFile(`The address of the file ${name} is not one.`);
  const response = await egress.fetch(url, { signal }).catch((error: unknown) => {
    throw signal.aborted ? error : new BadFile(`The file ${name} could not be read from its address.`);
  });
  if (!response.ok) throw new BadFile(`The file ${name} could not be read: its address answered ${response.status}.`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength;
    if (bytes > MAX_UPLOAD_BYTES) throw tooLarge(name);
    parts.push(part);
  }
  return { bytes: Buffer.concat(parts), type: response.headers.get("content-type") };
}

/**
 * A result with each file in it as its name, type, size in bytes and address. Nothing but its headers is read, and not
 * knowing its size is no failure. Never throws.
 */
export async function withFiles(data: unknown, egress: Pick<Egress, "fetch">): Promise<unknown> {
  const found: Promise<void>[] = [];
  const walk = (value: unknown, depth: number): unknown => {
    if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return value;
    if (Array.isArray(value)) return value.map((entry) => walk(entry, depth + 1));
    const object = value as Record<string, unknown>;
    const url = object.s3url ?? object.s3_url;
    if (typeof url !== "string") {
      return Object.fromEntries(Object.entries(object).map(([key, entry]) => [key, walk(entry, depth + 1)]));
    }
    const file = { name: object.name ?? null, type: object.mimetype ?? null, size: null as number | null, url };
    if (found.length < MAX_DOWNLOADS) found.push(sizeOf(url, egress).then((size) => void (file.size = size)));
    return file;
  };
  const shown = walk(data, 0);
  await Promise.all(found);
  return shown;
}

async function sizeOf(url: string, egress: Pick<Egress, "fetch">): Promise<number | null> {
  try {
    // A signed address is good for GET alone; the body is not read.
    const response = await egress.fetch(url, { signal: AbortSignal.timeout(LOOK_MS) });
    await response.body?.cancel();
    const length = Number(response.headers.get("content-length") ?? Number.NaN);
    return response.ok && Number.isInteger(length) ? length : null;
  } catch {
    return null;
  }
}
