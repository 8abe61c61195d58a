/**
 * `npm run verify-audit`: computes the audit log's chain of every tenant again, prints a line for each, and ends with 1
 * when one of them is not what was written. Keep what it prints: `--known` holds a later state against it.
 */
import { parseArgs } from "node:util";
import { auditedTenants } from "@agent-engine/core/audit/audited-tenants.ts";
import { verifyAuditLog, type KnownEntry } from "@agent-engine/core/audit/verify-audit-log.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { isId, type TenantId } from "@agent-engine/protocol/ids.ts";
import { runOnDatabase } from "./database-command.ts";
import { StartFailure } from "./start-failure.ts";

const USAGE = `Usage: npm run verify-audit [-- options]
  --tenant tenant_…     only this tenant's
  --known <seq>:<hash>  with --tenant: an entry that an earlier check printed and that must still be there`;

interface Wanted {
  tenant: TenantId | null;
  known: KnownEntry | null;
}

/** @throws StartFailure saying which argument is wrong */
function readArguments(): Wanted {
  try {
    const { values } = parseArgs({ options: { tenant: { type: "string" }, known: { type: "string" } } });
    const { tenant = null, known } = values;
    if (tenant !== null && !isId("tenant", tenant)) throw new Error(`--tenant ${tenant} is no tenant's id.`);
    if (known === undefined) return { tenant, known: null };
    const [, seq, hash] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/i.exec(known) ?? [];
    if (tenant === null || seq === undefined || hash === undefined) {
      throw new Error("--known must be <seq>:<hash>, together with --tenant.");
    }
    return { tenant, known: { seq: Number(seq), hash } };
  } catch (error) {
    throw new StartFailure(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

async function verifyAudit(services: Services): Promise<boolean> {
  const { tenant, known } = readArguments();
  let isValid = true;
  const verify = async (tenantId: TenantId) => {
    const ctx = { services, tenantId, actor: { kind: "worker" as const }, correlationId: "verify-audit" };
    const { valid, entries, lastHash, problem } = await verifyAuditLog(ctx, known);
    isValid &&= valid;
    console.log(`${tenantId} ${valid ? "whole " : "BROKEN"} ${entries}:${lastHash} ${problem?.detail ?? ""}`.trimEnd());
  };
  if (tenant === null) for await (const each of auditedTenants(services)) await verify(each);
  else await verify(tenant);
  return isValid;
}

await runOnDatabase(verifyAudit);
