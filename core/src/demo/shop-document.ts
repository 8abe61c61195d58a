export interface ShopDocument {
  readonly title: string;
  readonly url: string;
  readonly text: string;
}

const HELP = "https://fjordandfern.example/help";

/** Paragraphs are joined by a blank line, where the text is cut into passages. */
export function shopDocument(slug: string, title: string, ...paragraphs: readonly string[]): ShopDocument {
  return { title, url: `${HELP}/${slug}`, text: paragraphs.join("\n\n") };
}
