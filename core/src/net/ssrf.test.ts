import { createServer, type Server } from "node:http";
import type { lookup, LookupAddress } from "node:dns";
import { networkInterfaces } from "node:os";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEgress, EgressRefused, type Egress } from "./egress.ts";
import { corpus, NAMES } from "./ssrf-fixture.ts";

/** Counts whoever gets through, on every address of this machine. */
let canary: Server;
let port: number;
const hits: { url: string; headers: Record<string, unknown> }[] = [];
let redirectTo = "";
let connections = 0;

/** A resolver that answers as it is told. */
function resolver(answer: (name: string) => string[]): typeof lookup {
  const fake = (name: string, _: unknown, callback: (error: Error | null, found: LookupAddress[]) => void) =>
    callback(
      null,
      answer(name).map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  return fake as unknown as typeof lookup;
}

const toLoopback = resolver(() => ["127.0.0.1"]);
let closed: Egress;

beforeAll(async () => {
  canary = createServer((request, response) => {
    hits.push({ url: request.url ?? "", headers: request.headers });
    const status = Number(/^\/redirect\/(\d+)/.exec(request.url ?? "")?.[1] ?? 200);
    response.writeHead(status, status === 200 ? {} : { location: redirectTo });
    response.end("inside");
  });
  canary.on("connection", () => connections++);
  await new Promise<void>((resolve) => canary.listen(0, "::", resolve));
  ({ port } = canary.address() as AddressInfo);
  closed = createEgress({ allowLoopback: false, lookup: toLoopback });
});
afterAll(async () => {
  await closed.close();
  await new Promise((resolve) => canary.close(resolve));
});

/** Why nothing was sent. */
async function refusal(egress: Egress, address: string, init?: RequestInit): Promise<unknown> {
  return egress.fetchOnce(address, init).then(
    (response) => `answered ${response.status}`,
    (error: unknown) => (error instanceof Error && error.cause instanceof EgressRefused ? error.cause : error),
  );
}

const isClosed = (why: unknown) =>
  why instanceof EgressRefused || (why instanceof TypeError && "code" in why && why.code === "ERR_INVALID_URL");

describe("requests to addresses that a tenant chose", () => {
  test("never get inside, however the address is written", async () => {
    const addresses = corpus(port);
    expect(addresses.length).toBeGreaterThanOrEqual(250);
    for (const address of addresses) {
      for (const way of [closed.fetch, closed.fetchOnce]) {
        const why = await refusal({ ...closed, fetchOnce: way }, address);
        expect([address, isClosed(why) || String(why)]).toEqual([address, true]);
      }
    }
    expect([hits.length, connections]).toEqual([0, 0]);
  });

  test("nor to this machine's own addresses on its networks", async () => {
    const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    const inside = own.filter(({ address }) => /^(10|127|169\.254|172|192\.168)\.|^(::1|fe80|f[cd])/.test(address));
    expect(inside.length).toBeGreaterThan(0);
    for (const { address, family } of inside) {
      const host = family === "IPv6" ? `[${address}]` : address;
      const why = await refusal(closed, `http://${host}:${port}/`);
      expect([host, isClosed(why) || String(why)]).toEqual([host, true]);
    }
    expect(connections).toBe(0);
  });

  test("names are judged by every address they have", async () => {
    for (const inside of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1"]) {
      for (const answers of [[inside], ["1.1.1.1", inside], [inside, "1.1.1.1"]]) {
        const egress = createEgress({ allowLoopback: false, lookup: resolver(() => answers) });
        for (const name of NAMES) {
          const why = await refusal(egress, `http://${name}:${port}/`);
          expect([name, answers, isClosed(why) || String(why)]).toEqual([name, answers, true]);
        }
        await egress.close();
      }
    }
    expect(connections).toBe(0);
  });

  test("a name without an address is refused", async () => {
    const egress = createEgress({ allowLoopback: false, lookup: resolver(() => []) });
    expect(await refusal(egress, "http://nowhere.example/")).toBeInstanceOf(Error);
    await egress.close();
  });
});

describe("where this machine is allowed", () => {
  const asked: string[] = [];
  let answers: string[] = [];
  /** Gives the next answer each time, as a server that rebinds its name does. */
  const rebinding = resolver((name) => {
    asked.push(name);
    return [answers.shift() ?? "10.0.0.1"];
  });
  const local = createEgress({ allowLoopback: true, lookup: rebinding });
  afterAll(() => local.close());

  test("a name is looked up once for a connection, and the address that was checked is the one connected to", async () => {
    for (let round = 0; round < 20; round++) {
      answers = ["127.0.0.1", "10.0.0.1"];
      asked.length = 0;
      const before = hits.length;
      const response = await local.fetchOnce(`http://rebound-${round}.example:${port}/first`);
      expect([response.status, await response.text(), asked.length]).toEqual([200, "inside", 1]);
      const why = await refusal(local, `http://rebound-${round}.example:${port}/second`);
      expect(why).toBeInstanceOf(EgressRefused);
      expect([hits.length - before, asked.length]).toEqual([1, 2]);
    }
  });

  test("redirects are handed over and never followed, also when the caller asks for it", async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      for (const target of [
        `http://127.0.0.1:${port}/inside`,
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "//10.0.0.1/",
      ]) {
        for (const redirect of ["follow", "manual", "error"] as const) {
          redirectTo = target;
          const before = hits.length;
          const response = await local.fetchOnce(`http://127.0.0.1:${port}/redirect/${status}`, { redirect });
          expect([response.status, response.headers.get("location")]).toEqual([status, target]);
          await response.text();
          expect(hits.length - before).toBe(1);
        }
      }
    }
  });

  test("line ends smuggle neither headers nor a second request", async () => {
    const before = hits.length;
    const smuggled = "\r\nX-Smuggled: 1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    const at = `http://127.0.0.1:${port}`;
    expect((await local.fetchOnce(`${at}/path${smuggled}`)).status).toBe(200);
    expect((await local.fetchOnce(`${at}/?q=${encodeURIComponent(smuggled)}`)).status).toBe(200);
    for (const init of [
      { headers: { a: `b${smuggled}` } },
      { method: `GET${smuggled}` },
      { headers: { [`a${smuggled}`]: "b" } },
    ]) {
      await expect(local.fetchOnce(at, init)).rejects.toThrow(TypeError);
    }
    const seen = hits.slice(before);
    expect(seen).toHaveLength(2);
    for (const { url, headers } of seen) {
      expect(headers).not.toHaveProperty("x-smuggled");
      expect(url).not.toMatch(/^\/smuggled/);
    }
  });
});
