import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Who visitors are: how sites let their own servers vouch for them, what is known of them, and whose sessions ended. */
export class VisitorsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    alter table visitors
      -- A site vouches for its own visitors and for no other site's, though they share a tenant.
      drop constraint visitors_tenant_id_external_id_key,
      add column name text,
      add column email text,
      add column traits jsonb not null default '{}',
      add column identified_at timestamptz(3),
      -- What was issued before is void.
      add column sessions_valid_after timestamptz(3),
      -- An anonymous visitor who turned out to be this one.
      add column merged_into uuid references visitors,
      add column erased_at timestamptz(3),
      add column erasure_finished_at timestamptz(3);
    create unique index visitor_identity on visitors (site_id, external_id) where external_id is not null;
    create index visitors_of_tenant on visitors (tenant_id, id);
    create index visitors_by_external_id on visitors (tenant_id, external_id) where external_id is not null;
    create index visitors_merged on visitors (merged_into) where merged_into is not null;

    create table site_identities (
      site_id uuid primary key references sites on delete cascade,
      tenant_id uuid not null references tenants on delete cascade,
      algorithm text not null check (algorithm in ('HS256', 'RS256', 'ES256', 'EdDSA')),
      jwks_url text,
      -- Sealed; gone when the master key they hang on was given up.
      secret_id uuid references secrets on delete set null,
      previous_secret_id uuid references secrets on delete set null,
      previous_until timestamptz(3),
      hint text,
      updated_at timestamptz(3) not null default now(),
      check ((jwks_url is not null) = (algorithm <> 'HS256'))
    );
    create index on site_identities (tenant_id);
    create index on site_identities (secret_id) where secret_id is not null;
    create index on site_identities (previous_secret_id) where previous_secret_id is not null;

    -- Identity tokens that were used, as long as they would be good. The hash says nothing of who they were for.
    create table used_identity_tokens (
      site_id uuid not null references sites on delete cascade,
      token_hash bytea not null,
      tenant_id uuid not null references tenants on delete cascade,
      session_id uuid not null,
      expires_at timestamptz(3) not null,
      primary key (site_id, token_hash)
    );
    create index on used_identity_tokens (tenant_id);
    create index on used_identity_tokens (expires_at);

    -- Whose credentials ended before their time: what every server asks for every other second. A visitor's sessions from
    -- before that moment; one session; a site whose origins changed.
    create table revocations (
      tenant_id uuid not null references tenants on delete cascade,
      kind text not null check (kind in ('visitor', 'session', 'site')),
      subject uuid not null,
      at timestamptz(3) not null default now(),
      keep_until timestamptz(3) not null,
      -- Of the transaction that wrote it: whoever has seen everything below the oldest one still open has missed nothing.
      xid xid8 not null default pg_current_xact_id(),
      primary key (tenant_id, kind, subject)
    );
    create index on revocations (xid);
    create index on revocations (keep_until);
    ${tenantTable("site_identities", roles, "select, insert, update, delete")}
    ${tenantTable("used_identity_tokens", roles, "select, insert, update (session_id)")}
    ${tenantTable("revocations", roles, "select, insert, update (at, keep_until, xid)")}
    grant select, update (session_id), delete on used_identity_tokens to ${roles.system};
    grant select, insert, update, delete on revocations to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    -- What was revoked from a transaction on, and where to go on from next: a last row of that alone. Older than any token
    -- lives is of no use to a server.
    create function revocations_since(since xid8)
    returns table (kind text, subject uuid, at timestamptz, allowed_origins text[], next xid8)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select r.kind, r.subject, r.at::timestamptz,
        case when r.kind = 'site' then coalesce(s.allowed_origins, '{}') end, null::xid8
      from revocations r left join sites s on r.kind = 'site' and s.id = r.subject and s.deleted_at is null
      where r.xid >= since and r.at > now() - interval '70 minutes'
      union all
      select null, null, null, null, pg_snapshot_xmin(pg_current_snapshot())
    $$;

    create function note_site_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    begin
      insert into revocations (tenant_id, kind, subject, keep_until)
        values (new.tenant_id, 'site', new.id, now() + interval '2 hours')
        on conflict (tenant_id, kind, subject) do update
          set at = excluded.at, keep_until = excluded.keep_until, xid = excluded.xid;
      return null;
    end $$;
    create trigger note_site_change after update of allowed_origins, deleted_at on sites for each row
      when (old.allowed_origins is distinct from new.allowed_origins or old.deleted_at is distinct from new.deleted_at)
      execute function note_site_change();

    create function prune_visitor_records(max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      tokens int;
      ended int;
    begin
      delete from used_identity_tokens u using (
          select o.site_id, o.token_hash from used_identity_tokens o where o.expires_at < now() order by o.expires_at limit max_rows
          for update skip locked
        ) old where u.site_id = old.site_id and u.token_hash = old.token_hash;
      get diagnostics tokens = row_count;
      delete from revocations r using (
          select o.tenant_id, o.kind, o.subject from revocations o where o.keep_until < now() order by o.keep_until limit max_rows
          for update skip locked
        ) old where r.tenant_id = old.tenant_id and r.kind = old.kind and r.subject = old.subject;
      get diagnostics ended = row_count;
      return tokens + ended;
    end $$;

    alter function note_site_change() owner to ${system};
    revoke execute on function note_site_change() from public;
    ${["revocations_since(xid8)", "prune_visitor_records(int)"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
