import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** What runs use and what it costs, budgets for it, and the tenants' own prices. */
export class BudgetsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(countSteps);
    await this.execute(holds);
    await this.execute(reserve);
    await this.execute(settle);
    await this.execute(lookups(roles));
  }
}

function tables(roles: Roles): string {
  return `
    -- One row a model turn, written with the step it belongs to; it stays when the conversation goes. The key is what
    -- reports and new budgets read by.
    create table usage (
      tenant_id uuid not null references tenants on delete cascade,
      at timestamptz(3) not null default now(),
      id uuid not null default uuidv7(),
      run_id uuid not null,
      step_index int not null,
      agent_id uuid not null,
      visitor_id uuid,
      provider text,
      model text,
      input_tokens bigint not null default 0,
      output_tokens bigint not null default 0,
      total_tokens bigint not null default 0,
      reasoning_tokens bigint not null default 0,
      cached_input_tokens bigint not null default 0,
      -- Null: the model has no price.
      cost_micros bigint,
      -- The turn was cut short, and the vendor said nothing: counted by what was sent and what had come.
      is_estimated boolean not null default false,
      primary key (tenant_id, at, id)
    );

    create table model_prices (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      model text not null,
      -- Micro-dollars a token, which is dollars a million tokens.
      input numeric(12, 6) not null check (input >= 0),
      cached_input numeric(12, 6) not null check (cached_input >= 0),
      output numeric(12, 6) not null check (output >= 0),
      created_at timestamptz(3) not null default now(),
      unique (tenant_id, model)
    );

    create table budgets (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      name text not null,
      subject text not null check (subject in ('tenant', 'agent', 'visitor')),
      -- Which agent or visitor; null: each one by itself.
      subject_id uuid,
      period text not null check (period in ('day', 'month')),
      max_runs bigint check (max_runs >= 0),
      max_tokens bigint check (max_tokens >= 0),
      max_cost_micros bigint check (max_cost_micros >= 0),
      -- Per cent of a maximum from which on something is done; null: never.
      warn_at int check (warn_at between 1 and 100),
      fallback_at int check (fallback_at between 1 and 100),
      without_tools_at int check (without_tools_at between 1 and 100),
      fallback_model jsonb,
      created_at timestamptz(3) not null default now(),
      check (coalesce(max_runs, max_tokens, max_cost_micros) is not null),
      check (subject <> 'tenant' or subject_id is null)
    );
    create index on budgets (tenant_id, id);

    -- What a subject has used of a budget in one day or month, and what steps under way may use besides.
    create table budget_periods (
      budget_id uuid not null references budgets on delete cascade,
      subject_id uuid not null,
      starts_on date not null,
      tenant_id uuid not null,
      runs bigint not null,
      tokens bigint not null,
      cost_micros bigint not null,
      held_tokens bigint not null default 0,
      held_cost_micros bigint not null default 0,
      -- How far up the ladder it has been seen.
      rung int not null default 0,
      primary key (budget_id, subject_id, starts_on)
    );
    create index on budget_periods (tenant_id);
    create index on budget_periods (starts_on);

    -- What a run's model call under way may use: one a run, since a run makes one call at a time. It stays when the call
    -- has ended, so that a run is counted once.
    create table budget_holds (
      run_id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      conversation_id uuid not null,
      epoch int not null,
      -- Of the run's calls: whoever settles names it, so that it happens once.
      number int not null,
      state text not null check (state in ('held', 'released', 'settled')),
      tokens bigint not null,
      cost_micros bigint not null,
      budget_ids uuid[] not null,
      subject_ids uuid[] not null,
      starts_on date[] not null,
      changed_at timestamptz(3) not null default now(),
      -- Since when nobody's, as far as anybody looked: its worker may still be about to say what it used.
      stale_since timestamptz(3)
    );
    create index budget_holds_under_way on budget_holds (tenant_id) where state = 'held';
    create index on budget_holds (changed_at);

    ${tenantTable("usage", roles, "select, insert, update (visitor_id)")}
    ${tenantTable("model_prices", roles, "select, insert, update (input, cached_input, output), delete")}
    ${tenantTable("budgets", roles, "select, insert, update, delete")}
    ${tenantTable("budget_periods", roles, "select, insert, update, delete")}
    ${tenantTable("budget_holds", roles, "select, insert, update")}
    grant select on model_prices, budgets to ${roles.system};
    grant select, delete on budget_holds, budget_periods to ${roles.system};
  `;
}

