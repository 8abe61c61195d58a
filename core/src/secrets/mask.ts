/** How a secret is shown once it is kept: `••••` and what tells it apart from another one. */

const DOTS = "••••";
/** Of a shorter secret four characters would be too much of it. */
const MIN_LENGTH_TO_HINT = 12;

/** What may be kept and shown in the clear: the last four characters, or none of a short secret. */
export function hintOf(secret: string): string {
  return secret.length >= MIN_LENGTH_TO_HINT ? secret.slice(-4) : "";
}

export function masked(hint: string): string {
  return `${DOTS}${hint}`;
}

/** True of what `masked` makes: somebody sends back what they were shown. */
export function isMasked(value: string): boolean {
  return value.startsWith(DOTS);
}
