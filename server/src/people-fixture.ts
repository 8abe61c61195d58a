/** People for the integration tests: with accounts, memberships and cookies as a browser would hold them. */
import type { Role } from "@agent-engine/protocol/administration.ts";
import type { MemberId, TenantId, UserId } from "@agent-engine/protocol/ids.ts";
import { createAccount } from "@agent-engine/core/members/create-account.ts";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { newId, uuidOf } from "@agent-engine/core/ids.ts";
import { statement } from "@agent-engine/core/db/statement.ts";
import { call, type Answer, type Call, type ServerFixture } from "./server-fixture.ts";

export const PASSWORD = "correct horse battery";

export interface Person {
  userId: UserId;
  email: string;
  /** The `Cookie` header. */
  cookie: string;
}

export interface MemberFixture extends Person {
  memberId: MemberId;
}

let people = 0;
let signIns = 0;

const join = statement(
  "fixture_join",
  `insert into members (id, tenant_id, user_id, email, name, role, joined_at) values ($1, $2, $3, $4, $5, $6, now())`,
);

/** Somebody with an account who is signed in. */
export async function person(fixture: ServerFixture, email = `person${++people}@example.com`): Promise<Person> {
  const userId = await createAccount(fixture.services, { email, name: `Person ${people}`, password: PASSWORD });
  return { userId, email, cookie: await signIn(fixture, email) };
}

/** Puts a person into a tenant. */
export async function enroll(
  fixture: ServerFixture,
  tenantId: TenantId,
  { userId, email }: Person,
  role: Role,
): Promise<MemberId> {
  const memberId = newId("member");
  const values = [uuidOf(memberId), uuidOf(tenantId), userId, email, "Somebody", role];
  await inTenant(fixture.services.db, tenantId, (tx) => tx.query(join, values));
  return memberId;
}

/** A new person who is a member of the tenant and signed in. */
export async function member(
  fixture: ServerFixture,
  role: Role,
  tenantId: TenantId = fixture.demo.tenantId,
): Promise<MemberFixture> {
  const somebody = await person(fixture);
  return { ...somebody, memberId: await enroll(fixture, tenantId, somebody, role) };
}

/** The `Cookie` header with the session that a sign-in's answer opens. */
export function cookieOf(answer: { headers: Headers }): string {
  return answer.headers
    .getSetCookie()
    .map((each) => each.split(";")[0] ?? "")
    .filter((each) => each.includes("session_token=") && !each.endsWith("="))
    .join("; ");
}

export async function signIn(fixture: ServerFixture, email: string, password = PASSWORD): Promise<string> {
  const answer = await trySignIn(fixture, email, password);
  if (answer.status !== 200) throw new Error(`${email} was not signed in: ${answer.status}`);
  return cookieOf(answer);
}

export function trySignIn(fixture: ServerFixture, email: string, password: string): Promise<Answer<unknown>> {
  return call<unknown>(fixture, "POST", "/api/auth/sign-in/email", {
    body: { email, password },
    // From an address of its own: how often an address may try is the business of one test.
    headers: { origin: fixture.url, "x-forwarded-for": `198.18.${++signIns >> 8}.${signIns & 255}` },
  });
}

/** A request as the console's page sends it: with the cookie, from our own origin. */
export function callAs<T>(
  fixture: ServerFixture,
  { cookie }: { cookie: string },
  method: string,
  path: string,
  { headers = {}, ...rest }: Call = {},
): Promise<Answer<T>> {
  return call<T>(fixture, method, path, { ...rest, headers: { cookie, origin: fixture.url, ...headers } });
}
