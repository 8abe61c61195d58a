/** What tests look up inside the page: each function is sent there as text, so it uses nothing from around it. */

/** The texts inside with a contrast under 4.5 (WCAG 2), controls without a name or too small for a finger, and what sticks out. */
export async function complaintsAbout(root: Element): Promise<string[]> {
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
  const complaints: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = own.map((node) => node.textContent ?? "").join("");
    if (text.trim() === "" || element.closest(".spoken, :disabled, [aria-disabled=true]")) continue;
    const [one, other] = [luminance(getComputedStyle(element).color), behind(element)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) complaints.push(`contrast ${ratio.toFixed(1)}: ${text}`);
  }
  for (const control of root.querySelectorAll<HTMLElement>("button, input, select, textarea, a[href]")) {
    const labels = control instanceof HTMLInputElement || control instanceof HTMLSelectElement ? control.labels : null;
    const name = control.ariaLabel ?? (labels?.[0] ?? control).textContent?.trim();
    const named = name || (control instanceof HTMLTextAreaElement && control.labels[0]?.textContent);
    if (!named) complaints.push(`no name: ${control.outerHTML.slice(0, 80)}`);
    const { width, height } = control.getBoundingClientRect();
    if (control.closest(".ask") && Math.min(width, height) < 32) complaints.push(`small: ${name}`);
  }
  const ids = [...root.querySelectorAll("[id]")].map(({ id }) => id);
  if (new Set(ids).size < ids.length) complaints.push(`ids twice: ${ids.join(" ")}`);
  for (const element of root.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    const refs = `${element.getAttribute("aria-labelledby") ?? ""} ${element.getAttribute("aria-describedby") ?? ""}`;
    for (const id of refs.trim().split(/\s+/)) if (!ids.includes(id)) complaints.push(`refers to nothing: ${id}`);
  }
  const log = root.querySelector(".list");
  if (log && log.scrollWidth > log.clientWidth) complaints.push("scrolls sideways");
  return complaints;
}
