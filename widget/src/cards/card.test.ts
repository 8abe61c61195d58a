import { describe, expect, it } from "vitest";
import { kindOf, titleOf } from "./card.ts";
import { formContent, type FormField } from "./form-fields.ts";
import { rowsOf } from "./readable.ts";

describe("which interrupts are cards", () => {
  it.each([
    [{ reason: "approval" as const }, "approval"],
    [{ reason: "connection" as const }, "connection"],
    [{ reason: "client_tool" as const, metadata: { kind: "form" } }, "form"],
    [{ reason: "client_tool" as const, metadata: { kind: "client_tool" } }, null],
    [{ reason: "operator" as const }, null],
  ])("%j: %s", (interrupt, kind) => {
    expect(kindOf({ id: "int_1", ...interrupt })).toBe(kind);
  });
});

describe("what a card is called", () => {
  it.each([
    [{ title: "Gmail", tool: "gmail_send" }, "Gmail"],
    [{ toolkit: "shop", tool: "shop_cancel_order" }, "Cancel order"],
    [{ toolkit: "shop", tool: "shop_cancelOrder" }, "Cancel order"],
    [{ toolkit: "shop", tool: "refund-all" }, "Refund all"],
    [{ toolkit: "shop" }, "Shop"],
    [{}, ""],
  ])("%j: %s", (metadata, title) => {
    expect(titleOf({ id: "int_1", reason: "approval", metadata })).toBe(title);
  });
});

describe("a call's arguments in words", () => {
  it("are rows, with what is nested named after what it is in", () => {
    const given = {
      orderNumber: "A-1",
      notify_customer: false,
      reason: null,
      tags: ["late", "gift"],
      address: { city: "Oslo" },
      items: [{ sku: "x", amount: 2 }],
      none: [],
    };
    expect(rowsOf(given).map(({ name, value }) => `${name}: ${value}`)).toEqual([
      "Order number: A-1",
      "Notify customer: No",
      "Reason: –",
      "Tags: late, gift",
      "Address · City: Oslo",
      "Items · 1 · Sku: x",
      "Items · 1 · Amount: 2",
      "None: –",
    ]);
  });

  it("stay finite, however deep and wide they are", () => {
    let deep: unknown = "end";
    for (let depth = 0; depth < 50; depth++) deep = { in: deep };
    expect(rowsOf(deep)).toHaveLength(1);
    const wide = Object.fromEntries(Array.from({ length: 5_000 }, (_each, index) => [`k${index}`, index]));
    expect(rowsOf(wide)).toHaveLength(100);
  });
});

it("a form sends numbers as numbers, and nothing for what was left empty", () => {
  const field = (name: string, type: FormField["type"]): FormField => ({ name, label: name, type });
  const fields = [field("name", "text"), field("people", "number"), field("note", "long_text")];
  expect(formContent(fields, { name: " Kari ", people: "4", note: "  ", other: "x" })).toEqual({
    name: "Kari",
    people: 4,
  });
});
