import { test } from "vitest";
import { assertDelivery } from "./delivery-property.ts";

test("a hundred thousand ways a wire can mangle deliveries all end in the state of the straight fold", () => {
  assertDelivery(100_000);
});
