import type { VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { findVisitorProfile } from "./visitor-profile.ts";

export async function getVisitor(ctx: Ctx, id: string): Promise<VisitorProfile> {
  return transact(ctx, (tx) => findVisitorProfile(tx, id));
}
