import { randomUUID } from "node:crypto";
import type { ToolTest } from "@agent-engine/protocol/toolkits.ts";
import { audit } from "../../audit/audit.ts";
import { findConnection } from "../../connections/connection-rows.ts";
import { useConnection } from "../../connections/use-connection.ts";
import type { Ctx } from "../../context.ts";
import { transact } from "../../db/transaction.ts";
import { ProblemError } from "../../errors.ts";
import { argumentCheck } from "../argument-check.ts";
import { adviceOn } from "../failure-table.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import { openInstalled } from "./open-installed.ts";
import { findTool } from "./read-toolkits.ts";

const TEST_MS = 30_000;
/** As much as a model is given. */
const MAX_CONTENT_LENGTH = 32_000;

export interface TestTool {
  toolId: string;
  arguments: Record<string, unknown>;
  connectionId?: string | undefined;
}

/**
 * Calls a tool once, for real, as an agent would with its latest settings: whoever tries a tool that changes something
 * changes it. Retries nothing.
 *
 * @throws ProblemError `not_found`, or `invalid_request` for arguments that do not fit or an account that is missing
 */
export async function testTool(ctx: Ctx, deps: KindDeps, input: TestTool): Promise<ToolTest> {
  const { toolkit, tool } = await findTool(ctx, input.toolId);
  const wrong = argumentCheck(tool.parameters)(input.arguments);
  if (wrong !== null) throw new ProblemError("invalid_request", `arguments: ${wrong}`);
  if (input.connectionId !== undefined) {
    const { connectionId } = input;
    await transact(ctx, (tx) => findConnection(tx, connectionId));
  }
  const opened = await openInstalled(ctx, deps, {
    toolkit: toolkit.id,
    tools: {},
    defaultPolicy: "auto",
    settings: {},
  });
  if ("problem" in opened) throw new ProblemError("invalid_request", `${toolkit.title}: ${opened.problem}.`);
  // A visitor's account is nobody's to try.
  const connection =
    tool.connection === "none"
      ? null
      : await useConnection(ctx, deps, { toolkitId: toolkit.id, visitorId: null, connectionId: input.connectionId });
  if (tool.connection !== "none" && connection === null) {
    throw new ProblemError(
      "invalid_request",
      `${toolkit.title} needs an account of the tenant to be tried with. Connect one at POST /v1/connections/link, or name another one as \`connectionId\`.`,
    );
  }
  await transact(ctx, async (tx) => {
    const target = { kind: "tool", id: tool.id };
    await audit(ctx, tx, { action: "tool.tested", target, after: { name: tool.name, effect: tool.effect } });
  });
  const startedAt = performance.now();
  const took = () => Math.round(performance.now() - startedAt);
  try {
    const signal = AbortSignal.timeout(TEST_MS);
    const answer = await opened.toolkit.execute(tool.name, {
      idempotencyKey: `test-${randomUUID()}`,
      arguments: input.arguments,
      connection,
      signal,
      deadline: ctx.services.clock() + TEST_MS,
      context: {
        tenantId: ctx.tenantId,
        agentId: "",
        conversationId: "",
        runId: "",
        visitorId: null,
        correlationId: ctx.correlationId,
      },
    });
    const { content } = answer;
    const text = typeof content === "string" ? content : JSON.stringify(content ?? answer.sources ?? null);
    return {
      ok: answer.isError !== true,
      content: text.slice(0, MAX_CONTENT_LENGTH),
      failure: null,
      durationMs: took(),
    };
  } catch (error) {
    const { code, detail, requestId } = opened.toolkit.classifyFailure(error);
    const failure = { code, detail, advice: adviceOn("tool", code), requestId };
    return { ok: false, content: null, failure, durationMs: took() };
  } finally {
    void opened.toolkit.close?.();
  }
}