const countSteps = `
  -- With the step, in whichever transaction records it: nobody makes a step without its usage, and it costs no round trip.
  -- Simple statements, each by a key: joined, Postgres may take the tenant's whole table for one row.
  create function count_usage() returns trigger language plpgsql as $$
  declare
    of_agent uuid;
    of_conversation uuid;
    of_visitor uuid;
  begin
    select r.agent_id, r.conversation_id into of_agent, of_conversation from runs r where r.id = new.run_id;
    select c.visitor_id into of_visitor from conversations c where c.id = of_conversation;
    insert into usage (tenant_id, run_id, step_index, agent_id, visitor_id, provider, model,
        input_tokens, output_tokens, total_tokens, reasoning_tokens, cached_input_tokens, cost_micros)
      select new.tenant_id, new.run_id, new.step_index, of_agent, of_visitor, u->>'provider', u->>'model',
        coalesce((u->>'inputTokens')::bigint, 0), coalesce((u->>'outputTokens')::bigint, 0),
        coalesce((u->>'totalTokens')::bigint, coalesce((u->>'inputTokens')::bigint, 0) + coalesce((u->>'outputTokens')::bigint, 0)),
        coalesce((u->>'reasoningTokens')::bigint, 0), coalesce((u->>'cachedInputTokens')::bigint, 0), (u->>'costMicros')::bigint
      from jsonb_array_elements(new.usage) u;
    return null;
  end $$;
  create trigger steps_count_usage after insert on steps for each row when (new.usage <> '[]') execute function count_usage();
`;

const holds = `
  -- Takes what a run holds off its periods.
  create function release_hold(hold budget_holds, new_state text) returns void language plpgsql as $$
  begin
    update budget_periods p set held_tokens = p.held_tokens - hold.tokens, held_cost_micros = p.held_cost_micros - hold.cost_micros
      from unnest(hold.budget_ids, hold.subject_ids, hold.starts_on) as t (budget_id, subject_id, starts_on)
      where p.budget_id = t.budget_id and p.subject_id = t.subject_id and p.starts_on = t.starts_on;
    update budget_holds h set state = new_state, changed_at = now() where h.run_id = hold.run_id;
  end $$;

  -- Those whose run has ended, was cancelled or is another worker's, and that nobody settled for a while: whoever made the
  -- call is gone. Answers how many.
  create function release_stale_holds(in_tenant uuid) returns int language plpgsql as $$
  declare
    hold budget_holds%rowtype;
    released int := 0;
  begin
    for hold in select h.* from budget_holds h where h.tenant_id = in_tenant and h.state = 'held' and not exists (
        select 1 from conversation_heads c where c.conversation_id = h.conversation_id and c.run_id = h.run_id and c.epoch = h.epoch)
    loop
      if hold.stale_since is null then
        update budget_holds h set stale_since = now() where h.run_id = hold.run_id;
      elsif hold.stale_since < now() - interval '5 seconds' then
        perform release_hold(hold, 'released');
        released := released + 1;
      end if;
    end loop;
    return released;
  end $$;
`;

