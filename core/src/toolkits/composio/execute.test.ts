import { describe, expect, test } from "vitest";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { ComposioFault } from "@agent-engine/testing/composio/faults.ts";
import { freePort } from "../../dev/free-port.ts";
import type { Failure } from "../failure.ts";
import { composioFixture, OWNER, unhurried } from "./composio-fixture.ts";
import { composioKind } from "./composio-kind.ts";

const composio = composioFixture();
const MAIL = { recipient_email: "ann@example.com", body: "Hello" };
const SEND = "GMAIL_SEND_EMAIL";
const READ = "GMAIL_FETCH_EMAILS";

/** What a fault comes to: an answer's `isError`, or a failure. */
async function seen(remote: string, fault: ComposioFault, options: { deadlineMs?: number } = {}): Promise<Failure> {
  const { call, toolkit } = await composio.open();
  composio.server().enqueueFaults("tools.execute", fault);
  return call(remote, remote === SEND ? MAIL : {}, options).then(
    (answer) => {
      throw new Error(`it was answered: ${JSON.stringify(answer)}`);
    },
    (error: unknown) => toolkit.classifyFailure(error),
  );
}

async function answered(remote: string, fault: ComposioFault) {
  const { call } = await composio.open();
  composio.server().enqueueFaults("tools.execute", fault);
  return call(remote, remote === SEND ? MAIL : {});
}

describe("a call", () => {
  test("is one request, with our account and the pinned version", async () => {
    const { call } = await composio.open({ version: "20250909_00" });
    const { requests, ledger } = composio.server();
    const before = requests.length;
    const answer = await call(SEND, MAIL);
    expect(answer).toMatchObject({ content: { received: MAIL } });
    expect(requests.slice(before).map(({ route }) => route)).toEqual(["tools.execute"]);
    expect(ledger.at(-1)).toMatchObject({ userId: OWNER, version: "20250909_00", outcome: "applied" });
  });

  test("takes its account from the connection, never from the arguments", async () => {
    const { call } = await composio.open();
    const others = composio.server().connect({ toolkit: "gmail", userId: "tenant:t2" });
    const args = { ...MAIL, connectedAccountId: others, connected_account_id: others, user_id: "tenant:t2" };
    await call(SEND, args);
    expect(composio.server().ledger.at(-1)).toMatchObject({ userId: OWNER });
    expect(composio.server().ledger.at(-1)?.connectedAccountId).not.toBe(others);
  });

  test("with another owner's account is refused", async () => {
    const { call, toolkit } = await composio.open();
    const accountId = composio.server().connect({ toolkit: "gmail", userId: "tenant:t2" });
    const before = composio.server().effectsOf(SEND);
    const failure = await call(SEND, MAIL, { accountId }).catch((error: unknown) => toolkit.classifyFailure(error));
    expect(failure).toMatchObject({ code: "connection_expired", kind: "needs_person" });
    expect(composio.server().effectsOf(SEND)).toBe(before);
  });

  test("without a connection sends nothing", async () => {
    const { call, toolkit } = await composio.open();
    const before = composio.server().requests.length;
    const failure = await call(SEND, MAIL, { accountId: null }).catch((error: unknown) =>
      toolkit.classifyFailure(error),
    );
    expect(failure).toMatchObject({ code: "not_connected", notSent: true });
    expect(composio.server().requests).toHaveLength(before);
  });

  test("of a tool without an account needs none", async () => {
    const { call } = await composio.open({ toolkit: "weathermap", connections: "none" });
    await call("WEATHERMAP_WEATHER", { location: "Rome" }, { accountId: null });
    expect(composio.server().ledger.at(-1)).toMatchObject({ connectedAccountId: null, userId: "tenant:t1" });
  });

  test("with an account that has expired waits for a person", async () => {
    const { call, toolkit } = await composio.open();
    const accountId = composio.server().connect({ toolkit: "gmail", userId: OWNER, status: "EXPIRED" });
    const failure = await call(READ, {}, { accountId }).catch((error: unknown) => toolkit.classifyFailure(error));
    expect(failure).toMatchObject({ code: "connection_expired", kind: "needs_person" });
  });
});

