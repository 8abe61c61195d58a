import type { ExportPart } from "@agent-engine/core/visitors/export-visitor.ts";

/**
 * The parts of an export as the text of one JSON document:
 * `{ visitor, conversations: [{ …, runs: […], events: […] }] }`. Made as it is read, so however long it is, it is never
 * in memory as a whole.
 */
export async function* exportDocument(parts: AsyncIterable<ExportPart>): AsyncGenerator<string> {
  let open: "visitor" | "conversations" | "runs" | "events" = "visitor";
  let isFirst = true;
  const next = (value: unknown) => `${isFirst ? ((isFirst = false), "") : ","}${JSON.stringify(value)}`;
  const closed = () => (open === "runs" ? '],"events":[]}' : open === "events" ? "]}" : "");
  for await (const { part, value } of parts) {
    switch (part) {
      case "visitor":
        yield `{"visitor":${JSON.stringify(value)},"conversations":[`;
        open = "conversations";
        break;
      case "conversation":
        yield `${closed()}${open === "conversations" ? "" : ","}${JSON.stringify(value).slice(0, -1)},"runs":[`;
        open = "runs";
        isFirst = true;
        break;
      case "run":
        yield next(value);
        break;
      case "event":
        if (open === "runs") {
          yield '],"events":[';
          open = "events";
          isFirst = true;
        }
        yield next(value);
        break;
    }
  }
  yield `${closed()}]}\n`;
}

/** Answers with a text as it is made. What fails before its first piece is an ordinary problem. */
export async function textResponse(pieces: AsyncGenerator<string>, headers: Record<string, string>): Promise<Response> {
  const encoder = new TextEncoder();
  let next = await pieces.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (next.done) return controller.close();
      controller.enqueue(encoder.encode(next.value));
      next = await pieces.next();
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
  return new Response(body, { headers });
}
