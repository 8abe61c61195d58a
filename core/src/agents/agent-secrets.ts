/** The credentials in an agent's toolkits: sealed when they are written, masked when they are shown. */
import type { AgentConfig, ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { hintOf, isMasked, masked } from "../secrets/mask.ts";
import { CannotOpen } from "../secrets/sealed.ts";
import { forgetSecrets, keepSecret, readSecrets, type SecretId, type SecretPlace } from "../secrets/secrets.ts";
import {
  isSecretReference,
  mapSecretSettings,
  maskSecretSettings,
  secretSettings,
  type SecretReference,
} from "../toolkits/secret-settings.ts";

/** Where a toolkit's secret belongs: to the agent, for one setting and one address. */
export function toolkitSecretPlace(agentId: string, field: string): SecretPlace {
  return { purpose: "agent_toolkit", ownerId: agentId, field };
}

/** The configuration as it is shown to whoever may read the agent. */
export function maskSecrets(config: AgentConfig): AgentConfig {
  return { ...config, toolkits: config.toolkits.map(maskSecretSettings) };
}

interface Stored extends SecretReference {
  field: string;
  /** The toolkit's namespace: two toolkits may call the same service in different names. */
  toolkit: unknown;
}

function storedIn(toolkits: readonly ToolkitChoice[]): Stored[] {
  return toolkits.flatMap((choice) =>
    secretSettings(choice).flatMap(({ field, value }) =>
      isSecretReference(value) ? [{ ...value, field, toolkit: choice.settings.name }] : [],
    ),
  );
}

/**
 * Seals the secrets in toolkits that were checked, and answers what to store. A masked value stands for the stored one
 * it was made from, as long as it would be sent to the same origin. What did not change keeps its reference, so that a
 * draft which is sent back as it was read is no change.
 */
export async function keepToolkitSecrets(
  ctx: Ctx,
  tx: Tx,
  agentId: string,
  toolkits: readonly ToolkitChoice[],
  current: readonly ToolkitChoice[],
): Promise<ToolkitChoice[]> {
  const stored = storedIn(current);
  const values = await openStored(ctx, tx, agentId, stored);
  const kept: ToolkitChoice[] = [];
  for (const [index, choice] of toolkits.entries()) {
    const own = stored.filter(({ toolkit }) => toolkit === choice.settings.name);
    const references = new Map<string, SecretReference>();
    for (const { field, value } of secretSettings(choice)) {
      const text = String(value);
      const known = [...own, ...stored].filter((each) => each.field === field);
      const same = isMasked(text)
        ? known.find(({ hint }) => masked(hint) === text)
        : known.find(({ secret }) => values.get(secret) === text);
      if (!same && isMasked(text)) throw unknownMask(index, field);
      const reference = same ?? {
        secret: await keepSecret(ctx, tx, toolkitSecretPlace(agentId, field), text),
        hint: hintOf(text),
      };
      references.set(field, { secret: reference.secret, hint: reference.hint });
    }
    kept.push(mapSecretSettings(choice, (_value, field) => references.get(field)));
  }
  return kept;
}

/** What cannot be opened is as good as another value: whoever sends it anew replaces it. */
async function openStored(
  ctx: Ctx,
  tx: Tx,
  agentId: string,
  stored: readonly Stored[],
): Promise<Map<SecretId, string>> {
  try {
    const places = stored.map(({ secret, field }) => ({ id: secret, ...toolkitSecretPlace(agentId, field) }));
    return await readSecrets(ctx, tx, places);
  } catch (error) {
    if (!(error instanceof CannotOpen)) throw error;
    ctx.services.log.error({ err: error, agentId }, "a tool's credential cannot be opened");
    return new Map();
  }
}

function unknownMask(index: number, field: string): ProblemError {
  const [, name = "", origin = ""] = field.split(" ");
  return new ProblemError(
    "invalid_request",
    `toolkits[${index}].settings.headers.${name} is masked, and the draft has no such value for ${origin}. Send the value itself.`,
  );
}

const inNoVersion = statement<{ id: string }>(
  "secrets_in_no_version",
  `select s.id from unnest($2::text[]) s (id)
   where not exists (select 1 from agent_versions v where v.agent_id = $1 and position(s.id in v.config::text) > 0)`,
);

/** Deletes the secrets that a draft no longer uses, unless a published version does. */
export async function forgetUnused(
  tx: Tx,
  agentId: string,
  before: readonly ToolkitChoice[],
  after: readonly ToolkitChoice[],
): Promise<void> {
  const used = new Set(storedIn(after).map(({ secret }) => secret));
  const unused = storedIn(before).flatMap(({ secret }) => (used.has(secret) ? [] : [secret]));
  if (unused.length === 0) return;
  const gone = await tx.query(inNoVersion, [uuidOf(agentId), unused]);
  await forgetSecrets(
    tx,
    gone.map(({ id }) => id as SecretId),
  );
}

/** The credentials of a version, by the id that stands for each. @throws CannotOpen */
export async function openToolkitSecrets(
  ctx: Ctx,
  tx: Tx,
  agentId: string,
  toolkits: readonly ToolkitChoice[],
): Promise<ReadonlyMap<SecretId, string>> {
  const places = storedIn(toolkits).map(({ secret, field }) => ({ id: secret, ...toolkitSecretPlace(agentId, field) }));
  return readSecrets(ctx, tx, places);
}
