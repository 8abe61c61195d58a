/** Executing a tool: whose account it uses, what it answers, and the ledger of what it did. */
import { randomUUID } from "node:crypto";
import type { Accounts, FakeAccount } from "./accounts.ts";
import type { FakeTool, FakeToolkit } from "./catalogue.ts";
import type { ComposioFault } from "./faults.ts";
import { Refusal } from "./wire.ts";

export interface ExecuteBody {
  user_id?: string;
  connected_account_id?: string;
  arguments?: Record<string, unknown>;
  version?: string;
}

/** Every call of a tool that arrived, and what it did to the world. */
export interface ComposioCall {
  slug: string;
  toolkit: string;
  arguments: Record<string, unknown>;
  userId: string | null;
  connectedAccountId: string | null;
  version: string | null;
  /** What the call did: nothing (yet), or `applied`. A tool that reads is applied too. */
  outcome: "none" | "applied";
  fault: ComposioFault | null;
  logId: string;
  /** ISO 8601 UTC. */
  at: string;
}

/**
 * Whose account a call uses. As in life: without an id the user's first active one, whichever that is.
 * @throws Refusal
 */
export function accountFor(tool: FakeTool, body: ExecuteBody, accounts: Accounts): FakeAccount | null {
  if (tool.noAuth) return null;
  const missing = new Refusal(
    404,
    "ActionExecute_ConnectedAccountNotFound",
    `No active connection found for the user ${body.user_id ?? ""} in ${tool.toolkit}`,
    1810,
  );
  const named = body.connected_account_id;
  const account =
    named === undefined
      ? [...accounts.accounts.values()].find(
          ({ userId, toolkit, status }) => userId === body.user_id && toolkit === tool.toolkit && status === "ACTIVE",
        )
      : accounts.accounts.get(named);
  if (!account || account.toolkit !== tool.toolkit) throw missing;
  if (body.user_id !== undefined && account.userId !== body.user_id) throw missing;
  if (account.status === "ACTIVE" && !account.isDisabled) return account;
  const status = account.isDisabled ? "INACTIVE" : account.status;
  throw new Refusal(400, "ActionExecute_ConnectedAccountNotActive", `Connected account is in state ${status}`, 1811);
}

/** @throws Refusal when the version is missing or unknown */
export function checkVersion(toolkit: FakeToolkit, version: string | null | undefined): string {
  if (version === undefined || version === null || version === "latest")
    return toolkit.versions.at(-1) ?? "00000000_00";
  if (toolkit.versions.includes(version)) return version;
  throw new Refusal(404, "Tool_ToolNotFound", `Version ${version} of ${toolkit.slug} not found`, 2401);
}

/** What a tool answers when nobody says otherwise. `fileUrl` is where files of this server are downloaded. */
export function defaultAnswer(call: ComposioCall, fileUrl: string): unknown {
  if (call.slug === "GMAIL_FETCH_EMAILS") {
    return { messages: [{ id: "m1", subject: "Hello", from: "ann@example.com" }], resultSizeEstimate: 1 };
  }
  if (call.slug === "GMAIL_GET_ATTACHMENT" || call.slug === "GOOGLEDRIVE_DOWNLOAD_FILE") {
    return { file: { name: "report.pdf", mimetype: "application/pdf", s3url: fileUrl } };
  }
  return { id: `done_${randomUUID()}`, received: call.arguments };
}

/** The body of a 200: the fault's, where it has one. */
export function executeAnswer(call: ComposioCall, answer: () => unknown): Record<string, unknown> {
  const { fault, logId: log_id } = call;
  switch (fault?.kind) {
    case "unsuccessful":
      return { data: fault.data ?? {}, error: fault.error, successful: false, log_id };
    case "empty":
      return { data: {}, error: null, successful: true, log_id };
    case "data":
      return { data: fault.data, error: null, successful: true, log_id };
    default:
      return { data: answer(), error: null, successful: true, log_id };
  }
}
