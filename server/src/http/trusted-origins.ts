/** Whose pages may act with a member's cookie: those of the API itself and of the console. */
export interface TrustedOrigins {
  list(): string[];
  has(origin: string): boolean;
}

/** `urls` is asked when it is needed: a server on any free port knows its address late. */
export function createTrustedOrigins(urls: () => string[]): TrustedOrigins {
  const list = () => [...new Set(urls().flatMap(namesOf))];
  return { list, has: (origin) => list().includes(origin) };
}

/** This machine has two names, and people type either. */
function namesOf(url: string): string[] {
  const { origin, hostname } = new URL(url);
  return hostname === "localhost" ? [origin, origin.replace("//localhost", "//127.0.0.1")] : [origin];
}
