/**
 * Whether a regular expression from outside can be tried on any text in about linear time. A small grammar is counted
 * rather than attacked: at most one place without an upper bound, and few ways to read the rest. What it cannot prove
 * harmless is refused; the service behind the tool checks its arguments anyway.
 */

/** How many ways there are to match, how many places repeat without bound, and the most characters of the bounded rest. */
interface Cost {
  ways: number;
  unbounded: number;
  length: number;
}

const MAX_PATTERN_LENGTH = 300;
const MAX_WORK_PER_CHARACTER = 2_000;
const MAX_WORK = 200_000;
const MAX_LENGTH = 10_000;

export function isSafePattern(pattern: string): boolean {
  if (pattern.length > MAX_PATTERN_LENGTH) return false;
  try {
    // As Ajv compiles it.
    RegExp(pattern, "u");
  } catch {
    return false;
  }
  const reader = { text: pattern, at: 0 };
  const cost = alternatives(reader);
  if (!cost || reader.at < pattern.length || cost.length > MAX_LENGTH || cost.unbounded > 1) return false;
  const work = cost.ways * cost.length;
  const isAnchored = pattern.startsWith("^") && !hasTopLevelAlternatives(pattern);
  if (cost.unbounded === 1) return isAnchored && work <= MAX_WORK_PER_CHARACTER;
  return work <= (isAnchored ? MAX_WORK : MAX_WORK_PER_CHARACTER);
}

interface Reader {
  text: string;
  at: number;
}

function alternatives(reader: Reader): Cost | null {
  let total: Cost | null = null;
  for (;;) {
    const one = sequence(reader);
    if (!one) return null;
    total = total
      ? {
          ways: total.ways + one.ways,
          unbounded: Math.max(total.unbounded, one.unbounded),
          length: Math.max(total.length, one.length),
        }
      : one;
    if (reader.text[reader.at] !== "|") return total;
    reader.at++;
  }
}

function sequence(reader: Reader): Cost | null {
  let total: Cost = { ways: 1, unbounded: 0, length: 0 };
  while (reader.at < reader.text.length && reader.text[reader.at] !== "|" && reader.text[reader.at] !== ")") {
    const one = term(reader);
    if (!one) return null;
    total = {
      ways: total.ways * one.ways,
      unbounded: total.unbounded + one.unbounded,
      length: total.length + one.length,
    };
  }
  return total;
}

function term(reader: Reader): Cost | null {
  const atom = readAtom(reader);
  if (!atom) return null;
  const times = readTimes(reader);
  if (!times) return atom;
  const { min, max } = times;
  const isPlain = atom.ways === 1 && atom.unbounded === 0;
  // Several ways in each round are as many ways to split the text between rounds.
  if (max === Infinity) return isPlain ? { ways: 1, unbounded: 1, length: atom.length * (min + 1) } : null;
  return {
    ways: isPlain ? max - min + 1 : atom.ways ** max * (max - min + 1),
    unbounded: atom.unbounded * max,
    length: atom.length * max,
  };
}

const CHARACTER: Cost = { ways: 1, unbounded: 0, length: 1 };

function readAtom(reader: Reader): Cost | null {
  const rest = reader.text.slice(reader.at);
  if (rest.startsWith("(")) return readGroup(reader, rest);
  // References back and names of groups are left out: what they cost depends on the text.
  const single =
    /^(?:[$^]|\\(?:[dDsSwWbBtnrvf0]|[pP]\{[^}]*\}|u\{[^}]*\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[a-zA-Z]|[^a-zA-Z0-9])|\[(?:\\.|[^\]\\])*\]|[^\\[(])/su.exec(
      rest,
    );
  if (!single) return null;
  reader.at += single[0].length;
  return CHARACTER;
}

function readGroup(reader: Reader, rest: string): Cost | null {
  const opening = /^\((?:\?:|\?<[a-zA-Z_$][\w$]*>)?(?!\?)/.exec(rest);
  if (!opening) return null;
  reader.at += opening[0].length;
  const inner = alternatives(reader);
  if (!inner || reader.text[reader.at] !== ")") return null;
  reader.at++;
  return inner;
}

function readTimes(reader: Reader): { min: number; max: number } | null {
  const found = /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})\??/.exec(reader.text.slice(reader.at));
  if (!found) return null;
  reader.at += found[0].length;
  const [, sign, from, comma, to] = found;
  if (sign === "*") return { min: 0, max: Infinity };
  if (sign === "+") return { min: 1, max: Infinity };
  if (sign === "?") return { min: 0, max: 1 };
  const min = Number(from);
  if (comma === undefined) return { min, max: min };
  return { min, max: to === "" ? Infinity : Number(to) };
}

function hasTopLevelAlternatives(pattern: string): boolean {
  const reader = { text: pattern, at: 0 };
  sequence(reader);
  return reader.at < pattern.length;
}
