import type { Role } from "@agent-engine/protocol/administration.ts";
import type { MemberId, TenantId, UserId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { sessionTokenOf } from "./session-cookie.ts";

export interface Membership {
  tenantId: TenantId;
  tenantName: string;
  memberId: MemberId;
  role: Role;
}

/** A signed-in person, and the tenants they are a member of, longest first. */
export interface Session {
  /** Names it without opening anything. */
  id: string;
  user: { id: UserId; email: string; name: string };
  /** Milliseconds since the epoch. */
  expiresAt: number;
  memberships: Membership[];
}

const resolve = statement<{
  user_id: UserId;
  email: string;
  name: string;
  expires_at: Date;
  tenant_id: string | null;
  tenant_name: string;
  member_id: string;
  role: Role;
  session_id: string;
}>("resolve_session", "select * from resolve_session($1)");

/**
 * Who a request's cookie speaks for; null when it is not signed by us, or its session was revoked or has ended. Asked
 * anew with every request, in one round trip: what was revoked or changed counts at once. Needs none of better-auth,
 * which is loaded for signing in only.
 */
export async function resolveSession(
  services: Pick<Services, "db" | "secrets" | "accounts">,
  cookieHeader: string | null | undefined,
): Promise<Session | null> {
  const token = sessionTokenOf(services.secrets, services.accounts.isSecure, cookieHeader);
  if (token === null) return null;
  const rows = await services.db.query(resolve, [token.replaceAll("\u0000", "")]);
  const [first] = rows;
  if (!first) return null;
  return {
    id: first.session_id,
    user: { id: first.user_id, email: first.email, name: first.name },
    expiresAt: first.expires_at.getTime(),
    memberships: rows.flatMap((row) =>
      row.tenant_id === null
        ? []
        : [
            {
              tenantId: idOf("tenant", row.tenant_id),
              tenantName: row.tenant_name,
              memberId: idOf("member", row.member_id),
              role: row.role,
            },
          ],
    ),
  };
}
