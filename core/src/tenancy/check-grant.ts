import type { Actor } from "../context.ts";
import { ProblemError } from "../errors.ts";
import { covers } from "../members/permissions.ts";

/** Nobody gets a key that may do more than they may themselves. */
export function checkGrant(actor: Actor, scopes: readonly string[]): void {
  if (covers(actor, scopes)) return;
  throw new ProblemError(
    "forbidden",
    scopes.includes("*")
      ? "Only an owner, or a key with the scope `*`, may have a key with the scope `*`. Name the scopes it needs."
      : "The key would be allowed more than you are. Leave out the scopes that you do not have yourself.",
  );
}
