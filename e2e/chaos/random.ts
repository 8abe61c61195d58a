/** Chance that a seed reproduces: who is hit, when, and with what. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number;
  pick<T>(items: readonly T[]): T;
  shuffled<T>(items: readonly T[]): T[];
}

/** Each name draws a sequence of its own from one seed, so that leaving out an experiment changes no other one. */
export function seededRandom(seed: number, name: string): Random {
  let state = seed >>> 0;
  for (const character of name) state = (Math.imul(state, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  // Mulberry32.
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    between,
    pick<T>(items: readonly T[]): T {
      if (items.length === 0) throw new Error("there is nothing to pick from");
      return items[between(0, items.length - 1)] as T;
    },
    shuffled<T>(items: readonly T[]): T[] {
      const rest = [...items];
      for (let i = rest.length - 1; i > 0; i--) {
        const j = between(0, i);
        [rest[i], rest[j]] = [rest[j] as T, rest[i] as T];
      }
      return rest;
    },
  };
}
