import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EVERYTHING_SERVER } from "@agent-engine/testing/mcp-server.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { freePort } from "../../dev/free-port.ts";
import { createEgress } from "../../net/egress.ts";
import type { DiscoveredTool } from "../toolkit-kind.ts";
import type { Toolkit } from "../toolkit.ts";
import { depsOf, requestOf, settingsOf } from "./mcp-fixture.ts";
import { mcpKind } from "./mcp-kind.ts";

describe.each(["streamableHttp", "sse"])("the protocol's own test server over %s", (transport) => {
  const egress = createEgress({ allowLoopback: true });
  let server: RunningProcess;
  let tools: DiscoveredTool[];
  let toolkit: Toolkit;

  beforeAll(async () => {
    const port = await freePort();
    server = startProcess({
      name: "server-everything",
      args: [EVERYTHING_SERVER, transport],
      env: { PORT: String(port) },
    });
    await server.waitForOutput(/on port/);
    const settings = settingsOf({ url: `http://127.0.0.1:${port}/${transport === "sse" ? "sse" : "mcp"}` });
    const found = await mcpKind.discover("all", settings, depsOf(egress), AbortSignal.timeout(20_000));
    tools = found.tools;
    toolkit = mcpKind.open("all", settings, tools, depsOf(egress));
  }, 60_000);

  afterAll(async () => {
    await toolkit?.close?.();
    await egress.close();
    await server?.stop();
  });

  it("shows its tools", () => {
    expect(tools.length).toBeGreaterThan(8);
    expect(tools.map(({ name }) => name)).toEqual(expect.arrayContaining(["all_echo", "all_get-sum"]));
  });

  it("answers with texts, structures and pictures", async () => {
    expect(await toolkit.execute("all_echo", requestOf({ message: "hi" }))).toEqual({ content: "Echo: hi" });
    const sum = await toolkit.execute("all_get-sum", requestOf({ a: 2, b: 3 }));
    expect(sum.content).toContain("5");
    const weather = await toolkit.execute("all_get-structured-content", requestOf({ location: "Chicago" }));
    expect(weather.content).toMatchObject({ temperature: expect.any(Number) });
    const picture = await toolkit.execute("all_get-tiny-image", requestOf({}));
    expect(picture.content).toMatchObject({ files: [{ kind: "image", type: "image/png" }] });
    expect(JSON.stringify(picture.content)).not.toContain("iVBOR");
  });

  it("says how far it is", async () => {
    const heard: string[] = [];
    const request = requestOf({ duration: 0.2, steps: 2 }, { onProgress: (text) => heard.push(text) });
    await toolkit.execute("all_trigger-long-running-operation", request);
    expect(heard).toContain("1/2");
  });

  it("refuses arguments that do not fit, for the model to read", async () => {
    expect(await toolkit.execute("all_get-sum", requestOf({ a: "x" }))).toMatchObject({ isError: true });
  });
});
