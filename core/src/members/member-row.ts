import type { Member, Role } from "@agent-engine/protocol/administration.ts";
import { idOf } from "../ids.ts";

export interface MemberRow {
  id: string;
  user_id: string | null;
  email: string;
  name: string | null;
  role: Role;
  invitation_expires_at: Date | null;
  created_at: Date;
  joined_at: Date | null;
}

export const MEMBER_COLUMNS = "id, user_id, email, name, role, invitation_expires_at, created_at, joined_at";

export function toMember(row: MemberRow): Member {
  return {
    id: idOf("member", row.id),
    email: row.email,
    name: row.name,
    role: row.role,
    status: row.user_id === null ? "invited" : "active",
    invitationExpiresAt: row.invitation_expires_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    joinedAt: row.joined_at?.toISOString() ?? null,
  };
}
