/** What staff see of visitors, and what a site lets its own servers say of them. */
import type { Tenant } from "./administration.ts";
import type { Visitor } from "./resources.ts";

export type Trait = string | number | boolean | null;

/** A visitor as staff see them. Names and traits are what the customer's server said last. */
export interface VisitorProfile extends Visitor {
  siteId: string | null;
  name: string | null;
  email: string | null;
  traits: Record<string, Trait>;
  /** When the customer's server last vouched for them; null: they are anonymous. */
  identifiedAt: string | null;
}

export type IdentityAlgorithm = "HS256" | "RS256" | "ES256" | "EdDSA";

/** How the identity tokens of a site are checked; `algorithm` is null where visitors cannot be identified. */
export interface SiteIdentity {
  algorithm: IdentityAlgorithm | null;
  /** Where the customer's public keys are; null with `HS256`. */
  jwksUrl: string | null;
  /** The secret's last characters, to recognize it by. */
  secretHint: string | null;
  /** Until when tokens signed with the secret before this one are good too. */
  previousSecretExpiresAt: string | null;
}

/** Answer of making and rotating a secret: the only time it is shown. */
export interface NewIdentitySecret extends SiteIdentity {
  secret: string;
}

/** `erasing`: the history is long, and the rest is done in the background. Nobody can read it meanwhile but staff. */
export interface Erasure {
  visitorId: string;
  status: "erased" | "erasing";
}

export interface TenantSettings extends Tenant {
  /** Conversations without an event for so many days are deleted; null: they are kept. */
  retentionDays: number | null;
}
