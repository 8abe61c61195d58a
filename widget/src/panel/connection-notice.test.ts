import { expect, it } from "vitest";
import { connectionNotice } from "./connection-notice.ts";

it("speaks only when events do not arrive", () => {
  expect(connectionNotice({ status: "live" }, true, true)).toBeNull();
  expect(connectionNotice({ status: "degraded", failures: 3, via: "poll" }, true, true)).toBeNull();
  expect(connectionNotice({ status: "degraded", failures: 3, via: null }, true, false)).toBe("Reconnecting…");
  expect(connectionNotice({ status: "reconnecting", failures: 0 }, true, true)).toBe("Reconnecting…");
  expect(connectionNotice({ status: "live" }, false, true)).toMatch(/offline/);
});

it("tells a first connection from a lost one", () => {
  const connecting = { status: "connecting", failures: 0 } as const;
  expect(connectionNotice(connecting, true, false)).toBeNull();
  expect(connectionNotice(connecting, true, true)).toBe("Reconnecting…");
  expect(connectionNotice({ ...connecting, failures: 1 }, true, false)).toBe("Reconnecting…");
});
