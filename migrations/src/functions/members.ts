import type { Roles } from "../roles.ts";

/**
 * What serving processes may know of accounts: who a session belongs to, who an invitation is for, and no more. The
 * serving role has no access to the accounts themselves.
 */
export function memberFunctions({ app, system }: Roles): string {
  return `
    -- One row for each tenant the person is a member of; one without a tenant where there is none.
    create function resolve_session(session_token text)
    returns table (user_id text, email text, name text, expires_at timestamptz, tenant_id uuid, tenant_name text,
      member_id uuid, role text)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select u.id, u.email, u.name, s."expiresAt", m.tenant_id, t.name, m.id, m.role
      from auth.session s
      join auth."user" u on u.id = s."userId" and u."emailVerified"
      left join members m on m.user_id = u.id
      left join tenants t on t.id = m.tenant_id
      where s.token = session_token and s."expiresAt" > now()
      order by m.id
    $$;
    create function resolve_invitation(token_hash bytea)
    returns table (tenant_id uuid, tenant_name text, member_id uuid, email text, role text, expires_at timestamptz,
      has_account boolean)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select m.tenant_id, t.name, m.id, m.email, m.role, m.invitation_expires_at,
        exists (select 1 from auth."user" u where u.email = m.email and u."emailVerified")
      from members m join tenants t on t.id = m.tenant_id
      where m.invitation_hash = token_hash and m.user_id is null and m.invitation_expires_at > now()
    $$;
    -- A member is shown by the address and name of their account, whatever tenant they are looked at from.
    create function follow_account() returns trigger
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    begin
      if new.email is distinct from old.email then
        -- They are in already: an open invitation to their new address would be a second way in.
        delete from members open using members joined
          where joined.user_id = new.id and open.tenant_id = joined.tenant_id and open.user_id is null
            and open.email = new.email;
      end if;
      update members set email = new.email, name = new.name where user_id = new.id;
      return null;
    end $$;
    create trigger follow_account after update of email, name on auth."user"
      for each row execute function follow_account();
    ${["resolve_session(text)", "resolve_invitation(bytea)"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
    alter function follow_account() owner to ${system};
    revoke execute on function follow_account() from public;
  `;
}

/** The look-ups of keys, anew: an old key is good until its rotation's overlap ends, and a deleted site's never. */
export function rotatedKeyFunctions({ app, system }: Roles): string {
  return `
    create or replace function resolve_publishable_key(key text)
    returns table (tenant_id uuid, site_id uuid, agent_id uuid, name text, allowed_origins text[], theme jsonb)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme from sites s
      where s.publishable_key = key and s.deleted_at is null
      union all
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme from sites s
      where s.previous_publishable_key = key and s.previous_key_until > now() and s.deleted_at is null
    $$;
    create or replace function resolve_api_key(key_hash bytea)
    returns table (tenant_id uuid, api_key_id uuid, scopes text[])
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select k.tenant_id, k.id, k.scopes from api_keys k
      where k.hash = key_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
      union all
      select k.tenant_id, k.id, k.scopes from api_keys k
      where k.previous_hash = key_hash and k.previous_until > now()
        and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    $$;
    create or replace function is_origin_known(patterns text[]) returns boolean
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select exists (select 1 from sites s where s.allowed_origins && patterns and s.deleted_at is null)
    $$;
    -- Last use to the minute: a busy key's row is written once a minute, not with every request.
    create function note_api_key_use(key_ids uuid[]) returns void
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
      update api_keys set last_used_at = now()
      where id = any (key_ids) and (last_used_at is null or last_used_at <= now() - interval '1 minute')
    $$;
    alter function note_api_key_use owner to ${system};
    revoke execute on function note_api_key_use from public;
    grant execute on function note_api_key_use to ${app};
    grant update (last_used_at) on api_keys to ${system};
  `;
}
