export type ProviderKeyProvider = "openai" | "anthropic" | "openai-compatible";

/** A tenant's own key at a model vendor. The key itself is never answered. */
export interface ProviderKey {
  id: string;
  name: string;
  provider: ProviderKeyProvider;
  /** Where the key is sent; only of `openai-compatible`. */
  baseUrl: string | null;
  last4: string;
  createdAt: string;
}
