import { describe, expect, test } from "vitest";
import type { CatalogueToolkit } from "@agent-engine/protocol/catalogue.ts";
import { createCatalogue, type Catalogue } from "./catalogue.ts";
import { composioFixture } from "./composio-fixture.ts";

const composio = composioFixture();
const first = { limit: 100, cursor: null };

async function all(catalogue: Catalogue, search?: string): Promise<CatalogueToolkit[]> {
  const items: CatalogueToolkit[] = [];
  let cursor: string | null = null;
  do {
    const page = await catalogue.toolkits({ limit: 100, cursor, search });
    items.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return items;
}

describe("the catalogue", () => {
  test("lists a thousand toolkits in pages, each once, and asks Composio once", async () => {
    const catalogue = createCatalogue(composio.deps());
    const { requests } = composio.server();
    const before = requests.length;
    const items = await all(catalogue);
    expect(new Set(items.map(({ slug }) => slug)).size).toBe(1_000);
    expect(requests.slice(before).filter(({ route }) => route === "toolkits.list")).toHaveLength(1);
    expect(items[0]).toEqual({
      slug: "gmail",
      name: "Gmail",
      description: "Mails of Google.",
      logoUrl: "https://logos.composio.dev/api/gmail",
      categories: ["productivity"],
      toolCount: 6,
      version: "20251103_00",
      authSchemes: ["OAUTH2"],
      isManaged: true,
    });
  });

  test("is searched by words in any order and case", async () => {
    const catalogue = createCatalogue(composio.deps());
    expect((await all(catalogue, "GOOGLE files")).map(({ slug }) => slug)).toEqual(["googledrive"]);
    expect(await all(catalogue, "nothing like it")).toEqual([]);
  });

  test("goes on where it was when what was shown last has gone", async () => {
    const catalogue = createCatalogue(composio.deps());
    const page = await catalogue.toolkits({ limit: 2, cursor: "2.gone-since" });
    expect(page.items.map(({ slug }) => slug)).toEqual(["github", "googledrive"]);
  });

  test("refuses a cursor that it never gave", async () => {
    await expect(createCatalogue(composio.deps()).toolkits({ limit: 2, cursor: "x" })).rejects.toMatchObject({
      code: "invalid_request",
    });
  });

  test("shows the tools of a toolkit, with what they do and which are important", async () => {
    const catalogue = createCatalogue(composio.deps());
    const { items } = await catalogue.tools("gmail", first);
    expect(items.map(({ slug, effect, isImportant }) => [slug, effect, isImportant])).toContainEqual([
      "GMAIL_DELETE_MESSAGE",
      "write",
      false,
    ]);
    expect(items.find(({ slug }) => slug === "GMAIL_SEND_EMAIL")?.isImportant).toBe(true);
    const found = await catalogue.tools("github", { ...first, search: "opens" });
    expect(found.items.map(({ slug }) => slug)).toEqual(["GITHUB_CREATE_AN_ISSUE"]);
    await expect(catalogue.tools("never", first)).rejects.toMatchObject({ code: "not_found" });
  });

  test("is not there without a key, and says when Composio is not well", async () => {
    const without = createCatalogue({ ...composio.deps(), composio: null });
    await expect(without.toolkits(first)).rejects.toMatchObject({ code: "not_found" });
    const catalogue = createCatalogue(composio.deps());
    composio.server().enqueueFaults("toolkits.list", { kind: "error", when: "before", status: 503 });
    await expect(catalogue.toolkits(first)).rejects.toMatchObject({ code: "unavailable" });
    expect((await catalogue.toolkits(first)).items).toHaveLength(100);
  });
});
