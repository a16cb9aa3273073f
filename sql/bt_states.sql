-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_states: how many jobs a filter means in each state, for people; in a moment, however many there are.
--
-- What the planner thinks cheap is counted, else its estimate is told: a page of millions would be read, to be looked at for a
-- second. Who acts on all of them asks bt_count.
--
-- p_queue to p_text  as of bt_matching
-- returns   a row for each state, in the order of a job's life; about: {jobs} if that is an estimate
-- raises    22023 invalid_parameter_value
create or replace function bt_states(
    p_queue       text default null,
    p_name        text default null,
    p_error_class text default null,
    p_since       timestamptz default null,
    p_until       timestamptz default null,
    p_tag         text default null,
    p_group       text default null,
    p_key         text default null,
    p_batch       bigint default null,
    p_text        text default null
)
    returns table (state text, jobs bigint, about text[])
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    c_cheap constant float8 := 4000;  -- of the planner's units: some 20 ms
    v_now   constant timestamptz := bt_now();
    v_held  constant bigint[] := array(select unnest(claim.jobs) from backtick_claim as claim);
    v_where text;
    v_plan  json;
    v_runs  bigint;
begin
    perform bt_check_filter(p_queue, p_name, null, p_error_class, p_tag, p_group, p_key, p_text, null);
    for state in select unnest('{running,queued,retrying,done,exceeded,canceled}'::text[]) loop
        v_where := concat_ws(
            ' and ',
            case state
                when 'queued' then 'true'
                when 'running' then format('id = any (%L)', v_held)
                when 'retrying' then format('(tries > 0 or crashes > 0) and run_at > %L', v_now)
                else format('state = %L', state)
            end,
            'queue = ' || quote_literal(p_queue),
            'name = ' || quote_literal(p_name),
            'error ->> ''class'' = ' || quote_literal(p_error_class)
                || case when state in ('done', 'exceeded', 'canceled') then ' and error is not null' else '' end,
            case when state in ('done', 'exceeded', 'canceled') then 'finished_at' else 'created_at' end
                || ' >= ' || quote_literal(p_since),
            case when state in ('done', 'exceeded', 'canceled') then 'finished_at' else 'created_at' end
                || ' < ' || quote_literal(p_until),
            'tags @> array[' || quote_literal(p_tag) || ']',
            'group_key = ' || quote_literal(p_group),
            'key = ' || quote_literal(p_key),
            'batch = ' || quote_literal(p_batch),
            'strpos(lower(args::text), lower(' || quote_literal(p_text) || ')) > 0');
        v_where := format(
            ' from %s as job where %s',
            case when state in ('done', 'exceeded', 'canceled') then 'backtick_done' else 'backtick_queue' end, v_where);
        execute 'explain (format json) select count(*)' || v_where into v_plan;
        about := null;
        if (v_plan -> 0 -> 'Plan' ->> 'Total Cost')::float8 <= c_cheap then
            execute 'select count(*)' || v_where into jobs;
        else
            execute 'explain (format json) select' || v_where into v_plan;
            jobs := (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
            about := '{jobs}';
        end if;
        if state = 'running' then
            v_runs := jobs;
        elsif state = 'queued' then
            jobs := greatest(jobs - v_runs, 0);
        end if;
        return next;
    end loop;
end;
$$;
comment on function bt_states is 'How many jobs a filter means in each state; where that would take long, about how many.';
