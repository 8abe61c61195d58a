import type { Role } from "@agent-engine/protocol/administration.ts";
import type { Actor } from "../context.ts";

/** What a member may be, the most powerful first. */
export const ROLES = ["owner", "admin", "operator", "viewer"] as const satisfies readonly Role[];

const EVERYBODY = ROLES;
const OPERATORS = ["owner", "admin", "operator"] as const;
const ADMINS = ["owner", "admin"] as const;

/**
 * The one table of who may do what: permission → roles. A secret key's scopes are the same permissions, so a route names
 * one and means both. Routes refuse by it; the console shows by it.
 */
export const PERMISSIONS = {
  "agents:read": EVERYBODY,
  "agents:write": ADMINS,
  "runs:read": EVERYBODY,
  "runs:write": OPERATORS,
  "conversations:read": EVERYBODY,
  "conversations:write": OPERATORS,
  "documents:read": EVERYBODY,
  "documents:write": ADMINS,
  "sites:read": EVERYBODY,
  "sites:write": ADMINS,
  "visitors:read": EVERYBODY,
  "visitors:write": ADMINS,
  "tenant:read": EVERYBODY,
  "tenant:write": ADMINS,
  "members:read": EVERYBODY,
  "members:write": ADMINS,
  "api-keys:read": ADMINS,
  "api-keys:write": ADMINS,
  "toolkits:read": EVERYBODY,
  "toolkits:write": ADMINS,
  "connections:read": EVERYBODY,
  "connections:write": ADMINS,
  "budgets:read": EVERYBODY,
  "budgets:write": ADMINS,
  "usage:read": EVERYBODY,
  "provider-keys:read": ADMINS,
  "provider-keys:write": ADMINS,
  "audit:read": ADMINS,
} as const satisfies Record<string, readonly Role[]>;

export type Permission = keyof typeof PERMISSIONS;

/** What a secret key may be allowed. `*` is everything, what comes later too. */
export type ApiKeyScope = Permission | "*";

const ALL = Object.keys(PERMISSIONS) as Permission[];
export const API_KEY_SCOPES: readonly ApiKeyScope[] = ["*", ...ALL];

/** Everything a role allows. */
export function permissionsOfRole(role: Role): Permission[] {
  return ALL.filter((permission) => (PERMISSIONS[permission] as readonly Role[]).includes(role));
}

/** Everything an actor of the tenant may do. A visitor's few routes are named by the routes themselves. */
export function permissionsOf(actor: Actor): Permission[] {
  switch (actor.kind) {
    case "member":
      return permissionsOfRole(actor.role);
    case "secret_key":
      return actor.scopes.includes("*") ? [...ALL] : ALL.filter((permission) => actor.scopes.includes(permission));
    case "worker":
      return [...ALL];
    case "visitor":
      return [];
  }
}

/** Whether a member's role or a key's scopes allow it. */
export function isAllowed(actor: Actor, permission: Permission): boolean {
  return permissionsOf(actor).includes(permission);
}

/** Whether an actor has everything these scopes give: nobody hands out more than they have. */
export function covers(actor: Actor, scopes: readonly string[]): boolean {
  if (hasEverything(actor)) return true;
  const own: readonly string[] = permissionsOf(actor);
  return scopes.every((scope) => own.includes(scope));
}

/** Owners, keys with `*`, and the platform itself: those who may make an owner, or a key that may do everything. */
export function hasEverything(actor: Actor): boolean {
  switch (actor.kind) {
    case "member":
      return actor.role === "owner";
    case "secret_key":
      return actor.scopes.includes("*");
    case "worker":
      return true;
    case "visitor":
      return false;
  }
}
