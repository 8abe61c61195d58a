/** Which of a toolkit's settings are secrets. Kept as references, shown as masks, opened only where a tool is called. */
import { isId } from "@agent-engine/protocol/ids.ts";
import type { ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { masked } from "../secrets/mask.ts";
import type { SecretId } from "../secrets/secrets.ts";
import { isRecord } from "./schema/schema-keywords.ts";

/** What stands in stored settings in place of a secret. Nobody can send one: settings from outside hold strings. */
export interface SecretReference {
  secret: SecretId;
  /** What may be shown of it. */
  hint: string;
}

export function isSecretReference(value: unknown): value is SecretReference {
  return typeof value === "object" && value !== null && "secret" in value && isId("secret", value.secret);
}

/** Headers that hold no secret and stay readable. The migration that looks for unsealed ones has the same list. */
const PUBLIC_HEADERS =
  /^(accept|accept-charset|accept-encoding|accept-language|api-version|cache-control|content-language|content-type|prefer|user-agent|x-api-version)$/i;

/** Whether a header's value is kept as a secret: all are, but for those that never hold one. */
export function isSecretHeader(name: string): boolean {
  return !PUBLIC_HEADERS.test(name);
}

/**
 * The toolkit with each of its secret settings replaced; the same one when it has none. A `field` names the setting and
 * the origin it is sent to: a credential that was given for one address opens for no other.
 */
export function mapSecretSettings(
  choice: ToolkitChoice,
  replace: (value: unknown, field: string) => unknown,
): ToolkitChoice {
  const { settings } = choice;
  // The one kind that has secrets.
  if (choice.toolkit !== "http") return choice;
  const mapped = mapSecretHeaders(settings, originOf(settings.baseUrl), replace);
  return mapped === settings ? choice : { ...choice, settings: mapped };
}

/** The settings with each secret among their `headers` replaced; the same ones when they have none. */
export function mapSecretHeaders(
  settings: Record<string, unknown>,
  origin: string,
  replace: (value: unknown, field: string) => unknown,
): Record<string, unknown> {
  const { headers } = settings;
  if (!isRecord(headers)) return settings;
  const replaced = Object.entries(headers).map(([name, value]) => [
    name,
    isSecretHeader(name) ? replace(value, `header ${name.toLowerCase()} ${origin}`) : value,
  ]);
  return { ...settings, headers: Object.fromEntries(replaced) };
}

/** Of an address in settings, which may not have been checked yet; empty when it is none. */
export function originOf(address: unknown): string {
  return typeof address === "string" && URL.canParse(address) ? new URL(address).origin : "";
}

export interface SecretSetting {
  field: string;
  value: unknown;
}

export function secretSettings(choice: ToolkitChoice): SecretSetting[] {
  const found: SecretSetting[] = [];
  mapSecretSettings(choice, (value, field) => {
    found.push({ field, value });
    return value;
  });
  return found;
}

/** As the API answers it. */
export function maskSecretSettings(choice: ToolkitChoice): ToolkitChoice {
  return mapSecretSettings(choice, (value) => masked(isSecretReference(value) ? value.hint : ""));
}
