/** Postgres text cannot hold NUL, and a lone surrogate is no character: both become U+FFFD rather than an error. */
export function cleanText(value: string): string {
  return value.toWellFormed().replaceAll("\u0000", "\uFFFD");
}
