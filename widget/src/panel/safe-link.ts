const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/**
 * The address of a link that a visitor may follow, or null. Only absolute http, https and mailto addresses pass:
 * nothing that runs, and nothing that means something else on the customer's page than it did to its author.
 */
export function safeLink(address: string): string | null {
  try {
    const url = new URL(address);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