const reserve = `
  -- Before a model call: takes what it may use out of every budget that concerns the run, or out of none. One at a time for
  -- a tenant. \`granted\`; \`busy\`: what is left is held by steps under way, so ask again; \`spent\`; \`lost\`: another
  -- worker has the run. \`news\`: the budgets that climbed a rung just now, for the first time in their period.
  --
  -- A call is granted when its estimate fits, and also when it does not as long as nobody else holds anything: so a budget
  -- is used to its end, and overspent by one step at most.
  create function reserve_budget(
    in_tenant uuid, of_run uuid, of_conversation uuid, of_agent uuid, of_visitor uuid, fence_epoch int,
    at timestamptz, estimated_tokens bigint, estimated_cost_micros bigint
  ) returns table (outcome text, number int, rung int, fallback_model jsonb, foremost json, news json)
  language plpgsql as $$
  #variable_conflict use_column
  declare
    budget budgets%rowtype;
    used budget_periods%rowtype;
    hold budget_holds%rowtype;
    is_new boolean;
    of_subject uuid;
    begins date;
    budget_ids uuid[];
    subject_ids uuid[];
    starts date[];
    is_busy boolean;
    share numeric;
    metric text;
    its_rung int;
    top_rung int;
    top_share numeric;
    top json;
    fallback jsonb;
    climbed json[] := '{}';
    entry json;
  begin
    perform set_config('app.tenant_id', in_tenant::text, true);
    perform pg_advisory_xact_lock(hashtextextended('agent-engine:budgets:' || in_tenant, 0));
    select h.* into hold from budget_holds h where h.run_id = of_run;
    is_new := not found;
    if not is_new and hold.epoch > fence_epoch then
      return query select 'lost', 0, 0, null::jsonb, null::json, null::json;
      return;
    end if;
    -- Of a worker that died, or of an attempt that nobody settled.
    if hold.state = 'held' then perform release_hold(hold, 'released'); end if;

    for look in 1..2 loop
      budget_ids := '{}'; subject_ids := '{}'; starts := '{}';
      is_busy := false; top_rung := 0; top_share := -1; top := null; fallback := null;
      for budget in select b.* from budgets b where b.tenant_id = in_tenant order by b.id loop
        of_subject := case budget.subject when 'tenant' then in_tenant when 'agent' then of_agent else of_visitor end;
        continue when of_subject is null or (budget.subject_id is not null and budget.subject_id <> of_subject);
        begins := date_trunc(budget.period, at at time zone 'utc')::date;
        select p.* into used from budget_periods p
          where p.budget_id = budget.id and p.subject_id = of_subject and p.starts_on = begins;
        if not found then
          -- A new budget counts what was used before it was made.
          insert into budget_periods (budget_id, subject_id, starts_on, tenant_id, runs, tokens, cost_micros)
            select budget.id, of_subject, begins, in_tenant, count(distinct u.run_id), coalesce(sum(u.total_tokens), 0),
              coalesce(sum(u.cost_micros), 0)
            from usage u where u.tenant_id = in_tenant and u.at >= begins::timestamp at time zone 'utc'
              and (budget.subject = 'tenant' or budget.subject = 'agent' and u.agent_id = of_subject
                or budget.subject = 'visitor' and u.visitor_id = of_subject)
            returning * into used;
        end if;
        budget_ids := budget_ids || budget.id;
        subject_ids := subject_ids || of_subject;
        starts := starts || begins;

        select s.metric, s.share into metric, share from (values
            -- A run that has begun is counted already: what holds it back are the others.
            ('runs', (used.runs - case when is_new then 0 else least(used.runs, 1) end)::numeric / nullif(budget.max_runs, 0), budget.max_runs),
            ('tokens', (used.tokens + used.held_tokens)::numeric / nullif(budget.max_tokens, 0), budget.max_tokens),
            ('cost', (used.cost_micros + used.held_cost_micros)::numeric / nullif(budget.max_cost_micros, 0), budget.max_cost_micros)
          ) as s (metric, share, maximum) where s.maximum is not null order by coalesce(s.share, 'infinity') desc limit 1;
        share := coalesce(share, 1);
        its_rung := case
          when is_new and used.runs >= budget.max_runs or used.tokens >= budget.max_tokens
            or used.cost_micros >= budget.max_cost_micros then 4
          when share * 100 >= budget.without_tools_at then 3
          when share * 100 >= budget.fallback_at and budget.fallback_model is not null then 2
          when share * 100 >= budget.warn_at then 1
          else 0 end;
        entry := json_build_object('budgetId', budget.id, 'name', budget.name, 'subject', budget.subject, 'subjectId', of_subject,
          'period', budget.period, 'startsOn', begins, 'metric', metric, 'percent', floor(share * 100), 'rung', its_rung);
        if its_rung > used.rung then
          climbed := climbed || entry;
          update budget_periods p set rung = its_rung
            where p.budget_id = budget.id and p.subject_id = of_subject and p.starts_on = begins;
        end if;
        if its_rung > top_rung or its_rung = top_rung and share > top_share then
          top_rung := its_rung; top_share := share; top := entry;
        end if;
        if its_rung >= 2 and share * 100 >= budget.fallback_at then fallback := coalesce(fallback, budget.fallback_model); end if;
        if (used.held_tokens > 0 or used.held_cost_micros > 0) and (
            used.tokens + used.held_tokens + estimated_tokens > budget.max_tokens
            or used.cost_micros + used.held_cost_micros + estimated_cost_micros > budget.max_cost_micros) then
          is_busy := true;
        end if;
      end loop;
      exit when top_rung = 4 or not is_busy;
      exit when look = 2 or release_stale_holds(in_tenant) = 0;
    end loop;

    if top_rung = 4 or is_busy then
      return query select case when top_rung = 4 then 'spent' else 'busy' end, 0, top_rung, null::jsonb, top, array_to_json(climbed);
      return;
    end if;
    if cardinality(budget_ids) = 0 then
      return query select 'granted', 0, 0, null::jsonb, null::json, null::json;
      return;
    end if;
    update budget_periods p set runs = p.runs + case when is_new then 1 else 0 end,
        held_tokens = p.held_tokens + estimated_tokens, held_cost_micros = p.held_cost_micros + estimated_cost_micros
      from unnest(budget_ids, subject_ids, starts) as t (budget_id, subject_id, starts_on)
      where p.budget_id = t.budget_id and p.subject_id = t.subject_id and p.starts_on = t.starts_on;
    insert into budget_holds as h
        (run_id, tenant_id, conversation_id, epoch, number, state, tokens, cost_micros, budget_ids, subject_ids, starts_on)
      values (of_run, in_tenant, of_conversation, fence_epoch, 1, 'held', estimated_tokens, estimated_cost_micros,
        budget_ids, subject_ids, starts)
      on conflict (run_id) do update set epoch = excluded.epoch, number = h.number + 1, state = 'held', tokens = excluded.tokens,
        cost_micros = excluded.cost_micros, budget_ids = excluded.budget_ids, subject_ids = excluded.subject_ids,
        starts_on = excluded.starts_on, changed_at = now(), stale_since = null
      returning * into hold;
    return query select 'granted', hold.number, top_rung, fallback, top, array_to_json(climbed);
  end $$;
`;

