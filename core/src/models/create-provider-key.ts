import type { ProviderKey, ProviderKeyProvider } from "@agent-engine/protocol/provider-keys.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { keepSecret } from "../secrets/secrets.ts";
import { plainBaseUrl, providerKeyPlace, toProviderKey, type ProviderKeyRow } from "./provider-key.ts";

export interface CreateProviderKey {
  name?: string | undefined;
  provider: ProviderKeyProvider;
  apiKey: string;
  /** Where an `openai-compatible` key is used, and the only place it is sent to. */
  baseUrl?: string | undefined;
}

const insert = statement<ProviderKeyRow>(
  "provider_key_insert",
  `insert into provider_keys (id, tenant_id, name, provider, base_url, last4, created_at)
   values ($1, $2, $3, $4, $5, $6, $7) returning id, name, provider, base_url, last4, created_at`,
);

/** Keeps a tenant's own key at a model vendor. From the next model call on, the newest key of a provider is used. */
export async function createProviderKey(ctx: Ctx, input: CreateProviderKey): Promise<ProviderKey> {
  const { services, tenantId } = ctx;
  const { provider, apiKey } = input;
  const baseUrl = checkedBaseUrl(input);
  checkForm(provider, apiKey);
  const id = services.newId("pkey");
  return transact(ctx, async (tx) => {
    await keepSecret(ctx, tx, providerKeyPlace({ id, provider, baseUrl }), apiKey);
    const createdAt = new Date(services.clock());
    const values = [
      uuidOf(id),
      uuidOf(tenantId),
      input.name ?? provider,
      provider,
      baseUrl,
      apiKey.slice(-4),
      createdAt,
    ];
    const [row] = await tx.query(insert, values);
    if (!row) throw new Error("the provider key was not stored");
    const created = toProviderKey(row);
    await audit(ctx, tx, {
      action: "provider_key.created",
      target: { kind: "provider_key", id },
      after: { ...created },
    });
    tx.afterCommit(() => services.bus.control.publish({ kind: "provider_keys.changed", tenantId }));
    return created;
  });
}

function checkedBaseUrl({ provider, baseUrl }: CreateProviderKey): string | null {
  if (provider !== "openai-compatible") {
    if (baseUrl === undefined) return null;
    throw new ProblemError(
      "invalid_request",
      `\`baseUrl\` is only for \`openai-compatible\`: a key of \`${provider}\` goes to that vendor. Leave it out.`,
    );
  }
  if (baseUrl === undefined) {
    throw new ProblemError(
      "invalid_request",
      "`baseUrl` is required with `openai-compatible`: the key is sent there and nowhere else.",
    );
  }
  const { username, password, search, hash } = new URL(baseUrl);
  if (`${username}${password}${search}${hash}` !== "") {
    throw new ProblemError("invalid_request", "`baseUrl` must be without user, password, query and fragment.");
  }
  return plainBaseUrl(baseUrl);
}

/** Keys that belong elsewhere are the usual mistake; only the vendor knows whether a key is good. */
function checkForm(provider: ProviderKeyProvider, apiKey: string): void {
  if (/^(sk|pk)_/.test(apiKey)) {
    throw new ProblemError(
      "invalid_request",
      "`apiKey` is a key of this platform. Give the one that the model's vendor made.",
    );
  }
  if (provider === "openai" && apiKey.startsWith("sk-ant-")) {
    throw new ProblemError("invalid_request", "`apiKey` is a key of Anthropic. Use `provider: anthropic` for it.");
  }
  if (provider === "anthropic" && /^sk-(?!ant-)/.test(apiKey)) {
    throw new ProblemError("invalid_request", "`apiKey` is a key of OpenAI. Use `provider: openai` for it.");
  }
}
