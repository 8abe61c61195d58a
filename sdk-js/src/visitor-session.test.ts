import { describe, expect, it } from "vitest";
import { memoryKeyValue, type KeyValue } from "./key-value.ts";
import { createVisitorSession } from "./visitor-session.ts";

interface Sent {
  visitorToken?: string;
  identityToken?: string;
  reset?: boolean;
}

const NOW = Date.UTC(2026, 0, 1);

/** A server that numbers its tokens, and a page in front of it. */
function scene(storage: KeyValue = memoryKeyValue()) {
  const sent: Sent[] = [];
  const answers: ((body: Sent) => Response | Promise<Response>)[] = [];
  let tokens = 0;
  const session = (token = `token-${++tokens}`) => {
    const expiresAt = new Date(NOW + 3_600_000).toISOString();
    return Response.json({ visitorToken: token, expiresAt, site: { id: token } });
  };
  const open = (kept = storage) =>
    createVisitorSession({
      baseUrl: "https://engine.example",
      publishableKey: "pk_x",
      storage: kept,
      now: () => NOW,
      fetch: async (_url, init) => {
        const body = JSON.parse(init.body as string) as Sent;
        sent.push(body);
        return (answers.shift() ?? (() => session()))(body);
      },
    });
  return { page: open(), open, sent, answers, session };
}
const refused = () => Response.json({ code: "unauthenticated", detail: "no" }, { status: 401 });
const body = (more: Sent) => ({ publishableKey: "pk_x", ...more });

describe("a visitor's session", () => {
  it("is opened once for all who ask, kept, and renewed with what was kept", async () => {
    const { page, open, sent } = scene();
    expect(await Promise.all([page.token(), page.token(), page.open().then(() => page.token())])).toEqual([
      "token-1",
      "token-1",
      "token-1",
    ]);
    expect(await open().token()).toBe("token-1");
    expect(await page.renew("token-1")).toBe("token-2");
    expect(sent).toEqual([body({}), body({ visitorToken: "token-1" })]);
  });

  it("lasts on a page whose storage takes nothing", async () => {
    const { open, sent } = scene();
    const page = open({ get: () => null, set: () => {} });
    expect([await page.token(), await page.token()]).toEqual(["token-1", "token-1"]);
    expect(sent).toHaveLength(1);
  });

  it("becomes the person that the page knows, with what was said before", async () => {
    const { page, sent } = scene();
    await page.token();
    await page.open({ identityToken: "signed" });
    expect(sent.at(-1)).toEqual(body({ visitorToken: "token-1", identityToken: "signed" }));
    expect(await page.token()).toBe("token-2");
  });

  it("does the work that a site asks of new visitors, and no more than once", async () => {
    const { page, sent, answers } = scene();
    const challenge = { code: "challenge_required", detail: "work", challenge: "a.b", difficulty: 4 };
    const asked = () => Response.json(challenge, { status: 403 });
    answers.push(asked, asked);
    expect(await page.token()).toBe("token-1");
    const proof = { challenge: "a.b", solution: expect.stringMatching(/^\d+$/) };
    expect(sent).toEqual([body({}), body({}), { ...body({}), proof }]);
    answers.push(asked, asked, asked);
    await expect(page.open({ reset: true })).rejects.toMatchObject({ code: "challenge_required", message: "work" });
    expect(sent).toHaveLength(6);
  });

  it("begins anew where its token is past renewal, and works for that too", async () => {
    const { page, sent, answers } = scene();
    await page.token();
    const challenge = { code: "challenge_required", detail: "work", challenge: "a.b", difficulty: 4 };
    const asked = () => Response.json(challenge, { status: 403 });
    answers.push(refused, asked, asked);
    expect(await page.renew("token-1")).toBe("token-2");
    expect(sent.slice(1)).toEqual([
      body({ visitorToken: "token-1" }),
      body({}),
      body({}),
      { ...body({}), proof: { challenge: "a.b", solution: expect.any(String) } },
    ]);
  });

  it("stays what it was when an identity is refused", async () => {
    const { page, sent, answers } = scene();
    await page.token();
    answers.push(refused);
    await expect(page.open({ identityToken: "old" })).rejects.toMatchObject({ code: "unauthenticated" });
    expect(await page.token()).toBe("token-1");
    expect(sent).toHaveLength(2);
  });

  it("does one thing at a time: who is identified while it opens begins with what it was given", async () => {
    const { page, sent } = scene();
    await Promise.all([page.token(), page.open({ identityToken: "signed" }), page.token()]);
    expect(sent).toEqual([body({}), body({ visitorToken: "token-1", identityToken: "signed" })]);
    expect(await page.token()).toBe("token-2");
  });

  it("waits for an identity that the page is still asking for, where it has nothing yet", async () => {
    const { page, sent } = scene();
    const asked = Promise.withResolvers<{ identityToken: string }>();
    const opening = page.open(asked.promise);
    const token = page.token();
    asked.resolve({ identityToken: "signed" });
    expect([await token, sent]).toEqual(["token-1", [body({ identityToken: "signed" })]]);
    await opening;
    const failing = page.open(Promise.reject(new Error("the page's server is away")));
    await expect(failing).rejects.toThrow("away");
    expect(await page.token()).toBe("token-1");
  });

  it("ends with a reset, also when nobody hears of it", async () => {
    const { page, sent, answers } = scene();
    await page.token();
    await page.open({ reset: true });
    expect(sent.at(-1)).toEqual(body({ visitorToken: "token-1", reset: true }));
    expect(await page.token()).toBe("token-2");
    answers.push(() => Promise.reject(new Error("offline")));
    await expect(page.open({ reset: true })).rejects.toMatchObject({ code: "network" });
    expect(await page.token()).toBe("token-3");
    expect(sent.at(-1)).toEqual(body({}));
  });

  it("is the same in every tab: one takes over what another became, and never writes an older one over it", async () => {
    const { page: one, open, sent, answers, session } = scene();
    const two = open();
    await one.token();
    await one.open({ identityToken: "signed" });
    expect(await two.renew("token-1")).toBe("token-2");
    expect(sent).toHaveLength(2);

    const late = Promise.withResolvers<Response>();
    answers.push(() => late.promise);
    const renewing = two.renew("token-2");
    await one.open({ identityToken: "signed again" });
    late.resolve(session("stale"));
    expect(await renewing).toBe("token-3");
    expect(await one.token()).toBe("token-3");
  });

  it("begins anew when its token is past any renewal", async () => {
    const { page, sent, answers } = scene();
    await page.token();
    answers.push(refused);
    expect(await page.renew("token-1")).toBe("token-2");
    expect(sent.slice(1)).toEqual([body({ visitorToken: "token-1" }), body({})]);
  });
});