describe("an answer that is no success, whatever its status", () => {
  test.each([
    ["says that it was not successful", { kind: "unsuccessful", error: "Label not found" }],
    ["holds an error inside", { kind: "data", data: { error: "Label not found" } }],
    ["says that it is not ok, as some services do", { kind: "data", data: { ok: false, error: "Label not found" } }],
    ["holds a status of its own", { kind: "data", data: { status_code: 404, message: "Label not found" } }],
  ] as [string, ComposioFault][])("%s", async (_, fault) => {
    expect(await answered(READ, fault)).toEqual({ content: { error: "Label not found" }, isError: true });
  });

  test("an error beside results is the model's to read", async () => {
    const data = { items: [1], error: "One was left out" };
    expect(await answered(READ, { kind: "data", data })).toEqual({ content: data });
  });

  test("a success without any data says so", async () => {
    const { content, isError } = await answered(SEND, { kind: "empty" });
    expect(isError).toBeUndefined();
    expect(JSON.stringify(content)).toContain("gave nothing back");
  });

  test("a token that the service no longer takes waits for a person", async () => {
    expect(
      await seen(READ, { kind: "unsuccessful", error: "invalid_grant: Token has been expired or revoked." }),
    ).toMatchObject({
      code: "connection_expired",
      kind: "needs_person",
    });
    expect(await seen(READ, { kind: "data", data: { status_code: 401, message: "no" } })).toMatchObject({
      code: "connection_expired",
    });
  });

  test("a write of which the service itself said nothing certain may have been done", async () => {
    const late: ComposioFault = { kind: "unsuccessful", error: "504 Gateway Timeout" };
    expect(await seen(SEND, late)).toMatchObject({ code: "timeout", kind: "unknown_outcome" });
    expect(await answered(READ, late)).toMatchObject({ isError: true });
    const broken: ComposioFault = { kind: "unsuccessful", error: "oops", data: { status_code: 500 } };
    expect(await seen(SEND, broken)).toMatchObject({ code: "server_error", kind: "unknown_outcome" });
  });

  test("arguments that Composio refuses are the model's to correct", async () => {
    const { call } = await composio.open();
    const answer = await call(SEND, { body: "to nobody" });
    expect(answer).toMatchObject({ isError: true, content: { status: 400 } });
    expect(JSON.stringify(answer.content)).toContain("recipient_email");
  });
});

describe("what goes wrong on the way", () => {
  test.each([
    ["408", { kind: "error", when: "after", status: 408 }, "timeout", "unknown_outcome"],
    ["500", { kind: "error", when: "after", status: 500 }, "server_error", "unknown_outcome"],
    ["502", { kind: "error", when: "before", status: 502 }, "server_error", "unknown_outcome"],
    ["503", { kind: "error", when: "before", status: 503 }, "unavailable", "transient"],
    ["413", { kind: "error", when: "after", status: 413 }, "unknown", "unknown_outcome"],
    ["a cut", { kind: "cut", when: "after" }, "connection_lost", "unknown_outcome"],
    ["what is no JSON", { kind: "garbage" }, "unknown", "unknown_outcome"],
  ] as [string, ComposioFault, string, string][])("%s", async (_, fault, code, kind) => {
    const before = composio.server().ledger.length;
    expect(await seen(SEND, fault)).toMatchObject({ code, kind });
    // Nothing is ever sent twice here.
    expect(composio.server().ledger).toHaveLength(before + 1);
  });

  test("410 of a version that has gone is the model's to read", async () => {
    expect(await answered(SEND, { kind: "error", when: "before", status: 410, message: "Gone" })).toMatchObject({
      isError: true,
    });
  });

  test("a limit keeps the time it asks for, also of more than a minute, and is not tried again here", async () => {
    const before = composio.server().ledger.length;
    expect(await seen(SEND, { kind: "rateLimited", retryAfterSeconds: 90 })).toMatchObject({
      code: "rate_limited",
      kind: "transient",
      retryAfterMs: 90_000,
    });
    expect(composio.server().ledger).toHaveLength(before + 1);
  });

  test("a call that hangs is cut when it is aborted, and nobody knows what became of it", async () => {
    const { call, toolkit } = await composio.open();
    const { ledger } = composio.server();
    const before = ledger.length;
    composio.server().enqueueFaults("tools.execute", { kind: "hang", when: "after" });
    const abort = new AbortController();
    const calling = call(SEND, MAIL, { signal: abort.signal }).catch((error: unknown) =>
      toolkit.classifyFailure(error),
    );
    await waitFor(() => ledger.length > before, { describe: "the call to arrive" });
    abort.abort();
    expect(await calling).toMatchObject({ code: "timeout", kind: "unknown_outcome" });
  });

  test("a call that hangs is cut at its deadline, whoever aborts it", async () => {
    expect(await seen(SEND, { kind: "hang", when: "after" }, { deadlineMs: 1 })).toMatchObject({ code: "timeout" });
  });

  test("where nothing listens nothing was sent", async () => {
    const { tools } = await composio.open();
    const away = { apiKey: "ak", baseUrl: `http://127.0.0.1:${await freePort()}` };
    const toolkit = composioKind.open("mail", { toolkit: "gmail", connections: "tenant" }, tools, {
      ...composio.deps(),
      composio: away,
    });
    const credential = { account: { connectedAccountId: "ca_1" }, secret: null, ownerKey: OWNER };
    const failure = await toolkit
      .execute("mail_send_email", {
        idempotencyKey: "k",
        arguments: MAIL,
        connection: { id: "conn_1", credential },
        signal: unhurried(),
        deadline: Date.now() + 20_000,
        context: { tenantId: "t1", agentId: "a", conversationId: "c", runId: "r", visitorId: null, correlationId: "x" },
      })
      .catch((error: unknown) => toolkit.classifyFailure(error));
    expect(failure).toMatchObject({ code: "connection_failed", notSent: true });
  });

  test("a key that Composio refuses is told to the log and never shown", async () => {
    const { tools } = await composio.open();
    const composioAccess = { apiKey: "ak_wrong_and_secret", baseUrl: composio.server().url };
    const deps = { ...composio.deps(), composio: composioAccess };
    const toolkit = composioKind.open("mail", { toolkit: "gmail", connections: "tenant" }, tools, deps);
    const credential = { account: { connectedAccountId: "ca_1" }, secret: null, ownerKey: OWNER };
    const answer = await toolkit.execute("mail_send_email", {
      idempotencyKey: "k",
      arguments: MAIL,
      connection: { id: "conn_1", credential },
      signal: unhurried(),
      deadline: Date.now() + 20_000,
      context: { tenantId: "t1", agentId: "a", conversationId: "c", runId: "r", visitorId: null, correlationId: "x" },
    });
    expect(answer.isError).toBe(true);
    expect(JSON.stringify(answer)).not.toContain("ak_wrong_and_secret");
    expect(composio.logged).toContainEqual({ status: 401, toolkitSlug: "gmail" });
  });
});

