/** What Composio offers: about a thousand toolkits and their tools, listed and searched from memory. */
import type { CatalogueTool, CatalogueToolkit } from "@agent-engine/protocol/catalogue.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { ProblemError } from "../../errors.ts";
import type { PageRequest } from "../../db/page.ts";
import type { ComposioAccess, KindDeps } from "../toolkit-kind.ts";
import { openComposio } from "./composio-client.ts";
import { refusalOf } from "./composio-failure.ts";
import { effectOf } from "./effect-of.ts";
import { remember } from "./remembered.ts";

const PAGE = 1_000;
const MAX_PAGES = 10;
const ASK_MS = 20_000;
const MINUTE_MS = 60_000;
const KEPT = { freshMs: 10 * MINUTE_MS, staleMs: 24 * 60 * MINUTE_MS, pauseMs: MINUTE_MS / 2 };
/** Toolkits whose tools are kept. */
const MAX_TOOLKITS = 100;

export interface CatalogueRequest extends PageRequest {
  /** Words that must all be in its name, its slug or its description. */
  search?: string | undefined;
}

export interface Catalogue {
  /** @throws ProblemError `not_found` where there is no Composio, `unavailable` when it does not answer */
  toolkits(request: CatalogueRequest): Promise<Page<CatalogueToolkit>>;
  /** @throws ProblemError the same, and `not_found` for an unknown toolkit */
  tools(toolkit: string, request: CatalogueRequest): Promise<Page<CatalogueTool>>;
}

interface Searchable<Item> {
  item: Item;
  text: string;
}

export function createCatalogue({ composio, now, log }: Pick<KindDeps, "composio" | "now" | "log">): Catalogue {
  const onFailure = (error: unknown) => log.warn({ err: error }, "the catalogue could not be renewed");
  const tools = new Map<string, () => Promise<Searchable<CatalogueTool>[]>>();
  const allToolkits = remember({ ...KEPT, now, onFailure, load: () => readToolkits(present(composio)) });

  function toolsOf(toolkit: string): () => Promise<Searchable<CatalogueTool>[]> {
    const known =
      tools.get(toolkit) ?? remember({ ...KEPT, now, onFailure, load: () => readTools(present(composio), toolkit) });
    // Used last, forgotten last.
    tools.delete(toolkit);
    tools.set(toolkit, known);
    const [oldest] = tools.keys();
    if (tools.size > MAX_TOOLKITS && oldest !== undefined) tools.delete(oldest);
    return known;
  }

  return {
    toolkits: async (request) => pageOf(await asked(allToolkits), request),
    async tools(toolkit, request) {
      // Only what is in the catalogue is asked about, so that nobody fills the memory with names.
      const known = await asked(allToolkits);
      if (!known.some(({ item }) => item.slug === toolkit)) {
        throw new ProblemError("not_found", "There is no such toolkit in the catalogue.");
      }
      return pageOf(await asked(toolsOf(toolkit)), request);
    },
  };
}

function present(composio: ComposioAccess | null): ComposioAccess {
  if (composio) return composio;
  throw new ProblemError("not_found", "This installation has no catalogue: set COMPOSIO_API_KEY to have one.");
}

async function asked<Value>(load: () => Promise<Value>): Promise<Value> {
  try {
    return await load();
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    const status = refusalOf(error)?.status;
    const why = status === 401 || status === 403 ? "It refuses this installation's key." : "Try again in a while.";
    throw new ProblemError("unavailable", `Composio does not answer as it should. ${why}`, { cause: error });
  }
}

/** A cursor is the slug that was shown last, and its place for the case that it has gone since. */
function pageOf<Item extends { slug: string }>(
  all: readonly Searchable<Item>[],
  { search, limit, cursor }: CatalogueRequest,
): Page<Item> {
  const words = (search ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length === 0 ? all : all.filter(({ text }) => words.every((word) => text.includes(word)));
  const from = cursor === null ? 0 : placeAfter(found, cursor);
  const items = found.slice(from, from + limit).map(({ item }) => item);
  const last = items.at(-1);
  const hasMore = from + items.length < found.length;
  return { items, nextCursor: hasMore && last ? `${from + items.length}.${last.slug}` : null };
}

function placeAfter(found: readonly Searchable<{ slug: string }>[], cursor: string): number {
  const [, place, slug] = /^(\d{1,6})\.(.{1,190})$/s.exec(cursor) ?? [];
  if (place === undefined) {
    throw new ProblemError(
      "invalid_request",
      "`cursor` is not one this list gave. Use the `nextCursor` of the page before.",
    );
  }
  const index = found.findIndex(({ item }) => item.slug === slug);
  return index === -1 ? Number(place) : index + 1;
}

function searchable<Item extends { slug: string; name: string; description: string }>(item: Item): Searchable<Item> {
  return { item, text: `${item.slug} ${item.name} ${item.description}`.toLowerCase() };
}

async function readToolkits(access: ComposioAccess): Promise<Searchable<CatalogueToolkit>[]> {
  const api = await openComposio(access);
  const signal = AbortSignal.timeout(ASK_MS);
  return readPages(async (cursor) => {
    const page = await api.toolkits.list({ limit: PAGE, ...(cursor ? { cursor } : {}) }, { signal });
    const items = page.items.map(({ slug, name, meta, no_auth, auth_schemes, composio_managed_auth_schemes }) => ({
      slug,
      name,
      description: (meta.description ?? "").slice(0, 500),
      logoUrl: meta.logo || null,
      categories: (meta.categories ?? []).map((category) => category.name),
      toolCount: meta.tools_count ?? 0,
      version: meta.version ?? null,
      authSchemes: no_auth ? [] : (auth_schemes ?? []),
      isManaged: (composio_managed_auth_schemes ?? []).length > 0,
    }));
    return { items, next: page.next_cursor };
  });
}

async function readTools(access: ComposioAccess, toolkit: string): Promise<Searchable<CatalogueTool>[]> {
  const api = await openComposio(access);
  const signal = AbortSignal.timeout(ASK_MS);
  const pages = (important: boolean) =>
    readPages(async (cursor) => {
      const page = await api.tools.list(
        {
          toolkit_slug: toolkit,
          toolkit_versions: "latest",
          limit: PAGE,
          ...(important ? { important: "true" as const } : {}),
          ...(cursor ? { cursor } : {}),
        },
        { signal },
      );
      const items = page.items
        .filter((tool) => tool.toolkit.slug === toolkit)
        .map((tool) => ({
          slug: tool.slug,
          name: tool.name,
          description: (tool.description ?? "").slice(0, 500),
          effect: effectOf(tool.tags ?? []),
          isImportant: false,
          needsAccount: !tool.no_auth,
        }));
      return { items, next: page.next_cursor };
    });
  const [all, chosen] = await Promise.all([pages(false), pages(true)]);
  const important = new Set(chosen.map(({ item }) => item.slug));
  for (const { item } of all) item.isImportant = important.has(item.slug);
  return all;
}

async function readPages<Item extends { slug: string; name: string; description: string }>(
  read: (cursor: string | null) => Promise<{ items: Item[]; next: string | null | undefined }>,
): Promise<Searchable<Item>[]> {
  const seen = new Map<string, Searchable<Item>>();
  let cursor: string | null = null;
  for (let page = 1; page <= MAX_PAGES; page++) {
    const { items, next } = await read(cursor);
    for (const item of items) seen.set(item.slug, searchable(item));
    if (!next) break;
    cursor = next;
  }
  return [...seen.values()];
}
