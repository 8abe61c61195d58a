import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";

/** A piece of a tool call. Servers disagree on everything but the name and the arguments. */
export interface CallDelta {
  /** Which of the turn's calls; some servers leave it out, some give all calls the same. */
  index?: number | null;
  id?: string | null;
  function?: { name?: string | null; arguments?: string | null } | null;
}

interface ChatCall {
  index: number | null;
  id: string;
  /** The server's own, to recognise its continuations. */
  wireId: string | null;
  name: string | null;
  arguments: string;
}

/** Puts the pieces of a turn's tool calls together. */
export class ChatCalls {
  #calls: ChatCall[] = [];

  take(delta: CallDelta): LanguageModelV4StreamPart[] {
    const call = this.#find(delta) ?? this.#open(delta);
    const parts: LanguageModelV4StreamPart[] = [];
    const name = delta.function?.name;
    const piece = delta.function?.arguments ?? "";
    const isNamedNow = call.name === null && Boolean(name);
    if (isNamedNow && name) {
      call.name = name;
      parts.push({ type: "tool-input-start", id: call.id, toolName: name });
    }
    call.arguments += piece;
    if (call.name === null) return parts;
    // What came before the name was held back.
    const delayed = isNamedNow ? call.arguments : piece;
    if (delayed !== "") parts.push({ type: "tool-input-delta", id: call.id, delta: delayed });
    return parts;
  }

  /** Only at the end is it certain that a call's arguments are complete. */
  end(): LanguageModelV4StreamPart[] {
    return this.#calls.flatMap((call) => {
      const { id, name } = call;
      if (name === null) return [];
      return [
        { type: "tool-input-end", id },
        { type: "tool-call", toolCallId: id, toolName: name, input: call.arguments },
      ] satisfies LanguageModelV4StreamPart[];
    });
  }

  #find({ index, id, function: called }: CallDelta): ChatCall | undefined {
    if (id) {
      const known = this.#calls.findLast((call) => call.wireId === id && (index == null || call.index === index));
      if (known) return known;
      // A new id with a name begins a call, whatever its index says.
      if (called?.name) return undefined;
    }
    if (index != null) return this.#calls.findLast((call) => call.index === index);
    return called?.name ? undefined : this.#calls.at(-1);
  }

  #open({ index, id }: CallDelta): ChatCall {
    const call = {
      index: index ?? null,
      id: `call-${this.#calls.length}`,
      wireId: id ?? null,
      name: null,
      arguments: "",
    };
    this.#calls.push(call);
    return call;
  }
}
