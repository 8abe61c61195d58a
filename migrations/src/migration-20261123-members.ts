import { Migration } from "@mikro-orm/migrations";
import { memberFunctions, rotatedKeyFunctions } from "./functions/members.ts";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Accounts in a schema of their own, members, and what keys and sites need to be rotated. */
export class MembersMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    const [row] = await this.execute("select quote_ident(current_setting('engine.accounts_role')) as accounts");
    const { accounts } = row as unknown as { accounts: string };
    for (const sql of [
      accountTables(accounts, roles),
      tables(roles),
      rotatedKeyFunctions(roles),
      memberFunctions(roles),
    ]) {
      await this.execute(sql);
    }
  }
}

/**
 * better-auth's tables as its own migrator writes them (1.7.25); `core/src/members/account-schema.integration.test.ts`
 * asks it whether anything is missing. They are not a tenant's: a person may be a member of several. Only the accounts'
 * role sees them, and the role that owns functions sees what `memberFunctions` tells.
 */
function accountTables(accounts: string, { system }: Roles): string {
  return `
    create schema auth;
    create table auth."user" ("id" text not null primary key, "name" text not null, "email" text not null unique, "emailVerified" boolean not null, "image" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null);
    create table auth."session" ("id" text not null primary key, "expiresAt" timestamptz not null, "token" text not null unique, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null, "ipAddress" text, "userAgent" text, "userId" text not null references auth."user" ("id") on delete cascade);
    create table auth."account" ("id" text not null primary key, "accountId" text not null, "providerId" text not null, "userId" text not null references auth."user" ("id") on delete cascade, "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz, "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz not null);
    create table auth."verification" ("id" text not null primary key, "identifier" text not null, "value" text not null, "expiresAt" timestamptz not null, "createdAt" timestamptz default CURRENT_TIMESTAMP not null, "updatedAt" timestamptz default CURRENT_TIMESTAMP not null);
    create table auth."rateLimit" ("id" text not null primary key, "key" text not null unique, "count" integer not null, "lastRequest" bigint not null);
    create index "session_userId_idx" on auth."session" ("userId");
    create index "account_userId_idx" on auth."account" ("userId");
    create index "verification_identifier_idx" on auth."verification" ("identifier");

    grant usage on schema auth to ${accounts}, ${system};
    grant select, insert, update, delete on all tables in schema auth to ${accounts};
    grant select ("id", "name", "email", "emailVerified") on auth."user" to ${system};
    grant select ("id", "token", "expiresAt", "userId") on auth."session" to ${system};
  `;
}

function tables(roles: Roles): string {
  return `
    -- An invitation is a member without an account yet.
    create table members (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      user_id text references auth."user" on delete cascade,
      email text not null,
      name text,
      role text not null check (role in ('owner', 'admin', 'operator', 'viewer')),
      invitation_hash bytea unique,
      invitation_expires_at timestamptz(3),
      created_at timestamptz(3) not null default now(),
      joined_at timestamptz(3),
      unique (tenant_id, email),
      unique (tenant_id, user_id),
      check ((user_id is null) = (joined_at is null)),
      check ((user_id is null) = (invitation_hash is not null)),
      check ((invitation_hash is null) = (invitation_expires_at is null))
    );
    create index members_of_tenant on members (tenant_id, id);
    create index members_of_user on members (user_id) where user_id is not null;
    ${tenantTable("members", roles, "select, insert, update, delete")}
    grant select, update (email, name), delete on members to ${roles.system};

    alter table api_keys
      add column last_used_at timestamptz(3),
      add column previous_hash bytea unique,
      add column previous_until timestamptz(3);

    alter table sites
      add column previous_publishable_key text unique,
      add column previous_key_until timestamptz(3),
      -- The row stays, so that conversations go on saying where they took place.
      add column deleted_at timestamptz(3);
  `;
}
