/**
 * `npm run rotate-secrets`: wraps every tenant's data key under the first key of SECRET_KEY, and says when the others
 * can be removed. Workers do so by themselves every minute; this does it now, and tells. See docs/security.md.
 */
import { parseArgs } from "node:util";
import type { Ctx, Services } from "@agent-engine/core/context.ts";
import { masterKeysInUse } from "@agent-engine/core/secrets/check-master-keys.ts";
import { dropUnopenable } from "@agent-engine/core/secrets/drop-unopenable.ts";
import { shortKeyId } from "@agent-engine/core/secrets/master-keys.ts";
import { rewrapDataKeys } from "@agent-engine/core/secrets/rewrap-data-keys.ts";
import { rotateDataKey } from "@agent-engine/core/secrets/rotate-data-key.ts";
import { sealedTenants } from "@agent-engine/core/secrets/sealed-tenants.ts";
import { isId, type TenantId } from "@agent-engine/protocol/ids.ts";
import { runOnDatabase } from "./database-command.ts";
import { StartFailure } from "./start-failure.ts";

const USAGE = `Usage: npm run rotate-secrets [-- options]
  --data-keys             besides, give every tenant a new data key and seal all its secrets anew
  --tenant tenant_…       the same for one tenant
  --drop-unopenable       delete what only a lost master key could open; tenants must enter it again`;

interface Wanted {
  tenants: "all" | TenantId | null;
  dropUnopenable: boolean;
}

/** @throws StartFailure saying which argument is wrong */
function readArguments(): Wanted {
  try {
    const { values } = parseArgs({
      options: {
        "data-keys": { type: "boolean", default: false },
        tenant: { type: "string" },
        "drop-unopenable": { type: "boolean", default: false },
      },
    });
    const { tenant } = values;
    if (tenant !== undefined && !isId("tenant", tenant)) throw new Error(`--tenant ${tenant} is no tenant's id.`);
    return { tenants: tenant ?? (values["data-keys"] ? "all" : null), dropUnopenable: values["drop-unopenable"] };
  } catch (error) {
    throw new StartFailure(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

async function rotateSecrets(services: Services): Promise<boolean> {
  const wanted = readArguments();
  if (wanted.dropUnopenable) console.log(`${await dropUnopenable(services)} secrets deleted that could not be opened.`);
  const { rewrapped, unopenable } = await rewrapDataKeys(services);
  console.log(`${rewrapped} data keys wrapped under the first master key.`);
  if (wanted.tenants !== null) await rotateDataKeys(services, wanted.tenants);
  const inUse = await masterKeysInUse(services);
  for (const { id, dataKeys, isKnown } of inUse) {
    console.log(
      `${dataKeys} data keys lie under master key ${shortKeyId(id)}${isKnown ? "" : ", which SECRET_KEY lacks"}.`,
    );
  }
  if (unopenable > 0 || inUse.some(({ isKnown }) => !isKnown)) {
    console.log("Add the missing key behind the first one (SECRET_KEY=new,old) and run this again.");
    return false;
  }
  console.log(
    "No secret needs another key than the first. Others may go from SECRET_KEY once the tokens they signed have ended: docs/security.md.",
  );
  return true;
}

async function rotateDataKeys(services: Services, which: "all" | TenantId): Promise<void> {
  let tenants = 0;
  let secrets = 0;
  const rotate = async (tenantId: TenantId) => {
    const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "rotate-secrets" };
    secrets += await rotateDataKey(ctx);
    tenants++;
  };
  if (which === "all") for await (const tenantId of sealedTenants(services)) await rotate(tenantId);
  else await rotate(which);
  console.log(`${secrets} secrets of ${tenants} tenants sealed under new data keys.`);
}

await runOnDatabase(rotateSecrets);
