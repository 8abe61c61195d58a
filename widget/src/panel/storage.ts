import { memoryKeyValue, type KeyValue } from "@agent-engine/sdk/key-value.ts";

/** localStorage under a site's own names; memory where the browser forbids storage (then a reload forgets). */
export function siteStorage(siteKey: string): KeyValue & { isKept: boolean } {
  const name = (key: string) => `agent-widget:${siteKey}:${key}`;
  try {
    const probe = name("probe");
    localStorage.setItem(probe, "1");
    localStorage.removeItem(probe);
  } catch {
    return { ...memoryKeyValue(), isKept: false };
  }
  return {
    isKept: true,
    get: (key) => localStorage.getItem(name(key)),
    set(key, value) {
      try {
        if (value === null) localStorage.removeItem(name(key));
        else localStorage.setItem(name(key), value);
      } catch {
        // Full: the conversation itself is on the server.
      }
    },
  };
}
