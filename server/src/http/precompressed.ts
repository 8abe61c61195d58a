import { readFile, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

type Encoding = "br" | "gzip" | "identity";

interface Loaded {
  modifiedMs: number;
  bodies: Partial<Record<Encoding, Promise<Uint8Array<ArrayBuffer>>>>;
}

const gzipAsync = promisify(gzip);
const brotliAsync = promisify(brotliCompress);

/** Files kept in memory in each encoding a browser asked for, made once and again when a file has changed. */
export interface PrecompressedFiles {
  /** The answer for a file, or null when there is none. */
  respond(path: string, acceptEncoding: string | undefined, headers: Record<string, string>): Promise<Response | null>;
}

export function createPrecompressedFiles(): PrecompressedFiles {
  const loaded = new Map<string, Loaded>();

  async function load(path: string): Promise<Loaded | null> {
    const info = await stat(path).catch(() => null);
    if (!info?.isFile()) return null;
    const known = loaded.get(path);
    if (known?.modifiedMs === info.mtimeMs) return known;
    const fresh: Loaded = { modifiedMs: info.mtimeMs, bodies: {} };
    loaded.set(path, fresh);
    return fresh;
  }

  return {
    async respond(path, acceptEncoding, headers) {
      const file = await load(path);
      if (!file) return null;
      const encoding = choose(acceptEncoding);
      file.bodies[encoding] ??= encode(path, encoding);
      const body = await file.bodies[encoding];
      const etag = `"${file.modifiedMs.toString(36)}-${body.byteLength.toString(36)}-${encoding}"`;
      return new Response(body, {
        headers: {
          ...headers,
          etag,
          vary: "Accept-Encoding",
          ...(encoding === "identity" ? {} : { "content-encoding": encoding }),
        },
      });
    },
  };
}

function choose(acceptEncoding: string | undefined): Encoding {
  const accepted = new Set(
    (acceptEncoding ?? "")
      .split(",")
      .filter((each) => !/;\s*q=0(\.0*)?\s*$/.test(each))
      .map((each) => each.split(";")[0]?.trim()),
  );
  if (accepted.has("br")) return "br";
  return accepted.has("gzip") ? "gzip" : "identity";
}

async function encode(path: string, encoding: Encoding): Promise<Uint8Array<ArrayBuffer>> {
  const raw = await readFile(path);
  switch (encoding) {
    case "br":
      return new Uint8Array(
        await brotliAsync(raw, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length },
        }),
      );
    case "gzip":
      return new Uint8Array(await gzipAsync(raw, { level: 9 }));
    case "identity":
      return new Uint8Array(raw);
  }
}
