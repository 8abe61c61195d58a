/** The resources that administer a tenant: who may come in, and through which door. */

export type Role = "owner" | "admin" | "operator" | "viewer";

/** A person of a tenant. Invited: a mail is on its way to `email`; active: they have accepted. */
export interface Member {
  id: string;
  email: string;
  name: string | null;
  role: Role;
  status: "invited" | "active";
  /** Null once accepted. */
  invitationExpiresAt: string | null;
  createdAt: string;
  joinedAt: string | null;
}

/** What somebody who was invited may know before they accept. */
export interface Invitation {
  tenant: { id: string; name: string };
  email: string;
  role: Role;
  expiresAt: string;
  /** Whether to sign in before accepting, or to choose a name and a password with it. */
  hasAccount: boolean;
}

/** Answer of `POST /v1/realtime-tokens`. */
export interface RealtimeToken {
  /** For the handshake's `auth: { token }`. */
  token: string;
  /** When it opens no socket any more; one that is open goes on. */
  expiresAt: string;
}

/** Answer of `GET /v1/me`. */
export interface Me {
  user: { id: string; email: string; name: string };
  /** Who they are in the tenant that the request speaks for; null while that is open. */
  member: { id: string; tenantId: string; role: Role } | null;
  tenants: { id: string; name: string; role: Role }[];
  /** What they may do in that tenant: the same words as the scopes of secret keys. */
  permissions: string[];
}

export interface ApiKey {
  id: string;
  name: string;
  /** How the key begins, to recognize it by. */
  prefix: string;
  scopes: string[];
  expiresAt: string | null;
  /** To the minute; null when it was never used. */
  lastUsedAt: string | null;
  /** Until when the key from before the last rotation is good too; null when it is not. */
  previousKeyExpiresAt: string | null;
  createdAt: string;
}

/** Answer of creating and rotating: the only time the key itself is shown. */
export interface NewApiKey extends ApiKey {
  key: string;
}

export interface Site {
  id: string;
  name: string;
  agentId: string;
  publishableKey: string;
  /** Until when the key from before the last rotation is good too; null when it is not. */
  previousKeyExpiresAt: string | null;
  /** Exact origins (`https://shop.example`), or all subdomains of a domain (`https://*.shop.example`). */
  allowedOrigins: string[];
  theme: Record<string, string>;
  /** What browsers must do before a new anonymous visitor is let in; null: nothing. */
  challenge: SiteChallenge | null;
  createdAt: string;
}

/** `difficulty`: leading zero bits of a hash; each doubles the work. 17 takes a computer a third of a second. */
export interface SiteChallenge {
  kind: "proof_of_work";
  difficulty: number;
}

export interface Tenant {
  id: string;
  name: string;
}
