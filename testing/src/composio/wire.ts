/** How Composio's API speaks: its pages, its errors, its cursors. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
  total_pages: number;
  current_page: number;
  total_items: number;
}

const MAX_LIMIT = 1_000;

/** One page of a list; a cursor is opaque to callers: the page's number and its size, in base64. */
export function pageOf<Item>(items: readonly Item[], query: URLSearchParams, defaultLimit = 20): Page<Item> {
  const cursor = readCursor(query.get("cursor"));
  const asked = cursor?.limit ?? Number(query.get("limit") ?? defaultLimit);
  const limit = Math.max(1, Math.min(Number.isFinite(asked) ? asked : defaultLimit, MAX_LIMIT));
  const page = cursor?.page ?? 1;
  const pages = Math.ceil(items.length / limit);
  return {
    items: items.slice((page - 1) * limit, page * limit),
    next_cursor: page < pages ? Buffer.from(`${page + 1}-${limit}`).toString("base64") : null,
    total_pages: pages,
    current_page: page,
    total_items: items.length,
  };
}

function readCursor(cursor: string | null): { page: number; limit: number } | null {
  const match = /^(\d+)-(\d+)$/.exec(Buffer.from(cursor ?? "", "base64").toString());
  return match ? { page: Number(match[1]), limit: Number(match[2]) } : null;
}

/** A request that Composio refuses. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: number;
  readonly slug: string;

  constructor(status: number, slug: string, message: string, code = status * 10) {
    super(message);
    this.name = "Refusal";
    this.status = status;
    this.slug = slug;
    this.code = code;
  }
}

let requests = 0;

export function errorBody(status: number, message: string, slug: string, code: number): Record<string, unknown> {
  const request_id = `req_${++requests}`;
  return { error: { message, code, slug, status, request_id, suggested_fix: "Read the message." } };
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(body));
}

export async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** `a,b` or several of the same name, as a list; null when it was not given. */
export function listOf(query: URLSearchParams, name: string): string[] | null {
  const values = query.getAll(name).flatMap((value) => value.split(","));
  return values.length === 0 ? null : values;
}
