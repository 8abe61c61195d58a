import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import { createSlots, type Slots } from "./slots.ts";

function takeAll(slots: Slots, queueClass: QueueClass): (() => void)[] {
  const taken: (() => void)[] = [];
  for (let release = slots.take(queueClass); release; release = slots.take(queueClass)) taken.push(release);
  return taken;
}

describe("a worker's places", () => {
  test("are all chat's while there is no background work, and background never has more than its part", () => {
    const slots = createSlots({ size: 8, background: 2 });
    expect(takeAll(slots, "standard")).toHaveLength(2);
    expect(takeAll(slots, "priority")).toHaveLength(6);
    const alone = createSlots({ size: 8, background: 2 });
    expect(takeAll(alone, "priority")).toHaveLength(8);
    expect(alone.take("standard")).toBeNull();
  });

  test("come free once, whoever says so how often, and whoever waits for room hears of it", () => {
    let heard = 0;
    const slots = createSlots({ size: 2, background: 1, onRoom: () => heard++ });
    const [first] = takeAll(slots, "priority");
    first?.();
    first?.();
    expect([slots.active, slots.free("priority"), heard]).toEqual([1, 1, 1]);
    const roomy = createSlots({ size: 9, background: 4, onRoom: () => heard++ });
    roomy.take("priority")?.();
    expect(heard).toBe(1);
  });

  test("are none once closed; empty when the last run has left", async () => {
    const slots = createSlots({ size: 2, background: 1 });
    const release = slots.take("standard");
    slots.close();
    expect([slots.take("priority"), slots.turns()]).toEqual([null, []]);
    let isEmpty = false;
    const empty = slots.empty().then(() => (isEmpty = true));
    expect(isEmpty).toBe(false);
    release?.();
    await empty;
    await slots.empty();
  });

  test("are asked for by turns: a single one goes to chat, of several each class is sure of its share", () => {
    const turns = (size: number, background: number, chat: number, standard: number) => {
      const slots = createSlots({ size, background });
      for (let i = 0; i < chat; i++) slots.take("priority");
      for (let i = 0; i < standard; i++) slots.take("standard");
      return slots.turns().map(({ queueClass, places }) => [queueClass, places]);
    };
    expect(turns(1, 1, 0, 0)[0]).toEqual(["priority", 1]);
    // Chat has its share: the place that came free is background's to refuse.
    expect(turns(4, 1, 3, 0)).toEqual([
      ["standard", 1],
      ["priority", 1],
    ]);
    expect(turns(4, 1, 2, 1)).toEqual([["priority", 1]]);
    expect(turns(4, 1, 0, 0)).toEqual([
      ["priority", 3],
      ["standard", 1],
      ["priority", 1],
    ]);
    expect(turns(4, 1, 4, 0)).toEqual([]);
    expect(turns(4, 0, 1, 0)).toEqual([["priority", 3]]);
  });
});

test("while both classes have work without end, each holds its share before long, whatever came before", () => {
  fc.assert(
    fc.property(
      fc
        .integer({ min: 2, max: 12 })
        .chain((size) => fc.tuple(fc.constant(size), fc.integer({ min: 1, max: size - 1 }))),
      fc.array(fc.boolean(), { maxLength: 12 }),
      fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
      ([size, background], before, ends) => {
        const slots = createSlots({ size, background });
        let held = before.flatMap((isChat) => slots.take(isChat ? "priority" : "standard") ?? []);
        const fill = () => {
          for (let [turn] = slots.turns(); turn; [turn] = slots.turns()) {
            held.push(slots.take(turn.queueClass) ?? (() => expect.unreachable("a turn has a place")));
          }
        };
        fill();
        // The oldest run ends at least now and then, so that all of them do in the end.
        for (const end of ends) {
          const [ended] = held.splice(end % 2 === 0 ? 0 : end % held.length, 1);
          ended?.();
          expect(slots.activeOf("standard")).toBeLessThanOrEqual(background);
          fill();
          expect(slots.active).toBe(size);
        }
        while (held.length > 0 && slots.activeOf("standard") < background) {
          held.shift()?.();
          fill();
        }
        expect([slots.activeOf("priority"), slots.activeOf("standard")]).toEqual([size - background, background]);
        held = [];
      },
    ),
  );
});
