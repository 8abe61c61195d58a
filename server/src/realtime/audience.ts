import type { Actor } from "@agent-engine/core/context.ts";
import type { Audience } from "@agent-engine/protocol/envelope.ts";

/** Whose eyes an actor reads with: a visitor sees staff events as `hidden`. */
export function audienceOf(actor: Actor): Audience {
  return actor.kind === "visitor" ? "all" : "staff";
}
