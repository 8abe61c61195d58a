import type { Ctx } from "../context.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { kindOf } from "../toolkits/installed/kinds.ts";
import { openFields, unmasked } from "../toolkits/installed/settings-secrets.ts";
import { findToolkit, type ToolkitRow } from "../toolkits/installed/toolkit-rows.ts";
import type { Connector } from "../toolkits/toolkit-kind.ts";

export interface OpenConnector {
  toolkit: ToolkitRow;
  /** With its secrets in place. */
  settings: unknown;
  connector: Connector;
}

/** How accounts of a toolkit are connected. @throws ProblemError `not_found`, or `invalid_request` where none are */
export async function openConnector(ctx: Ctx, tx: Tx, toolkitId: string): Promise<OpenConnector> {
  const toolkit = await findToolkit(tx, toolkitId);
  const kind = await kindOf(toolkit.kind);
  const { connector } = kind;
  if (!connector) throw new ProblemError("invalid_request", `${toolkit.title} needs no account to be connected.`);
  const parsed = kind.parse(unmasked(kind, toolkit.settings, await openFields(ctx, tx, toolkit.id)));
  if (parsed.problems) throw new ProblemError("invalid_request", `${toolkit.title}: ${parsed.problems.join("; ")}.`);
  return { toolkit, settings: parsed.settings, connector };
}
