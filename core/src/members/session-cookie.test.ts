import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasSessionCookie, resignCookies, sessionCookieName, sessionTokenOf, signingSecret } from "./session-cookie.ts";

const [NEW, OLD, OTHER] = ["new".repeat(12), "old".repeat(12), "other".repeat(8)];
const both = { keys: [NEW, OLD] };

function cookie(master: string, token: string, isSecure = false): string {
  const signature = createHmac("sha256", signingSecret(master)).update(token).digest("base64");
  return `${sessionCookieName(isSecure)}=${encodeURIComponent(`${token}.${signature}`)}`;
}

describe("a session's cookie", () => {
  test("is read when any of the master keys signed it, among other cookies", () => {
    for (const master of [NEW, OLD]) {
      expect(sessionTokenOf(both, false, `a=b; ${cookie(master, "token.with.dots")};c=d`)).toBe("token.with.dots");
    }
    expect(sessionTokenOf(both, false, cookie(OTHER, "token"))).toBeNull();
    expect(sessionTokenOf({ keys: [NEW] }, false, cookie(OLD, "token"))).toBeNull();
  });

  test("over https is another one, which a page of plain http cannot set", () => {
    expect(sessionTokenOf(both, true, cookie(NEW, "token", true))).toBe("token");
    expect(sessionTokenOf(both, true, cookie(NEW, "token", false))).toBeNull();
    expect(hasSessionCookie(true, cookie(NEW, "token", false))).toBe(false);
  });

  test("is no other purpose's signature", () => {
    const raw = createHmac("sha256", NEW).update("token").digest("base64");
    expect(sessionTokenOf(both, false, `agent-engine.session_token=${encodeURIComponent(`token.${raw}`)}`)).toBeNull();
  });

  test("is never read from rubbish, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        expect(sessionTokenOf(both, false, value)).toBeNull();
        expect(sessionTokenOf(both, false, `agent-engine.session_token=${value}`)).toBeNull();
        expect(typeof resignCookies(both, `agent-engine.session_token=${value}`)).toBe("string");
      }),
    );
  });
});

test("signing again changes what an older key signed, and nothing else", () => {
  const header = `theme=dark; ${cookie(OLD, "token")}; x=agent-engine.session_token`;
  expect(resignCookies(both, header)).toBe(`theme=dark; ${cookie(NEW, "token")}; x=agent-engine.session_token`);
  for (const untouched of [cookie(NEW, "token"), cookie(OTHER, "token"), "agent-engine.session_token=%E0%A4%A"]) {
    expect(resignCookies(both, untouched)).toBe(untouched);
  }
});
