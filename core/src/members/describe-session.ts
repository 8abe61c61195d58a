import type { Me } from "@agent-engine/protocol/administration.ts";
import { permissionsOfRole } from "./permissions.ts";
import type { Membership, Session } from "./resolve-session.ts";

/** Who is signed in, where they may go, and what they may do in the tenant the request speaks for. */
export function describeSession({ user, memberships }: Session, chosen: Membership | null): Me {
  return {
    user: { id: user.id, email: user.email, name: user.name },
    member: chosen && { id: chosen.memberId, tenantId: chosen.tenantId, role: chosen.role },
    tenants: memberships.map(({ tenantId, tenantName, role }) => ({ id: tenantId, name: tenantName, role })),
    permissions: chosen ? permissionsOfRole(chosen.role) : [],
  };
}
