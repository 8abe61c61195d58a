/**
 * What a member's page opens a socket with. Sockets take no cookie: browsers send cookies with whatever page connects,
 * and no CORS holds a WebSocket back. A page that may call the API with its cookie gets a token of a minute instead; it
 * names the session by its id, so that no script ever holds what the cookie holds.
 */
import { hkdfSync } from "node:crypto";
import { isId, type MemberId, type TenantId, type UserId } from "@agent-engine/protocol/ids.ts";
import type { Role } from "@agent-engine/protocol/administration.ts";
import { jwtVerify, SignJWT } from "jose";
import type { Secrets, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { ProblemError } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import type { Membership } from "./resolve-session.ts";

export const REALTIME_TOKEN_PREFIX = "rt_";
/** To connect with; what is open then goes on for as long as the session does. */
const TOKEN_SECONDS = 60;
const CHECKS = { algorithms: ["HS256"], issuer: "agent-engine", audience: "realtime" };

const keyOf = (master: string): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", master, "", "agent-engine realtime token", 32));

/** Signs a token for this member, by this session. `now` in ms since the epoch. */
export async function signRealtimeToken(
  secrets: Secrets,
  { sessionId, member }: { sessionId: string; member: Membership },
  now: number,
): Promise<{ token: string; expiresAt: string }> {
  const [master] = secrets.keys;
  if (master === undefined) throw new Error("no master key to sign with");
  const expires = Math.floor(now / 1_000) + TOKEN_SECONDS;
  const token = await new SignJWT({ session: sessionId })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(CHECKS.issuer)
    .setAudience(CHECKS.audience)
    .setSubject(member.memberId)
    .setExpirationTime(expires)
    .sign(keyOf(master));
  return { token: `${REALTIME_TOKEN_PREFIX}${token}`, expiresAt: new Date(expires * 1_000).toISOString() };
}

export interface RealtimeMember {
  tenantId: TenantId;
  memberId: MemberId;
  userId: UserId;
  role: Role;
  sessionId: string;
  /** Of the session, ms since the epoch. */
  expiresAt: number;
}

const find = statement<{ tenant_id: string; user_id: UserId; role: Role; expires_at: Date }>(
  "member_of_session",
  "select * from member_of_session($1, $2)",
);

/** The member as they are now; null when the session has ended or they are a member no more. */
export async function memberOfSession(
  { db }: Pick<Services, "db">,
  { sessionId, memberId }: { sessionId: string; memberId: MemberId },
): Promise<RealtimeMember | null> {
  const [row] = await db.query(find, [sessionId, uuidOf(memberId)]);
  if (!row) return null;
  const { tenant_id, user_id: userId, role, expires_at } = row;
  return { tenantId: idOf("tenant", tenant_id), memberId, userId, role, sessionId, expiresAt: expires_at.getTime() };
}

/** Who connects with a token. Throws `unauthenticated`, never saying why to a forger. */
export async function verifyRealtimeToken(
  services: Pick<Services, "db" | "secrets" | "clock">,
  token: string,
): Promise<RealtimeMember> {
  for (const master of services.secrets.keys) {
    const verified = await jwtVerify(token.slice(REALTIME_TOKEN_PREFIX.length), keyOf(master), {
      ...CHECKS,
      currentDate: new Date(services.clock()),
      requiredClaims: ["sub", "exp", "session"],
    }).catch(() => null);
    const { sub, session: sessionId } = verified?.payload ?? {};
    if (!isId("member", sub) || typeof sessionId !== "string") continue;
    const member = await memberOfSession(services, { sessionId, memberId: sub });
    if (member) return member;
  }
  throw new ProblemError(
    "unauthenticated",
    "The realtime token is not valid or has expired, or your session has ended. Get a new one: POST /v1/realtime-tokens.",
  );
}
