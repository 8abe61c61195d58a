import { describe, expect, test } from "vitest";
import { composioFixture, unhurried } from "./composio-fixture.ts";
import { composioKind } from "./composio-kind.ts";

const composio = composioFixture();

describe("what is found", () => {
  test("the important tools, in the newest version, each with an effect by its hints", async () => {
    const { tools, problems } = await composio.open();
    expect(problems).toEqual([]);
    expect(tools.map(({ name, remote, effect, details }) => [name, remote, effect, details?.version])).toEqual([
      ["mail_fetch_emails", "GMAIL_FETCH_EMAILS", "read", "20251103_00"],
      ["mail_send_email", "GMAIL_SEND_EMAIL", "write", "20251103_00"],
      ["mail_create_email_draft", "GMAIL_CREATE_EMAIL_DRAFT", "write", "20251103_00"],
    ]);
    expect(tools[0]).toMatchObject({ connection: "tenant", scopes: ["https://www.googleapis.com/auth/gmail.modify"] });
  });

  test("the tools that were chosen, in the version that was pinned; destruction is a write, whatever else it is", async () => {
    const chosen = ["GMAIL_DELETE_MESSAGE", "GMAIL_ADD_LABEL", "GMAIL_GONE"];
    const { tools, problems } = await composio.open({ tools: chosen, version: "20250909_00", connections: "visitor" });
    expect(
      tools.map(({ remote, effect, details, connection }) => [remote, effect, details?.version, connection]),
    ).toEqual([
      ["GMAIL_DELETE_MESSAGE", "write", "20250909_00", "visitor"],
      ["GMAIL_ADD_LABEL", "idempotent", "20250909_00", "visitor"],
    ]);
    expect(problems).toEqual(["GMAIL_GONE: there is no such tool in version 20250909_00"]);
  });

  test("more tools than fit into a page", async () => {
    const chosen =
      composio
        .server()
        .toolkits.get("github")
        ?.tools.map(({ slug }) => slug)
        .slice(0, 200) ?? [];
    const before = composio.server().requests.length;
    const { tools } = await composio.open({ toolkit: "github", tools: chosen });
    expect(tools).toHaveLength(200);
    const all = composio.server().toolkits.get("github")?.tools ?? [];
    for (const tool of all) tool.isImportant = true;
    const { tools: everything } = await composio.open({ toolkit: "github" });
    expect(everything).toHaveLength(252);
    const lists = composio
      .server()
      .requests.slice(before)
      .filter(({ route }) => route === "tools.list");
    expect(lists).toHaveLength(3);
  });

  test("schemas that no model takes are repaired or left out, with a reason", async () => {
    const { tools, problems } = await composio.open({ toolkit: "oddities", authConfigId: "ac_own" });
    expect(tools.map(({ remote }) => remote)).toContain("ODDITIES_GOOD");
    expect(tools.map(({ remote }) => remote)).not.toContain("ODDITIES_TEXT");
    expect(problems.join("\n")).toMatch(/ODDITIES_TEXT: left out: /);
    const twice = tools.find(({ remote }) => remote === "ODDITIES_TWICE");
    expect(twice?.parameters.required).toEqual(["a"]);
    expect(JSON.stringify(tools)).not.toContain('None"');
  });

  test("a tool without an account needs none; one with an account is left out where there are none", async () => {
    const weather = await composio.open({ toolkit: "weathermap", connections: "none" });
    expect(weather.tools.map(({ connection }) => connection)).toEqual(["none"]);
    const mail = await composio.open({ connections: "none" });
    expect(mail.tools).toEqual([]);
    expect(mail.problems[0]).toContain("it acts with an account");
  });

  test("a toolkit whose sign-in Composio does not manage says what is missing", async () => {
    const { problems } = await composio.open({ toolkit: "oddities" });
    expect(problems[0]).toContain("authConfigId");
  });
});

describe("what cannot be found", () => {
  const discover = (settings: object) =>
    composioKind.discover("x", { connections: "tenant", toolkit: "gmail", ...settings }, composio.deps(), unhurried());

  test("a toolkit or version that is not there", async () => {
    await expect(discover({ toolkit: "gmial" })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(discover({ version: "20200101_00" })).rejects.toThrow("The newest is 20251103_00");
  });

  test("a Composio that is not well, or not there at all", async () => {
    composio.server().enqueueFaults("toolkits.get", { kind: "error", when: "before", status: 500 });
    await expect(discover({})).rejects.toMatchObject({ code: "unavailable" });
    composio.server().enqueueFaults("toolkits.get", { kind: "cut", when: "before" });
    await expect(discover({})).rejects.toMatchObject({ code: "unavailable" });
    const settings = { toolkit: "gmail", connections: "tenant" } as const;
    const without = { ...composio.deps(), composio: null };
    await expect(composioKind.discover("x", settings, without, unhurried())).rejects.toThrow("COMPOSIO_API_KEY");
  });

  test("settings that are not right are named", () => {
    const { problems } = composioKind.parse({ toolkit: "Gmail!", connections: "mine", version: "latest", extra: 1 });
    expect(problems?.join("\n")).toMatch(/toolkit: .*\n.*version: |connections: /s);
    expect(problems).toHaveLength(4);
    expect(composioKind.parse({ toolkit: "gmail", connections: "visitor", overrides: {} }).problems).toBeNull();
  });
});
