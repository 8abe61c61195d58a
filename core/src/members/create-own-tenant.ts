import type { Tenant } from "@agent-engine/protocol/administration.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { addOwner } from "./add-owner.ts";
import type { Session } from "./resolve-session.ts";

const MAX_TENANTS = 20;

const insert = statement("tenant_insert", "insert into tenants (id, name, created_at) values ($1, $2, $3)");

/** Makes a tenant that the signed-in person owns, where sign-up is open. */
export async function createOwnTenant(
  services: Services,
  input: { session: Session; name: string; correlationId: string; ip?: string | undefined },
): Promise<Tenant> {
  const { session, name, correlationId, ip } = input;
  if (services.accounts.signUp !== "open") {
    throw new ProblemError(
      "forbidden",
      "Tenants are made by whoever runs this installation (SIGN_UP is `invited`). Ask them, or ask to be invited.",
    );
  }
  if (session.memberships.length >= MAX_TENANTS) {
    throw new ProblemError("conflict", `You are a member of ${MAX_TENANTS} tenants, which is the most there may be.`);
  }
  const id = services.newId("tenant");
  await inTenant(services.db, id, async (tx) => {
    await tx.query(insert, [uuidOf(id), name, new Date(services.clock())]);
    await addOwner(services, { tenantId: id, user: session.user, correlationId, ip, made: { name } }, tx);
  });
  return { id, name };
}
