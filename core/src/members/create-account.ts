import type { UserId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { ProblemError } from "../errors.ts";
import { hashOf } from "./password.ts";

export interface NewAccount {
  /** Lower case. That it is theirs must be proved already: the account counts as verified. */
  email: string;
  name: string;
  password: string;
}

// An account that was never verified is nobody's: whoever made it did not have the address. What they left goes.
const PERSON = `
  insert into "user" ("id", "name", "email", "emailVerified") values ($1, $2, $3, true)
  on conflict ("email") do update set "name" = excluded."name", "emailVerified" = true, "updatedAt" = now()
    where not "user"."emailVerified"
  returning "id"`;
const CLEAR = `with gone as (delete from "session" where "userId" = $1) delete from "account" where "userId" = $1`;
const PASSWORD = `
  insert into "account" ("id", "accountId", "providerId", "userId", "password", "updatedAt")
  values ($1, $2, 'credential', $2, $3, now())`;

/**
 * Makes an account with a password, as better-auth's sign-up would, for an address that was proved by other means: an
 * invitation that arrived there. Throws `conflict` when there is a verified one already.
 */
export async function createAccount(
  services: Pick<Services, "accounts" | "newId">,
  { email, name, password }: NewAccount,
): Promise<UserId> {
  const hash = await hashOf(password);
  const client = await services.accounts.pool().connect();
  let failure: Error | undefined;
  try {
    await client.query("begin");
    const { rows } = await client.query<{ id: UserId }>(PERSON, [services.newId("user"), name, email]);
    const [person] = rows;
    if (!person) {
      throw new ProblemError("conflict", "There is an account with this address already. Sign in, then accept.");
    }
    await client.query(CLEAR, [person.id]);
    await client.query(PASSWORD, [services.newId("account"), person.id, hash]);
    await client.query("commit");
    return person.id;
  } catch (error) {
    failure = await client.query("rollback").then(
      () => undefined,
      (broken: Error) => broken,
    );
    throw error;
  } finally {
    client.release(failure);
  }
}
