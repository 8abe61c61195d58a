/**
 * Composio's SDK, as this platform uses it: its typed client for API v3.1, one request for each call. What the SDK lays
 * over it is left out on purpose: `tools.execute` asks for the tool's schema before each call, `link` is sent up to three
 * times, lists end after a page, and all of them hide what a link's expiry or a refusal's headers say.
 *
 * The SDK is large (some 50 MB), so a process loads it when it first needs it.
 */
import type { Composio } from "@composio/core";
import type { ComposioAccess } from "../toolkit-kind.ts";
import { composioFetch } from "./composio-fetch.ts";

export type ComposioApi = ReturnType<Composio["getClient"]>;

const MAX_KEPT = 8;
const opened = new Map<string, Promise<ComposioApi>>();

/** The client for one key; the same one each time. */
export function openComposio(access: ComposioAccess): Promise<ComposioApi> {
  const key = `${access.baseUrl} ${access.apiKey}`;
  const known = opened.get(key);
  if (known) return known;
  const [oldest] = opened.keys();
  if (opened.size >= MAX_KEPT && oldest !== undefined) opened.delete(oldest);
  const opening = open(access);
  opened.set(key, opening);
  opening.catch(() => opened.delete(key));
  return opening;
}

async function open({ apiKey, baseUrl }: ComposioAccess): Promise<ComposioApi> {
  const sdk = await import("@composio/core");
  // Without the flags it reports to its makers, asks the registry for news and installs handlers of signals.
  const composio = new sdk.Composio({ apiKey, baseURL: baseUrl, allowTracking: false, disableVersionCheck: true });
  return composio.getClient().withOptions({ maxRetries: 0, fetch: composioFetch });
}
