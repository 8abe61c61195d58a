import type { ProviderKeys } from "@agent-engine/core/models/provider-keys.ts";
import type { ModelProviderName } from "@agent-engine/protocol/resources.ts";
import type { ModelProvider } from "../engine/model-provider.ts";

/**
 * A run's model, which uses the tenant's keys as they are at each turn: a key that was deleted is used no more, and one
 * that was replaced is used at once, in the middle of a run too. The provider stays what it was when the run began.
 */
export async function followKeys(
  keysOf: () => Promise<ProviderKeys>,
  open: (keys: ProviderKeys, provider?: ModelProviderName) => ModelProvider,
): Promise<ModelProvider> {
  let keys = await keysOf();
  const first = open(keys);
  let current = first;
  return {
    ...first,
    async stream(options) {
      const now = await keysOf();
      if (now !== keys) {
        keys = now;
        // A name of a provider that is no longer set up fails when it is asked, and says so.
        current = open(keys, first.provider as ModelProviderName);
      }
      return current.stream(options);
    },
    classifyFailure: (error) => current.classifyFailure(error),
  };
}
