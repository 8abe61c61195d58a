import type { Config } from "../config/env.ts";
import type { ComposioAccess } from "./toolkit-kind.ts";

const BASE_URL = "https://backend.composio.dev";

/** The installation's account at Composio; null when it has none. */
export function composioAccess({ composio }: Partial<Pick<Config, "composio">>): ComposioAccess | null {
  if (!composio || composio.apiKey === null) return null;
  return { apiKey: composio.apiKey, baseUrl: composio.baseUrl ?? BASE_URL };
}
