-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_enqueue_many: queue many jobs of one worker at once; all or, on an error, none.
--
-- p_args     text[], json[] or jsonb[]: the arguments of one job an element, as bt_enqueue takes them
-- p_keys     the key of each job, null where one has none; null: none has
-- others     as bt_enqueue, and they hold for every job
-- returns    the jobs' ids, in the order of p_args
-- raises     22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_enqueue_many(text, anycompatiblearray, text, timestamptz, int, int);  -- of version 3
drop function if exists bt_enqueue_many(text, anycompatiblearray, text, timestamptz, int, int, boolean, text[], timestamptz, interval);
drop function if exists bt_enqueue_many(text, anycompatiblearray, text, timestamptz, int, int, boolean, text[], timestamptz, interval, text, text[], text, boolean, interval, interval, bigint[], text, bigint);
create or replace function bt_enqueue_many(
    p_name      text,
    p_args      anycompatiblearray,
    p_queue     text default 'default',
    p_run_at    timestamptz default null,
    p_priority  int default 5,
    p_max_tries int default null,
    p_wake      boolean default true,
    p_tags      text[] default null,
    p_expires_at timestamptz default null,
    p_expires_in interval default null,
    p_group     text default null,
    p_keys      text[] default null,
    p_on_conflict text default null,
    p_successor boolean default null,
    p_max_wait  interval default null,
    p_unique_for interval default null,
    p_after     bigint[] default null,
    p_after_failure text default null,
    p_batch     bigint default null,
    p_headers   jsonb default null
)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_expires_in is not null then
        p_expires_at := bt_expiry(p_run_at, p_expires_at, p_expires_in);
    end if;
    if num_nonnulls(
        p_group, p_keys, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after, p_after_failure, p_batch) > 0
    then
        return query
            select put.id
            from bt_put_special(
                p_name, p_args::text[], p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at,
                p_group, p_keys, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after, p_after_failure,
                p_batch, p_headers => p_headers) as put
            order by put.place;
        return;
    end if;
    return query select bt_put_jobs(
        p_name, p_args::text[], p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at, p_headers);
end;
$$;
comment on function bt_enqueue_many is 'Queue many jobs of one worker in the caller''s transaction; returns their ids in order.';

-- bt_put_jobs: queue many jobs, for bt_enqueue_many; parameters as there. Apart for safety: see bt_put_job.
drop function if exists bt_put_jobs(text, text[], text, timestamptz, int, int);  -- of version 3
drop function if exists bt_put_jobs(text, text[], text, timestamptz, int, int, boolean);
drop function if exists bt_put_jobs(text, text[], text, timestamptz, int, int, boolean, text[], timestamptz);
create or replace function bt_put_jobs(
    p_name      text,
    p_args      text[],
    p_queue     text,
    p_run_at    timestamptz,
    p_priority  int,
    p_max_tries int,
    p_wake      boolean,
    p_tags      text[],
    p_expires_at timestamptz,
    p_headers   jsonb default null
)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now  timestamptz := bt_now();
    v_args json[] := bt_check_args(p_args);
begin
    if p_queue is null or p_priority is null then
        select coalesce(p_queue, home.queue, 'default'), coalesce(p_priority, home.priority, 5)
        into p_queue, p_priority
        from (select) as one
        left join backtick_worker as home on home.name = p_name;
    end if;
    perform bt_check_job(p_name, '[]', p_queue, p_run_at, p_priority, p_max_tries, p_expires_at, p_tags);
    p_headers := bt_check_headers(p_headers);

    if exists (
        select from backtick_limit as one
        where one.kind = 'queue' and one.queue = p_queue and one.name = '' and one.max_depth is not null
    ) then
        return query
            select put.id
            from bt_put_special(
                p_name, p_args, p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at,
                p_headers => p_headers) as put
            order by put.place;
        return;
    end if;

    return query
        insert into backtick_queue (queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, headers)
        select p_queue, p_name, item.args, p_priority, coalesce(p_run_at, v_now), p_max_tries, v_now, p_expires_at,
               nullif(p_tags, '{}'), p_headers
        from unnest(v_args) with ordinality as item (args, place)
        order by item.place
        returning id;
    if coalesce(p_run_at, v_now) < bt_now() - interval '10 ms' then  -- below floors: see bt_floor
        insert into backtick_freed (queue, priority, run_at, job, freed_at)
        values (p_queue, p_priority, coalesce(p_run_at, v_now), 0, v_now);
    end if;

    if p_wake then
        perform bt_wake(p_queue, coalesce(p_run_at, v_now));
    end if;
end;
$$;
comment on function bt_put_jobs is 'Queue many jobs, for bt_enqueue_many; returns their ids in order.';

-- bt_check_args: the arguments of many jobs as JSON; in one pass. The first bad ones get the words of bt_check_job.
--
-- raises    22004 null_value_not_allowed, 22023 invalid_parameter_value
create or replace function bt_check_args(p_args text[])
    returns json[]
    language plpgsql
    immutable
    set search_path from current
as $$
declare
    v_args json[];
    v_bad  json;
begin
    if p_args is null then
        raise exception 'bt_enqueue_many: p_args must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass an array with one element a job.';
    end if;
    begin
        v_args := p_args::json[];
    exception when invalid_text_representation then
        raise exception 'bt_enqueue_many: args are not JSON: %', left(p_args::text, 60)
            using errcode = 'invalid_parameter_value',
                  hint = 'Each element is JSON of its own: array[''[1, 2]'', ''[3, 4]''].';
    end;
    select args into v_bad
    from unnest(v_args) with ordinality as item (args, place)
    where args is null
       or json_typeof(args) not in ('array', 'object')
       or octet_length(args::text) > 16777216
    order by place
    limit 1;
    if found then
        perform bt_check_job('worker', v_bad, 'default', null, 5, null);
    end if;
    return v_args;
end;
$$;
comment on function bt_check_args is 'The arguments of many jobs as JSON; an error if some are none.';
