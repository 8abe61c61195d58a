import { expect, it } from "vitest";
import { connectionNotice } from "./connection-notice.ts";

it("speaks only when events do not arrive", () => {
  expect(connectionNotice({ status: "live" }, true)).toBeNull();
  expect(connectionNotice({ status: "connecting", failures: 0 }, true)).toBeNull();
  expect(connectionNotice({ status: "degraded", failures: 3, via: "poll" }, true)).toBeNull();
  expect(connectionNotice({ status: "degraded", failures: 3, via: null }, true)).toBe("Reconnecting…");
  expect(connectionNotice({ status: "reconnecting", failures: 0 }, true)).toBe("Reconnecting…");
  expect(connectionNotice({ status: "live" }, false)).toMatch(/offline/);
});
