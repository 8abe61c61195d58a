import { accountItem, authConfigItem, type FakeAccount } from "./accounts.ts";
import { callbackOf, consentPage } from "./consent-page.ts";
import type { Held, Route } from "./route.ts";
import { pageOf, Refusal } from "./wire.ts";

interface AuthConfigBody {
  toolkit?: { slug?: string };
  auth_config?: { type?: string; auth_scheme?: string; authScheme?: string };
}

interface LinkBody {
  auth_config_id?: string;
  user_id?: string;
  callback_url?: string;
  alias?: string;
}

function shown(account: FakeAccount, held: Held): Record<string, unknown> {
  return accountItem(account, held.accounts.configs.get(account.authConfigId));
}

function byToken(held: Held, token: string | undefined): FakeAccount {
  const account = [...held.accounts.accounts.values()].find(({ linkToken }) => linkToken === token);
  if (!account) throw new Refusal(404, "Link_NotFound", "This link does not exist");
  if (Date.parse(account.linkExpiresAt) < Date.now()) throw new Refusal(410, "Link_Expired", "This link has expired");
  return account;
}

export const accountRoutes: Route[] = [
  {
    name: "auth_configs.list",
    method: "GET",
    path: "/auth_configs",
    act({ query }, { accounts }) {
      const managed = query.get("is_composio_managed");
      const found = [...accounts.configs.values()].filter(
        ({ toolkit, isManaged, status }) =>
          (query.get("toolkit_slug") ?? toolkit) === toolkit &&
          (managed === null || String(isManaged) === managed) &&
          (status === "ENABLED" || query.get("show_disabled") === "true"),
      );
      const countOf = (id: string) =>
        [...accounts.accounts.values()].filter((known) => known.authConfigId === id).length;
      return {
        status: 200,
        body: pageOf(
          found.map((config) => authConfigItem(config, countOf(config.id))),
          query,
        ),
      };
    },
  },
  {
    name: "auth_configs.create",
    method: "POST",
    path: "/auth_configs",
    act({ body }, held) {
      const { toolkit, auth_config: asked } = (body ?? {}) as AuthConfigBody;
      const known = held.toolkits.get(toolkit?.slug ?? "");
      if (!known) throw new Refusal(404, "Toolkit_ToolkitNotFound", "Toolkit not found", 4301);
      const isManaged = (asked?.type ?? "use_composio_managed_auth") === "use_composio_managed_auth";
      if (isManaged && !known.isManaged) {
        throw new Refusal(400, "AuthConfig_NoManagedAuth", `Composio manages no auth for ${known.slug}`, 301);
      }
      const scheme = asked?.authScheme ?? asked?.auth_scheme ?? known.authScheme;
      const made = held.accounts.addConfig(known.slug, scheme, isManaged);
      const auth_config = { id: made.id, auth_scheme: made.scheme, is_composio_managed: made.isManaged };
      return { status: 201, body: { toolkit: { slug: known.slug }, auth_config } };
    },
  },
  {
    name: "auth_configs.get",
    method: "GET",
    path: "/auth_configs/*",
    act: ({ params }, { accounts }) => ({ status: 200, body: authConfigItem(accounts.config(params[0] ?? ""), 0) }),
  },
  {
    name: "auth_configs.status",
    method: "PATCH",
    path: "/auth_configs/*/*",
    act({ params }, { accounts }) {
      const status = params[1];
      if (status !== "ENABLED" && status !== "DISABLED") throw new Refusal(400, "BadStatus", "No such status");
      accounts.config(params[0] ?? "").status = status;
      return { status: 200, body: { success: true } };
    },
  },
  {
    name: "auth_configs.delete",
    method: "DELETE",
    path: "/auth_configs/*",
    act({ params }, { accounts }) {
      accounts.configs.delete(accounts.config(params[0] ?? "").id);
      return { status: 200, body: { success: true } };
    },
  },
  {
    name: "link.create",
    method: "POST",
    path: "/connected_accounts/link",
    act({ body }, held) {
      const { auth_config_id, user_id, callback_url, alias } = (body ?? {}) as LinkBody;
      const config = held.accounts.config(auth_config_id ?? "");
      if (!user_id) throw new Refusal(400, "Validation_Failed", "user_id is required");
      if (config.status === "DISABLED") throw new Refusal(400, "AuthConfig_Disabled", "The auth config is disabled");
      const account = held.accounts.link({
        config,
        userId: user_id,
        callbackUrl: callback_url ?? null,
        alias: alias ?? null,
      });
      return {
        status: 201,
        body: {
          link_token: account.linkToken,
          redirect_url: `${held.address()}/link/${account.linkToken}`,
          expires_at: account.linkExpiresAt,
          connected_account_id: account.id,
        },
      };
    },
  },
  {
    name: "accounts.list",
    method: "GET",
    path: "/connected_accounts",
    act: ({ query }, held) => ({
      status: 200,
      body: pageOf(
        held.accounts.list(query).map((account) => shown(account, held)),
        query,
      ),
    }),
  },
  {
    name: "accounts.get",
    method: "GET",
    path: "/connected_accounts/*",
    act: ({ params }, held) => ({ status: 200, body: shown(held.accounts.account(params[0] ?? ""), held) }),
  },
  {
    name: "accounts.delete",
    method: "DELETE",
    path: "/connected_accounts/*",
    act({ params, query }, held) {
      const { id } = held.accounts.account(params[0] ?? "");
      held.accounts.accounts.delete(id);
      const revokes = query.get("revoke_on_delete") === "true";
      if (revokes) held.revoked.push(id);
      return { status: 200, body: { success: true, ...(revokes ? { revoke_job_id: `job_${id}` } : {}) } };
    },
  },
  {
    name: "accounts.status",
    method: "PATCH",
    path: "/connected_accounts/*/status",
    act({ params, body }, { accounts }) {
      const { enabled } = (body ?? {}) as { enabled?: boolean };
      accounts.account(params[0] ?? "").isDisabled = enabled === false;
      return { status: 200, body: { success: true } };
    },
  },
  {
    name: "consent.show",
    method: "GET",
    path: "/link/*",
    isOpen: true,
    act({ params, response }, held) {
      const page = consentPage(byToken(held, params[0]));
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(page);
      return null;
    },
  },
  {
    name: "consent.decide",
    method: "POST",
    path: "/link/*",
    isOpen: true,
    act({ params, bytes, response }, held) {
      const account = byToken(held, params[0]);
      const isAllowed = new URLSearchParams(bytes.toString()).get("decision") === "allow";
      held.accounts.set(account, isAllowed ? "ACTIVE" : "FAILED", isAllowed ? null : "The person declined");
      const callback = callbackOf(account);
      if (callback === null) return { status: 200, body: { status: account.status } };
      response.writeHead(302, { location: callback });
      response.end();
      return null;
    },
  },
];
