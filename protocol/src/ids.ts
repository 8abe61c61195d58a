/**
 * Ids as they appear at the API: a prefix that names the kind and 32 hex digits of a UUIDv7, so they sort by time.
 * The template-literal types make mixing two kinds a compile error.
 */
export type Id<Prefix extends string> = `${Prefix}_${string}`;

export type TenantId = Id<"tenant">;
export type SiteId = Id<"site">;
export type AgentId = Id<"agent">;
export type VisitorId = Id<"visitor">;
export type ConversationId = Id<"conv">;
export type RunId = Id<"run">;
export type ApiKeyId = Id<"key">;
/** A visitor's session: what one browser holds from its first token until it is reset. */
export type SessionId = Id<"session">;
export type MemberId = Id<"member">;
/** A person with an account, who may be a member of several tenants. */
export type UserId = Id<"user">;

const ID = /^[a-z]+_[0-9a-f]{32}$/;

/** True when `value` is a well-formed id with this prefix. */
export function isId<Prefix extends string>(prefix: Prefix, value: unknown): value is Id<Prefix> {
  return typeof value === "string" && value.startsWith(`${prefix}_`) && ID.test(value);
}
