/** In the browser: renders chunks as the panel does, and lists everything about the result that should not be there. */
import { createMarkdown } from "../src/panel/markdown.ts";

const TAGS = new Set("A,B,BLOCKQUOTE,BR,CODE,EM,H3,H4,HR,LI,OL,P,PRE,S,SPAN,STRONG,TABLE,TD,TH,TR,UL".split(","));
const ATTRIBUTES: Record<string, (value: string) => boolean> = {
  href: (value) => /^(https?|mailto):/.test(value),
  target: (value) => value === "_blank",
  rel: (value) => value === "noopener noreferrer nofollow",
  start: (value) => /^\d+$/.test(value),
  class: (value) => value === "mark",
};

window.renderMarkdown = (chunks) => {
  const problems: string[] = [];
  const root = document.createElement("div");
  document.body.replaceChildren(root);
  const markdown = createMarkdown(root, (number) => {
    const mark = document.createElement("b");
    mark.className = "mark";
    mark.textContent = `${number}`;
    return mark;
  });
  try {
    for (const chunk of chunks) markdown.write(chunk);
    markdown.end();
  } catch (error) {
    problems.push(`${JSON.stringify(chunks)} threw ${String(error)}`);
  }
  if (document.body.childNodes.length !== 1) problems.push(`${JSON.stringify(chunks)} wrote outside of its root`);
  for (const element of root.querySelectorAll("*")) {
    if (!TAGS.has(element.tagName)) problems.push(`${JSON.stringify(chunks)} made ${element.tagName}`);
    for (const { name, value } of element.attributes) {
      if (!ATTRIBUTES[name]?.(value)) problems.push(`${JSON.stringify(chunks)} set ${name}=${JSON.stringify(value)}`);
    }
  }
  return { html: root.innerHTML, problems };
};
