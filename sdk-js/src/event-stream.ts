import type { Envelope } from "@agent-engine/protocol/envelope.ts";

/** Yields the envelopes of an SSE answer as they arrive; ends when the server closes it. Comments and hints are skipped. */
export async function* readEventStream(response: Response): AsyncGenerator<Envelope> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block
          .match(/^data: ?(.*)/gm)
          ?.map((line) => line.replace(/^data: ?/, ""))
          .join("\n");
        const envelope: Partial<Envelope> = data ? JSON.parse(data) : {};
        if (envelope.seq) yield envelope as Envelope;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
