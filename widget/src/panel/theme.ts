import type { ThemeName } from "../widget-api.ts";

/** A site's theme from the server: custom properties, where the page has not set its own. */
export function applySiteTheme(host: HTMLElement, theme: Record<string, string>): void {
  const own = getComputedStyle(host);
  const isFree = ([name]: [string, string]) => !own.getPropertyValue(`--agent-widget-${name}`);
  setProperties(host, Object.entries(theme).filter(isFree));
  // An accent without a text colour gets the one of black and white that is easier to read on it.
  const text = readableOn(own.getPropertyValue("--agent-widget-accent").trim());
  if (text) setProperties(host, Object.entries({ "accent-text": text }).filter(isFree));
}

export function setTheme(host: HTMLElement, theme: ThemeName | Record<string, string>): void {
  if (typeof theme === "string") {
    host.setAttribute("theme", theme);
    return;
  }
  const text = theme["accent"] && readableOn(theme["accent"]);
  setProperties(host, Object.entries({ ...(text ? { "accent-text": text } : null), ...theme }));
}

function setProperties(host: HTMLElement, properties: [string, string][]): void {
  for (const [name, value] of properties) host.style.setProperty(`--agent-widget-${name}`, value);
}

/** Black or white, whichever has more contrast (WCAG 2) on `#rrggbb` or `#rgb`; null for any other notation. */
export function readableOn(color: string): string | null {
  if (!/^#([0-9a-f]{3}){1,2}$/i.test(color)) return null;
  const channels = color.match(color.length === 4 ? /\w/g : /\w\w/g) ?? [];
  const [red = 0, green = 0, blue = 0] = channels.map((channel) => {
    const part = Number.parseInt(channel.padEnd(2, channel), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  // Equal contrast with black (L + 0.05) / 0.05 and with white 1.05 / (L + 0.05) is at L ≈ 0.179.
  return luminance > 0.179 ? "#000" : "#fff";
}
