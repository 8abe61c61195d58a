/** 128 random bits in decimal; also on pages without HTTPS, where `crypto.randomUUID` does not exist. */
export function randomId(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
