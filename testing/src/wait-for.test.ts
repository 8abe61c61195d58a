import { expect, it } from "vitest";
import { waitFor } from "./wait-for.ts";

it("returns the first truthy value", async () => {
  let looks = 0;
  expect(await waitFor(() => (++looks === 3 ? "there" : null), { describe: "it", intervalMs: 1 })).toBe("there");
});

it("says what it waited for, and why the last look failed", async () => {
  const waiting = waitFor(() => Promise.reject(new Error("not up")), {
    timeoutMs: 5,
    intervalMs: 1,
    describe: () => "the server",
  });
  await expect(waiting).rejects.toMatchObject({
    message: "gave up after 5 ms waiting for the server",
    cause: { message: "not up" },
  });
});