describe("the size of an answer", () => {
  test("more than is read: an error for a read, an open question for a write", async () => {
    const data = { text: "word ".repeat(1_000_000) };
    expect(await answered(READ, { kind: "data", data })).toMatchObject({ isError: true });
    expect(await seen(SEND, { kind: "data", data })).toMatchObject({ kind: "unknown_outcome" });
  });

  test("413 for a read asks for less", async () => {
    const answer = await answered(READ, { kind: "error", when: "after", status: 413 });
    expect(JSON.stringify(answer.content)).toContain("Ask for less");
  });

  test("much is cut in its texts and lists, so that the model still reads its shape", async () => {
    const mails = Array.from({ length: 2_000 }, (_, index) => ({ id: `m${index}`, body: "long words ".repeat(100) }));
    const { content } = await answered(READ, {
      kind: "data",
      data: { mails, total: 2_000, scan: "QUJD".repeat(2_000) },
    });
    const text = JSON.stringify(content);
    expect(text.length).toBeLessThanOrEqual(30_000);
    expect(text).toContain('"id":"m0"');
    expect(text).toContain("more left out");
    expect(text).toContain("8000 characters of binary data left out");
    expect(content).toMatchObject({ total: 2_000 });
  });
});

describe("files", () => {
  const upload = "GOOGLEDRIVE_UPLOAD_FILE";

  test("a file in a result is its name, type, size and address", async () => {
    const { call } = await composio.open({ toolkit: "googledrive" });
    const { content } = await call("GOOGLEDRIVE_DOWNLOAD_FILE", { file_id: "f" });
    const url = `${composio.server().url}/s3/report.pdf`;
    expect(content).toEqual({ file: { name: "report.pdf", type: "application/pdf", size: 23, url } });
  });

  test("a text that the model wrote is stored, and the tool told where", async () => {
    const { call, tools } = await composio.open({ toolkit: "googledrive" });
    const parameters = tools.find(({ remote }) => remote === upload)?.parameters;
    expect(JSON.stringify(parameters)).toContain("public address");
    await call(upload, { file_to_upload: { name: "notes.txt", text: "what was said" } });
    const given = composio.server().ledger.at(-1)?.arguments.file_to_upload as { s3key: string };
    expect(given).toMatchObject({ name: "notes.txt", mimetype: "text/plain" });
    expect(composio.server().files.get(given.s3key)?.bytes.toString()).toBe("what was said");
  });

  test("a file at an address is fetched, but never from a private one", async () => {
    const { call } = await composio.open({ toolkit: "googledrive" });
    await call(upload, { file_to_upload: { name: "r.pdf", url: `${composio.server().url}/s3/report.pdf` } });
    const given = composio.server().ledger.at(-1)?.arguments.file_to_upload as { s3key: string; mimetype: string };
    expect(given.mimetype).toBe("application/pdf");
    expect(composio.server().files.get(given.s3key)?.bytes.toString()).toContain("%PDF");
    const before = composio.server().ledger.length;
    const refused = await call(upload, { file_to_upload: { name: "r", url: "http://169.254.169.254/latest" } });
    expect(refused).toMatchObject({ isError: true });
    expect(composio.server().ledger).toHaveLength(before);
  });

  test("a file that nobody can reach any more does not undo what was done", async () => {
    const file = { name: "a.pdf", mimetype: "application/pdf", s3url: "http://10.0.0.1/secret" };
    const { content } = await answered(SEND, { kind: "data", data: { attachment: file } });
    expect(content).toEqual({ attachment: { name: "a.pdf", type: "application/pdf", size: null, url: file.s3url } });
  });
});
