/**
 * Markdown as it streams, written into the DOM piece by piece: nothing that was painted is painted again. Only elements
 * named here are made, text is only ever text, links pass `safeLink`, and images become links: showing an answer never
 * sends a request. Works with Trusted Types, as nothing is parsed as HTML.
 */
import * as smd from "streaming-markdown";
import { safeLink } from "./safe-link.ts";

const TAGS: Record<number, string> = {
  [smd.BLOCKQUOTE]: "blockquote",
  [smd.PARAGRAPH]: "p",
  [smd.LINE_BREAK]: "br",
  [smd.RULE]: "hr",
  [smd.HEADING_1]: "h3",
  [smd.HEADING_2]: "h3",
  [smd.HEADING_3]: "h4",
  [smd.HEADING_4]: "h4",
  [smd.HEADING_5]: "h4",
  [smd.HEADING_6]: "h4",
  [smd.ITALIC_AST]: "em",
  [smd.ITALIC_UND]: "em",
  [smd.STRONG_AST]: "strong",
  [smd.STRONG_UND]: "strong",
  [smd.STRIKE]: "s",
  [smd.CODE_INLINE]: "code",
  [smd.CODE_BLOCK]: "pre",
  [smd.CODE_FENCE]: "pre",
  [smd.EQUATION_INLINE]: "code",
  [smd.EQUATION_BLOCK]: "pre",
  [smd.LINK]: "a",
  [smd.RAW_URL]: "a",
  [smd.IMAGE]: "a",
  [smd.LIST_UNORDERED]: "ul",
  [smd.LIST_ORDERED]: "ol",
  [smd.LIST_ITEM]: "li",
  [smd.TABLE]: "table",
  [smd.TABLE_ROW]: "tr",
  [smd.TABLE_CELL]: "td",
};

/** `1`, `1, 3`: what stands in a citation's brackets. */
const NUMBERS = /^\d{1,3}(\s*,\s*\d{1,3})*$/;

export interface Markdown {
  write(text: string): void;
  /** Writes what the parser holds back until it knows what follows. */
  end(): void;
}

/** @param mark makes the element that stands for the source with this number */
export function createMarkdown(root: HTMLElement, mark: (number: number) => Element): Markdown {
  const open: Element[] = [root];
  const current = (): Element => open.at(-1) ?? root;
  let gaveUp = false;

  const parser = smd.parser({
    data: undefined,
    add_token(_data: unknown, type: number) {
      if (type === smd.DOCUMENT) return;
      const parent = current();
      const isHeading = type === smd.TABLE_CELL && parent === parent.parentElement?.firstElementChild;
      const element = document.createElement(isHeading ? "th" : (TAGS[type] ?? "span"));
      if (type === smd.CHECKBOX) element.textContent = "☐ ";
      parent.append(element);
      open.push(element);
    },
    end_token() {
      const ended = open.length > 1 && open.pop();
      if (ended) settle(ended, "]", mark);
    },
    add_text(_data: unknown, text: string) {
      current().append(text);
    },
    set_attr(_data: unknown, type: number, value: string) {
      if (type === smd.CHECKED) current().textContent = "☑ ";
      else if (type === smd.START) current().setAttribute("start", value);
      else if (type === smd.HREF || type === smd.SRC) link(current(), value);
    },
  });

  return {
    write(text) {
      try {
        if (!gaveUp) smd.parser_write(parser, text);
      } catch {
        // The parser nests to a depth only. What follows is readable text all the same.
        gaveUp = true;
        open.length = 1;
      }
      if (gaveUp) root.append(text);
    },
    end() {
      if (gaveUp) return;
      smd.parser_end(parser);
      for (const element of open.splice(1).toReversed()) settle(element, "", mark);
    },
  };
}

/** Square brackets that no address followed are text, or the number of a source; what was refused is its text. */
function settle(element: Element, bracket: string, mark: (number: number) => Element): void {
  if (element.tagName !== "A") return;
  const text = element.textContent ?? "";
  const href = element.getAttribute("href");
  if (href !== null) {
    // An image without a description still needs something to click.
    if (!text) element.textContent = href;
  } else if (element.hasAttribute("data-refused")) element.replaceWith(...element.childNodes);
  else if (NUMBERS.test(text)) element.replaceWith(...text.split(",").map((number) => mark(Number(number))));
  else element.replaceWith("[", ...element.childNodes, bracket);
}

function link(element: Element, address: string): void {
  // A sentence's full stop is not part of the address it ends with.
  const href = safeLink(address.trim().replace(/[.,;:!?'"]+$/, ""));
  if (href === null) {
    element.setAttribute("data-refused", "");
    return;
  }
  element.setAttribute("href", href);
  element.setAttribute("target", "_blank");
  element.setAttribute("rel", "noopener noreferrer nofollow");
}
