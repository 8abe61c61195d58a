/**
 * The secrets in an installed toolkit's settings. Each is kept under its field, which names the setting and the origin it
 * is sent to; a new value takes the old one's place. So whoever runs on an older revision uses the credential of today.
 */
import type { Ctx } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import type { Tx } from "../../db/transaction.ts";
import { ProblemError } from "../../errors.ts";
import { idOf, uuidOf } from "../../ids.ts";
import { hintOf, isMasked, masked } from "../../secrets/mask.ts";
import { forgetSecrets, keepSecret, openSecret, type SecretRow } from "../../secrets/secrets.ts";
import { isSecretReference } from "../secret-settings.ts";
import type { ToolkitKind } from "../toolkit-kind.ts";
import type { ToolkitId } from "./toolkit-rows.ts";

type Settings = Record<string, unknown>;

const PURPOSE = "toolkit";

const ofToolkit = statement<SecretRow & { field: string }>(
  "secrets_of_toolkit",
  `select s.id, s.field, s.sealed, s.data_key_id, k.wrapped from secrets s join data_keys k on k.id = s.data_key_id
   where s.tenant_id = $1 and s.owner_id = $2 and s.purpose = '${PURPOSE}'`,
);

/** What is kept, opened, by field. @throws MasterKeyMissing, CannotOpen */
export async function openFields(ctx: Ctx, tx: Tx, toolkitId: ToolkitId): Promise<Map<string, string>> {
  const rows = await tx.query(ofToolkit, [uuidOf(ctx.tenantId), uuidOf(toolkitId)]);
  return new Map(
    rows.map((row) => [row.field, openSecret(ctx, row, { purpose: PURPOSE, ownerId: toolkitId, field: row.field })]),
  );
}

/**
 * The settings with each secret in place: of what was sent, a mask stands for the value that is kept for the same field.
 * @throws ProblemError `invalid_request` for a mask that stands for nothing
 */
export function unmasked(kind: ToolkitKind, sent: Settings, kept: ReadonlyMap<string, string>): Settings {
  return kind.mapSecrets(sent, (value, field) => {
    if (typeof value === "string" && !isMasked(value)) return value;
    if (typeof value !== "string" && !isSecretReference(value)) return value;
    const known = kept.get(field);
    if (known !== undefined) return known;
    throw new ProblemError(
      "invalid_request",
      `settings: ${field} is masked, and no such value is kept for it. Send the value itself.`,
    );
  });
}

/** Seals the secrets of settings that are in place, and answers the settings as they are stored. */
export async function sealFields(
  ctx: Ctx,
  tx: Tx,
  kind: ToolkitKind,
  toolkitId: ToolkitId,
  settings: Settings,
): Promise<Settings> {
  const rows = await tx.query(ofToolkit, [uuidOf(ctx.tenantId), uuidOf(toolkitId)]);
  const values = new Map<string, string>();
  kind.mapSecrets(settings, (value, field) => {
    if (typeof value === "string") values.set(field, value);
    return value;
  });
  const ids = new Map<string, string>();
  const stale: typeof rows = [];
  for (const row of rows) {
    const place = { purpose: PURPOSE, ownerId: toolkitId, field: row.field };
    if (values.get(row.field) === openSecret(ctx, row, place)) ids.set(row.field, idOf("secret", row.id));
    else stale.push(row);
  }
  // What only older revisions use stays: their runs still need it.
  const replaced = stale.filter(({ field }) => values.has(field));
  await forgetSecrets(
    tx,
    replaced.map(({ id }) => idOf("secret", id)),
  );
  for (const [field, value] of values) {
    if (ids.has(field)) continue;
    ids.set(field, await keepSecret(ctx, tx, { purpose: PURPOSE, ownerId: toolkitId, field }, value));
  }
  return kind.mapSecrets(settings, (value, field) =>
    typeof value === "string" ? { secret: ids.get(field), hint: hintOf(value) } : value,
  );
}

/** As the API shows them. */
export function maskFields(kind: ToolkitKind, stored: Settings): Settings {
  return kind.mapSecrets(stored, (value) => masked(isSecretReference(value) ? value.hint : ""));
}
