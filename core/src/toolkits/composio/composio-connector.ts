/** Accounts at Composio: made by a link, asked about under their owner's name, ended at the provider too. */
import { setTimeout as after } from "node:timers/promises";
import { ProblemError } from "../../errors.ts";
import type { Account, AccountStatus, Connector, KindDeps, OwnerKey } from "../toolkit-kind.ts";
import { openComposio, type ComposioApi } from "./composio-client.ts";
import { refusalOf } from "./composio-failure.ts";
import type { ComposioSettings } from "./composio-settings.ts";
import { accessOf } from "./discover.ts";

type AccountItem = Awaited<ReturnType<ComposioApi["connectedAccounts"]["list"]>>["items"][number];

/** The person is back before Composio has exchanged the codes. */
const SETTLE_TRIES = 5;
const SETTLE_MS = 1_000;

const STATUSES: Record<string, AccountStatus> = { ACTIVE: "active", EXPIRED: "expired", REVOKED: "revoked" };

function statusOf({ status, is_disabled }: AccountItem): AccountStatus {
  return is_disabled ? "failed" : (STATUSES[status] ?? "failed");
}

function idOf(account: Account): string | null {
  const { connectedAccountId } = account;
  return typeof connectedAccountId === "string" && connectedAccountId !== "" ? connectedAccountId : null;
}

/** The account, if it is this owner's and this toolkit's. Reading it by its id alone would not say whose it is. */
async function owned(
  api: ComposioApi,
  settings: ComposioSettings,
  ownerKey: OwnerKey,
  id: string,
  signal: AbortSignal,
): Promise<AccountItem | null> {
  const query = { user_ids: [ownerKey], connected_account_ids: [id], limit: 100 };
  let cursor: string | null | undefined;
  do {
    const page = await api.connectedAccounts.list({ ...query, ...(cursor ? { cursor } : {}) }, { signal });
    const found = page.items.find(
      (item) => item.id === id && item.user_id === ownerKey && item.toolkit.slug === settings.toolkit,
    );
    if (found) return found;
    cursor = page.next_cursor;
  } while (cursor);
  return null;
}

/** The auth config that accounts are connected by: the named one, or Composio's own, made when there is none. */
async function authConfigOf(api: ComposioApi, settings: ComposioSettings, signal: AbortSignal): Promise<string> {
  if (settings.authConfigId !== undefined) return settings.authConfigId;
  const query = { toolkit_slug: settings.toolkit, is_composio_managed: true, limit: 50 };
  const { items } = await api.authConfigs.list(query, { signal });
  const usable = items.find(
    ({ status, toolkit, is_composio_managed }) =>
      status === "ENABLED" && toolkit.slug === settings.toolkit && is_composio_managed === true,
  );
  if (usable) return usable.id;
  const body = { toolkit: { slug: settings.toolkit }, auth_config: { type: "use_composio_managed_auth" as const } };
  const made = await api.authConfigs.create(body, { signal }).catch((error: unknown) => {
    if (refusalOf(error)?.status !== 400) throw error;
    throw new ProblemError(
      "invalid_request",
      `Composio has no managed sign-in for ${settings.toolkit}: make an auth config at Composio and name it in settings.authConfigId.`,
      { cause: error },
    );
  });
  return made.auth_config.id;
}

const open = (deps: KindDeps) => openComposio(accessOf(deps));

export const composioConnector: Connector<ComposioSettings> = {
  async link(settings, deps, { ownerKey, callbackUrl, state }, signal) {
    const api = await open(deps);
    const authConfigId = await authConfigOf(api, settings, signal);
    const back = new URL(callbackUrl);
    back.searchParams.set("state", state);
    const body = { auth_config_id: authConfigId, user_id: ownerKey, callback_url: back.href };
    const link = await api.link.create(body, { signal });
    return {
      url: link.redirect_url,
      expiresAt: link.expires_at,
      account: { connectedAccountId: link.connected_account_id, authConfigId },
    };
  },

  async complete(settings, deps, { ownerKey, account, query }, signal) {
    const id = idOf(account);
    const refused = { status: "failed" as const, account, scopes: [], expiresAt: null, label: null };
    // What the browser brings is signed by nobody: it may only name the account that was begun.
    if (id === null || (query.connected_account_id ?? id) !== id) return refused;
    const api = await open(deps);
    for (let attempt = 1; ; attempt++) {
      const found = await owned(api, settings, ownerKey, id, signal);
      const isUnsettled = found?.status === "INITIATED" || found?.status === "INITIALIZING";
      if (isUnsettled && query.status === "success" && attempt < SETTLE_TRIES) {
        await after(SETTLE_MS, undefined, { signal });
        continue;
      }
      if (!found) return refused;
      const { alias, word_id } = found;
      return {
        status: statusOf(found),
        account,
        scopes: scopesOf(found),
        expiresAt: null,
        label: alias ?? word_id ?? null,
      };
    }
  },

  async check(settings, deps, { ownerKey, account }, signal) {
    const id = idOf(account);
    const found = id === null ? null : await owned(await open(deps), settings, ownerKey, id, signal);
    return { status: found ? statusOf(found) : "revoked" };
  },

  async revoke(settings, deps, { ownerKey, account }, signal) {
    const id = idOf(account);
    if (id === null) return;
    const api = await open(deps);
    if (!(await owned(api, settings, ownerKey, id, signal))) return;
    await api.connectedAccounts.delete(id, { revoke_on_delete: true }, { signal }).catch((error: unknown) => {
      // Gone already.
      if (refusalOf(error)?.status !== 404) throw error;
    });
  },
};

/** What the provider granted, where it says so. Its tokens are looked at by nobody. */
function scopesOf({ state }: AccountItem): string[] {
  const { scope } = (state?.val ?? {}) as { scope?: unknown };
  if (typeof scope === "string") return scope.split(/[\s,]+/).filter((part) => part !== "");
  return Array.isArray(scope) ? scope.filter((part) => typeof part === "string") : [];
}
