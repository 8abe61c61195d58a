/**
 * SQLSTATE classes of what is wrong with the statement or its data (22 data, 23 constraint, 42 and 0A the statement,
 * 54 limits): trying again cannot help. Everything else is about the server or the way to it.
 */
export function isPermanent(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && /^(0A|22|23|42|54)/.test(String(error.code));
}