const settle = `
  -- After a model call: what it used takes the place of what was held for it. Once, however often it is said; also when the
  -- run was cancelled meanwhile. An estimated one is put on the account here: no step will tell of it.
  create function settle_budget(
    in_tenant uuid, of_run uuid, of_number int, of_agent uuid, of_visitor uuid, of_step int,
    used_tokens bigint, used_cost_micros bigint, estimate json
  ) returns boolean language plpgsql as $$
  declare
    hold budget_holds%rowtype;
  begin
    perform set_config('app.tenant_id', in_tenant::text, true);
    perform pg_advisory_xact_lock(hashtextextended('agent-engine:budgets:' || in_tenant, 0));
    select h.* into hold from budget_holds h where h.run_id = of_run;
    if not found or hold.number <> of_number or hold.state = 'settled' then return false; end if;
    if hold.state = 'held' then perform release_hold(hold, 'settled');
    else update budget_holds h set state = 'settled', changed_at = now() where h.run_id = of_run;
    end if;
    update budget_periods p set tokens = p.tokens + used_tokens, cost_micros = p.cost_micros + used_cost_micros
      from unnest(hold.budget_ids, hold.subject_ids, hold.starts_on) as t (budget_id, subject_id, starts_on)
      where p.budget_id = t.budget_id and p.subject_id = t.subject_id and p.starts_on = t.starts_on;
    if estimate is not null then
      insert into usage (tenant_id, run_id, step_index, agent_id, visitor_id, provider, model, input_tokens, output_tokens,
          total_tokens, cost_micros, is_estimated)
        values (in_tenant, of_run, of_step, of_agent, of_visitor, estimate->>'provider', estimate->>'model',
          (estimate->>'inputTokens')::bigint, (estimate->>'outputTokens')::bigint, used_tokens, (estimate->>'costMicros')::bigint, true);
    end if;
    return true;
  end $$;
`;

function lookups(roles: Roles): string {
  const { app, system } = roles;
  return `
    -- One look-up for a tenant's runs, most of which it tells that there is nothing to mind.
    create function spending_rules_of(of_tenant uuid) returns table (has_budgets boolean, prices json)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select exists (select 1 from budgets b where b.tenant_id = of_tenant),
        (select json_agg(json_build_object('model', m.model, 'input', m.input, 'cachedInput', m.cached_input, 'output', m.output))
         from model_prices m where m.tenant_id = of_tenant)
    $$;
    -- A run that has not asked a model for so long is counted anew if it ever does. The report of what was used stays.
    create function prune_budgets(page int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from budget_holds h where h.run_id in (
        select o.run_id from budget_holds o where o.changed_at < now() - interval '62 days' and o.state <> 'held' limit page);
      get diagnostics pruned = row_count;
      delete from budget_periods p where (p.budget_id, p.subject_id, p.starts_on) in (
        select o.budget_id, o.subject_id, o.starts_on from budget_periods o where o.starts_on < now() - interval '400 days' limit page);
      return pruned;
    end $$;
    ${["spending_rules_of(uuid)", "prune_budgets(int)"]
      .map(
        (name) => `
          alter function ${name} owner to ${system};
          revoke execute on function ${name} from public;
          grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
    ${["count_usage", "release_hold", "release_stale_holds", "reserve_budget", "settle_budget"]
      .map((name) => `revoke execute on function ${name} from public; grant execute on function ${name} to ${app};`)
      .join("\n")}
  `;
}
