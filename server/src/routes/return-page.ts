import type { LinkEnd } from "@agent-engine/core/connections/complete-connection.ts";

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { display: grid; place-items: center; min-height: 100dvh; margin: 0; padding: 1.5rem; box-sizing: border-box }
  main { max-width: 26rem; text-align: center }
  h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .5rem }
  p { margin: 0; opacity: .8 }`;

function wordsOf(end: LinkEnd): { status: number; title: string; text: string } {
  switch (end.kind) {
    case "connected":
      return {
        status: 200,
        title: `${end.title} is connected`,
        text: `${end.label ? `As ${end.label}. ` : ""}You can close this page; the conversation goes on by itself.`,
      };
    case "failed":
      return {
        status: 200,
        title: `${end.title} was not connected`,
        text: "You can close this page and try again in the conversation, or go on without it.",
      };
    case "unknown":
      return {
        status: 410,
        title: "This link is no longer good",
        text: "It was used, or it is too old. Ask for a new one in the conversation.",
      };
  }
}

/** What a person reads who comes back from connecting an account. No script: the conversation hears of it by itself. */
export function returnPage(end: LinkEnd): Response {
  const { status, title, text } = wordsOf(end);
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escaped(title)}</h1><p>${escaped(text)}</p></main></body></html>`;
  return new Response(html, { status, headers: { "content-type": "text/html; charset=utf-8" } });
}

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
