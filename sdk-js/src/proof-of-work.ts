/**
 * Finds what a challenge asks for. SHA-256 is our own: the browser's is asynchronous, which for such short texts costs ten
 * times the hash, and is missing from pages without https.
 */

const K = new Uint32Array(64);
const START = new Uint32Array(8);
{
  // The fractional parts of the roots of the first primes, as the standard defines them.
  const primes: number[] = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  for (const [i, prime] of primes.entries()) {
    K[i] = Math.cbrt(prime) * 2 ** 32;
    if (i < 8) START[i] = Math.sqrt(prime) * 2 ** 32;
  }
}

const rotate = (x: number, by: number): number => (x >>> by) | (x << (32 - by));

function compress(state: Uint32Array, words: Uint32Array): void {
  for (let i = 16; i < 64; i++) {
    const a = words[i - 15] as number;
    const b = words[i - 2] as number;
    words[i] =
      (words[i - 16] as number) +
      (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) +
      (words[i - 7] as number) +
      (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10));
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let i = 0; i < 64; i++) {
    const one =
      (h +
        (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
        ((e & f) ^ (~e & g)) +
        (K[i] as number) +
        (words[i] as number)) |
      0;
    const two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] = (state[i] as number) + value;
}

/** Of ASCII. The last block's words are made anew for each text. */
export function sha256(text: string): Uint32Array {
  const length = ((text.length + 8) >> 6) * 16 + 16;
  const blocks = new Uint32Array(length);
  for (let i = 0; i < text.length; i++)
    blocks[i >> 2] = (blocks[i >> 2] as number) | (text.charCodeAt(i) << (24 - (i % 4) * 8));
  blocks[text.length >> 2] = (blocks[text.length >> 2] as number) | (0x80 << (24 - (text.length % 4) * 8));
  blocks[length - 1] = text.length * 8;
  const state = START.slice();
  const words = new Uint32Array(64);
  for (let at = 0; at < length; at += 16) {
    words.set(blocks.subarray(at, at + 16));
    compress(state, words);
  }
  return state;
}

function zeroBits(hash: Uint32Array): number {
  const first = hash.findIndex((word) => word !== 0);
  return first < 0 ? 256 : first * 32 + Math.clz32(hash[first] as number);
}

/** What a page may be kept from painting. */
const SLICE_MS = 12;

/** A number whose text after `challenge.` gives a hash that begins with so many zero bits. Leaves the page its turns. */
export async function solve(challenge: string, difficulty: number): Promise<string> {
  for (let n = 0; ;) {
    for (const end = performance.now() + SLICE_MS; performance.now() < end;) {
      for (let tries = 0; tries < 64; tries++, n++) {
        if (zeroBits(sha256(`${challenge}.${n}`)) >= difficulty) return String(n);
      }
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
}
