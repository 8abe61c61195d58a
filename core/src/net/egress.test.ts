import { afterAll, describe, expect, it } from "vitest";
import { startToolServer } from "@agent-engine/testing/tool-server.ts";
import { checkUrl, createEgress, EgressRefused } from "./egress.ts";

const closed = createEgress({ allowLoopback: false });
const local = createEgress({ allowLoopback: true });
afterAll(() => Promise.all([closed.close(), local.close()]));

describe("the way out", () => {
  it.each([
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "http://user:secret@example.com/",
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a00:1]/",
    "http://[::127.0.0.1]/",
    "http://[::a9fe:a9fe]/",
    "http://[::ffff:0:a00:1]/",
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://168.63.129.16/metadata",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://[fd00::1]/",
    "http://[fe80::1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[2002:a00:1::]/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
  ])("is closed to %s", (address) => {
    expect(() => checkUrl(new URL(address), { allowLoopback: false })).toThrow(EgressRefused);
  });

  it.each(["https://example.com/", "http://1.1.1.1/", "http://[2606:4700::1111]/"])("is open to %s", (address) => {
    expect(() => checkUrl(new URL(address), { allowLoopback: false })).not.toThrow();
  });

  it("refuses a name by the address it has, and lets nothing through", async () => {
    const server = await startToolServer();
    try {
      const address = `http://localhost:${server.port}/`;
      await expect(closed.fetch(address)).rejects.toMatchObject({ cause: { code: "EGRESS_REFUSED" } });
      await expect(closed.fetchOnce(address)).rejects.toMatchObject({ cause: { code: "EGRESS_REFUSED" } });
      expect(server.ledger).toEqual([]);
      expect((await local.fetch(address.replace("localhost", "127.0.0.1"))).status).toBe(200);
    } finally {
      await server.stop();
    }
  });

  it("opens loopback alone when it is allowed", () => {
    expect(() => checkUrl(new URL("http://127.0.0.1/"), { allowLoopback: true })).not.toThrow();
    expect(() => checkUrl(new URL("http://10.0.0.1/"), { allowLoopback: true })).toThrow(EgressRefused);
    expect(() => checkUrl(new URL("http://169.254.169.254/"), { allowLoopback: true })).toThrow(EgressRefused);
  });

  it("is closed to ports that HTTP may not use: nothing is sent, and nobody has to guess", async () => {
    await expect(local.fetchOnce("http://127.0.0.1:1/", { method: "POST" })).rejects.toThrow(EgressRefused);
  });
});
