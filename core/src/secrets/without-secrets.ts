/** What comes back from where a secret was sent may quote it; what is kept and shown must not. */
import { REDACTED } from "../redact.ts";

/** Shorter values are too likely to stand in a text by themselves. */
const MIN_LENGTH = 6;

export interface Redactor {
  /** The text without the secrets. */
  whole(text: string): string;
  /** The same for a text that was cut: it may end in the middle of a secret. */
  cut(text: string): string;
}

/**
 * Takes the values of secrets out of texts: as they are, without the scheme before them (`Bearer …`), decoded where they
 * are `Basic …`, and as JSON and addresses spell them.
 */
export function createRedactor(secrets: readonly string[]): Redactor {
  const spelled = secrets
    .flatMap((secret) => [secret.trim(), ...secret.trim().split(/\s+/).slice(1), ...basicParts(secret)])
    .flatMap((value) => [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)])
    .filter((value) => value.length >= MIN_LENGTH);
  const longestFirst = [...new Set(spelled)].toSorted((a, b) => b.length - a.length);
  const whole = (text: string) => longestFirst.reduce((clean, value) => clean.replaceAll(value, REDACTED), text);
  return {
    whole,
    cut(text) {
      const clean = whole(text);
      const begun = Math.max(0, ...longestFirst.map((value) => overlap(clean, value)));
      return begun === 0 ? clean : clean.slice(0, -begun) + REDACTED;
    },
  };
}

/** User and password of `Basic …`. */
function basicParts(secret: string): string[] {
  const [, encoded] = /^Basic\s+(\S+)$/i.exec(secret.trim()) ?? [];
  if (encoded === undefined) return [];
  const pair = Buffer.from(encoded, "base64").toString("utf8");
  return [pair, pair.slice(pair.indexOf(":") + 1)];
}

/** How much of the text's end is the beginning of the value; of a character or two nobody learns anything. */
function overlap(text: string, value: string): number {
  for (let length = Math.min(value.length - 1, text.length); length > 2; length--) {
    if (text.endsWith(value.slice(0, length))) return length;
  }
  return 0;
}
