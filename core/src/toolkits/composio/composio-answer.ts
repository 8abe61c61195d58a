/** What a tool's answer means: done, refused, or neither, whatever its status says. */
import type { ToolAnswer, ToolEffect } from "../toolkit.ts";
import { ComposioUnsettled } from "./composio-failure.ts";
import { readable } from "./readable-result.ts";

/** What `POST /tools/execute/{slug}` answers with 200. */
export interface Executed {
  data: unknown;
  error?: unknown;
  successful: unknown;
  log_id?: unknown;
}

/** What services say of a token that is no longer good. */
const DEAD_TOKEN =
  /invalid_grant|invalid_auth\b|token_(revoked|expired)|account_inactive|token (has been |is )?(expired|revoked|invalid)|(expired|revoked) token|invalid credentials/i;
const LATE = /timed? ?out|deadline exceeded|gateway/i;

/**
 * The answer for the model.
 * @throws ComposioUnsettled when the account is no longer good, or when nobody knows whether a write was done
 */
export function answerOf(executed: Executed, effect: ToolEffect): ToolAnswer {
  const requestId = typeof executed.log_id === "string" ? executed.log_id : null;
  const error = errorIn(executed);
  if (error === null) return { content: contentOf(executed.data) };
  const status = statusIn(executed.data);
  if (status === 401 || DEAD_TOKEN.test(error))
    throw new ComposioUnsettled("tool.connection_expired", error, requestId);
  if (effect !== "read") {
    // The service behind Composio did not answer for certain, which Composio passes on as a plain error.
    if (status !== null && status >= 500 && status !== 501) {
      throw new ComposioUnsettled("tool.server_error", error, requestId);
    }
    if (status === null && LATE.test(error)) throw new ComposioUnsettled("tool.timeout", error, requestId);
  }
  return { content: { error: readable(error) }, isError: true };
}

function contentOf(data: unknown): unknown {
  if (!isEmpty(data)) return readable(data);
  return { note: "The tool says that it succeeded, and gave nothing back. Do not assume what the result is." };
}

function isEmpty(data: unknown): boolean {
  if (data === null || data === undefined || data === "") return true;
  return typeof data === "object" && Object.keys(data).length === 0;
}

/** Why it was not done, by whatever says so: `successful`, or the service's own words inside. */
function errorIn({ successful, error, data }: Executed): string | null {
  if (successful !== true)
    return textOf(error) ?? textOf(recordOf(data)?.message) ?? textOf(data) ?? "The tool failed.";
  const inside = recordOf(data);
  if (!inside) return null;
  const said = textOf(inside.error) ?? textOf(inside.errors) ?? textOf(inside.http_error);
  const status = statusIn(data);
  if (inside.ok === false || inside.success === false || inside.successful === false || inside.successfull === false) {
    return said ?? textOf(inside.message) ?? "The service says that it was not done.";
  }
  if (status !== null && status >= 400) return said ?? textOf(inside.message) ?? `The service answered ${status}.`;
  // An error beside results is one of them: the model reads both.
  const others = Object.keys(inside).filter(
    (key) => !/^(errors?|http_error|status|status_code|message|details?)$/.test(key),
  );
  return said !== null && others.length === 0 ? said : null;
}

function statusIn(data: unknown): number | null {
  const inside = recordOf(data);
  for (const value of [inside?.status_code, inside?.http_status, inside?.statusCode]) {
    if (typeof value === "number" && value >= 100 && value < 600) return value;
  }
  return null;
}

function recordOf(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function textOf(value: unknown): string | null {
  if (value === null || value === undefined || value === "" || value === false) return null;
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.length === 0) return null;
  return isEmpty(value) ? null : JSON.stringify(value);
}
