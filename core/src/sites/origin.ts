/**
 * Which origins may embed a site's widget. An allow-list holds exact origins (`https://shop.example`) and wildcards for
 * every subdomain (`https://*.shop.example`). A pattern without a scheme means https; a port must be named unless it is
 * the scheme's own. A wildcard does not cover the bare domain and never matches an address or a single label.
 *
 * Matching is by candidates: an origin has a handful of patterns that would allow it, so "does any site allow it" is one
 * indexed array overlap in Postgres, and the check here and the one there cannot disagree.
 */

/** What a page's host can be: labels with something in them, or an address. A `*` is ours, for patterns. */
const HOST = /^([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])$/;

/** The origin in its one canonical form, or null when it is missing, `null`, or not a web origin. */
export function parseOrigin(header: string | null | undefined): string | null {
  if (!header || header.length > 300) return null;
  const url = URL.parse(header);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return null;
  // An Origin header is exactly scheme, host and port: a path, credentials or anything else was not sent by a browser.
  return HOST.test(url.hostname) && url.origin === header.toLowerCase() ? url.origin : null;
}

/** Every canonical pattern that allows this canonical origin: itself, and a wildcard for each parent domain. */
export function originCandidates(origin: string): string[] {
  const url = new URL(origin);
  const candidates = [origin];
  if (isAddress(url.hostname)) return candidates;
  const labels = url.hostname.split(".");
  const port = url.port === "" ? "" : `:${url.port}`;
  // The last label alone is a registry, never a customer's domain; `*.localhost` is the exception developers need.
  const last = labels.at(-1) === "localhost" ? labels.length - 1 : labels.length - 2;
  for (let i = 1; i <= last; i++) candidates.push(`${url.protocol}//*.${labels.slice(i).join(".")}${port}`);
  return candidates;
}

/** The canonical form of an allow-list's entry, or null when it is not a pattern. */
export function parseOriginPattern(pattern: string): string | null {
  const text = pattern.trim().toLowerCase();
  const withScheme = text.includes("://") ? text : `https://${text}`;
  const isWildcard = withScheme.includes("://*.");
  const bare = bareOrigin(isWildcard ? withScheme.replace("://*.", "://") : withScheme);
  if (bare === null || !isWildcard) return bare;
  const { hostname } = new URL(bare);
  if (isAddress(hostname) || (!hostname.includes(".") && hostname !== "localhost")) return null;
  return bare.replace("://", "://*.");
}

/** Lenient where `parseOrigin` is strict: a person typed it, so a default port or a trailing slash is forgiven. */
function bareOrigin(text: string): string | null {
  const url = text.includes("*") ? null : URL.parse(text);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return null;
  return url.href === `${url.origin}/` ? url.origin : null;
}

/** True when the list allows the origin, which must be canonical (`parseOrigin`). */
export function isOriginAllowed(origin: string, allowList: readonly string[]): boolean {
  const candidates = new Set(originCandidates(origin));
  return allowList.some((pattern) => {
    const canonical = parseOriginPattern(pattern);
    return canonical !== null && candidates.has(canonical);
  });
}

function isAddress(hostname: string): boolean {
  return hostname.startsWith("[") || /^\d{1,3}(\.\d{1,3}){3}$/.test(hostname);
}
