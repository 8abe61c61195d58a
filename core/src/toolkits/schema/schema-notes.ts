/** Collects what was changed in a schema, in sentences for the tenant's admins: each once, and not too many. */

const MAX_NOTES = 20;

export interface Notes {
  add(sentence: string): void;
  /** One sentence for all words of one kind: "Formats that models do not know were left out: a, b." */
  addWord(sentence: string, word: string): void;
  list(): string[];
}

export function createNotes(): Notes {
  const sentences = new Set<string>();
  const words = new Map<string, Set<string>>();
  return {
    add: (sentence) => void sentences.add(sentence),
    addWord(sentence, word) {
      const known = words.get(sentence) ?? new Set();
      words.set(sentence, known.add(word.slice(0, 60)));
    },
    list() {
      const all = [
        ...sentences,
        ...[...words].map(([sentence, found]) => {
          const shown = [...found].sort().slice(0, 10);
          return `${sentence}: ${shown.join(", ")}${found.size > shown.length ? " and others" : ""}.`;
        }),
      ];
      if (all.length <= MAX_NOTES) return all;
      return [...all.slice(0, MAX_NOTES), `There are ${all.length - MAX_NOTES} more changes of this kind.`];
    },
  };
}
