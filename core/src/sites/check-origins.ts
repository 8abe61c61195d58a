import { ProblemError } from "../errors.ts";
import { parseOriginPattern } from "./origin.ts";

/**
 * The canonical forms of an allow-list, each once. Throws `invalid_request` for what is no pattern, and for a wildcard
 * below a public suffix (`*.com`, `*.co.uk`, `*.github.io`): it would let anybody who registers a name there in.
 */
export async function checkOrigins(patterns: readonly string[]): Promise<string[]> {
  const canonical = patterns.map((pattern) => {
    const parsed = parseOriginPattern(pattern);
    if (parsed === null) {
      throw new ProblemError(
        "invalid_request",
        `\`allowedOrigins\` has \`${pattern.slice(0, 100)}\`, which is no origin. Write \`https://shop.example\`, or \`https://*.shop.example\` for every subdomain.`,
      );
    }
    return parsed;
  });
  const wildcards = canonical.filter((pattern) => pattern.includes("://*."));
  if (wildcards.length > 0) {
    // The list of public suffixes is a megabyte that few requests need.
    const { getPublicSuffix } = await import("tldts");
    for (const pattern of wildcards) {
      const { hostname } = new URL(pattern.replace("://*.", "://"));
      // What developers' machines call themselves; nobody can register below it.
      if (hostname === "localhost" || hostname.endsWith(".localhost")) continue;
      if (getPublicSuffix(hostname, { allowPrivateDomains: true }) !== hostname) continue;
      throw new ProblemError(
        "invalid_request",
        `\`allowedOrigins\` has \`${pattern}\`, but everybody can have a name below ${hostname}. Name your own domain.`,
      );
    }
  }
  return [...new Set(canonical)];
}
