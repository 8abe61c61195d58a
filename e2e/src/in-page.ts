/** What tests look up inside the page: each function is sent there as text, so it uses nothing from around it. */

/** Relative luminance of the element's background (WCAG 2), and the texts inside with a contrast under 4.5. */
export async function contrasts(root: Element): Promise<{ background: number; unreadable: string[] }> {
  const settling = root.getAnimations({ subtree: true }).filter(({ effect }) => effect?.getTiming().iterations === 1);
  await Promise.all(settling.map(({ finished }) => finished));

  const luminance = (color: string): number => {
    const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? [])
      .map((part) => Number(part) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element: Element): number => {
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor === "rgba(0, 0, 0, 0)" && element.parentElement
      ? behind(element.parentElement)
      : luminance(backgroundColor);
  };
  const unreadable: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = own.map((node) => node.textContent ?? "").join("");
    if (text.trim() === "" || element.closest(".spoken, :disabled")) continue;
    const [one, other] = [luminance(getComputedStyle(element).color), behind(element)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) unreadable.push(`${ratio.toFixed(1)}: ${text}`);
  }
  return { background: behind(root), unreadable };
}

/** Collects what a live region says from now on; `said` reads it. */
export function listen(region: Element): void {
  const texts: string[] = [];
  const hear = () => {
    if (region.textContent) texts.push(region.textContent);
  };
  new MutationObserver(hear).observe(region, { childList: true, characterData: true, subtree: true });
  Object.assign(region, { texts });
}

export function said(region: Element): string[] {
  return (region as Element & { texts: string[] }).texts;
}
