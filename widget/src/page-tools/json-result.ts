/** What a page's handler answers, if it can be sent. */

/** UTF-16 units of the JSON, as the server takes them; a model reads every one. */
export const MAX_RESULT_LENGTH = 32_000;

/**
 * A copy that is JSON and nothing else: nothing at all becomes null, a property without a value is left out, dates and
 * whatever else says how (`toJSON`) become what they say.
 * @throws TypeError that names what is not JSON, or how much too long it is
 */
export function jsonResult(value: unknown): unknown {
  let text: string;
  try {
    text = JSON.stringify(value ?? null, refuseWhatIsLost);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TypeError(`The page's answer is not JSON: ${reason}`, { cause: error });
  }
  if (text.length > MAX_RESULT_LENGTH) {
    throw new TypeError(`The page's answer is too long: ${text.length} characters of at most ${MAX_RESULT_LENGTH}.`);
  }
  return JSON.parse(text);
}

/** JSON.stringify leaves out functions, writes `{}` for a Map or an element, and null for NaN: nobody would notice. */
function refuseWhatIsLost(key: string, value: unknown): unknown {
  const isLost =
    typeof value === "function" ||
    typeof value === "symbol" ||
    (typeof value === "number" && !Number.isFinite(value)) ||
    (typeof value === "object" && value !== null && !Array.isArray(value) && !isPlain(value));
  if (isLost) throw new TypeError(`${key ? `“${key}”` : "it"} is ${nameOf(value)}`);
  return value;
}

/** Also where the object comes from another frame. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameOf(value: unknown): string {
  return typeof value === "object" ? Object.prototype.toString.call(value).slice(8, -1) : `a ${typeof value}`;
}
