export const JSON_LINES = "application/jsonl";

/** True when the caller asks for lines and not for a page. */
export function asksForLines(accept: string | undefined): boolean {
  return /\bapplication\/(jsonl|x-ndjson)\b/i.test(accept ?? "");
}

/**
 * Answers with one JSON document a line, as they come: the next is made when the reader has room for it. What fails
 * before the first line is an ordinary problem; later the connection breaks, so that half an answer is not taken for one.
 */
export async function lineResponse(lines: AsyncIterable<unknown>): Promise<Response> {
  const iterator = lines[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let next = await iterator.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (next.done) return controller.close();
      controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`));
      next = await iterator.next();
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Response(body, { headers: { "content-type": JSON_LINES } });
}
