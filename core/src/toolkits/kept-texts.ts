/** What was made of texts, by text, as far as both their number and their length in all allow: the oldest go first. */
export interface KeptTexts<Made> {
  get(text: string): Made | undefined;
  keep(text: string, made: Made): void;
}

export function createKeptTexts<Made>(limits: { texts: number; characters: number }): KeptTexts<Made> {
  const kept = new Map<string, Made>();
  let characters = 0;
  return {
    get: (text) => kept.get(text),
    keep(text, made) {
      if (!kept.has(text)) characters += text.length;
      kept.set(text, made);
      for (const [oldest] of kept) {
        if (kept.size <= limits.texts && characters <= limits.characters) return;
        kept.delete(oldest);
        characters -= oldest.length;
      }
    },
  };
}
