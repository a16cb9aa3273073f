-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_limit: limit what runs, and what begins in a period, of a queue, of a worker in it, or of its groups.
--
-- In force at once, for all runners; kept until it is changed. What runs goes on. A call sets all of a limit: what it does
-- not give is not limited, and one that gives nothing removes the limit.
--
-- How many run is counted from the claims, under the lock that claims have, so it is exact; so is a rate, in whatever
-- window: what counts is when jobs are claimed. What the server forgets in a crash, claims of its last moment (see bt_claim),
-- is forgotten there too: those jobs begin again, and count again.
--
-- p_queue       the queue
-- p_worker      limit this worker in it; by p_running only
-- p_group       limit this group, whatever p_groups says
-- p_groups      limit each group of the queue that has no limit of its own; for none of the three, limit the queue
-- p_running     how many may run at once; 0: none
-- p_rate        how many may begin in
-- p_period      that time
-- p_on_failure  of groups: wait, while a failed job waits for its next try nothing passes it; go_on, it keeps no place;
--               null: wait if p_running is 1, go_on otherwise
-- p_max_depth   of the queue: how many may wait, about; see bt_put_special. Of the first one in a database sessions that
--               enqueue all the time know within a second
-- p_on_depth    what becomes of more: refuse (null too), or drop
-- returns       whether this changed anything
-- raises        22023 invalid_parameter_value
create or replace function bt_limit(
    p_queue      text,
    p_worker     text default null,
    p_group      text default null,
    p_groups     boolean default false,
    p_running    int default null,
    p_rate       int default null,
    p_period     interval default null,
    p_on_failure text default null,
    p_max_depth  int default null,
    p_on_depth   text default null
)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_kind constant text := case
        when p_worker is not null then 'worker'
        when p_group is not null then 'group'
        when p_groups then 'groups'
        else 'queue'
    end;
    v_name constant text := coalesce(p_worker, p_group, '');
begin
    perform bt_check_queue('bt_limit', p_queue);
    if num_nonnulls(p_worker, p_group, nullif(p_groups, false)) > 1 or v_name = '' and v_kind in ('worker', 'group')
        or char_length(v_name) > 200
    then
        raise exception 'bt_limit: given %', concat_ws(', ', 'worker "' || left(p_worker, 60) || '"',
                'group "' || left(p_group, 60) || '"', 'groups ' || p_groups)
            using errcode = 'invalid_parameter_value',
                  hint = 'Give one of the three, or none to limit the queue; names have 1 to 200 characters.';
    end if;
    if p_running < 0 or p_rate < 1 or p_period <= interval '0' or (p_rate is null) <> (p_period is null)
        or p_period > interval '1 year'
    then
        raise exception 'bt_limit: %', concat_ws(', ', 'running is ' || p_running, 'rate is ' || p_rate, 'period is ' || p_period)
            using errcode = 'invalid_parameter_value',
                  hint = 'running is at least 0; rate at least 1, in a period of more than 0 and at most a year.';
    end if;
    if p_on_failure not in ('wait', 'go_on') or p_on_failure is not null and v_kind not in ('group', 'groups') then
        raise exception 'bt_limit: on_failure is "%", of a %', left(p_on_failure, 60), v_kind
            using errcode = 'invalid_parameter_value', hint = 'on_failure must be wait or go_on, and is for groups.';
    end if;
    if p_max_depth < 1 or p_on_depth not in ('refuse', 'drop') or p_on_depth is not null and p_max_depth is null
        or p_max_depth is not null and v_kind <> 'queue'
    then
        raise exception 'bt_limit: %, of a %', concat_ws(', ', 'max_depth is ' || p_max_depth,
                'on_depth is "' || left(p_on_depth, 60) || '"'), v_kind
            using errcode = 'invalid_parameter_value',
                  hint = 'max_depth is at least 1, and on_depth refuse or drop; both are for queues.';
    end if;
    if v_kind = 'worker' and p_rate is not null then
        raise exception 'bt_limit: rate is % in %, of the worker "%"', p_rate, p_period, left(p_worker, 60)
            using errcode = 'invalid_parameter_value', hint = 'Rates are for queues and groups: give the worker a queue of its own.';
    end if;

    perform bt_tell_near(p_queue, p_worker);
    if num_nonnulls(p_running, p_rate, p_on_failure, p_max_depth) = 0 then
        delete from backtick_limit where kind = v_kind and queue = p_queue and name = v_name;
    else
        insert into backtick_limit as stored (
            kind, queue, name, running, rate, period, on_failure, max_depth, on_depth, set_at, set_by)
        values (
            v_kind, p_queue, v_name, p_running, p_rate, p_period, p_on_failure, p_max_depth, p_on_depth, bt_now(), bt_role())
        on conflict (kind, queue, name) do update
            set running = excluded.running,
                rate = excluded.rate,
                period = excluded.period,
                on_failure = excluded.on_failure,
                max_depth = excluded.max_depth,
                on_depth = excluded.on_depth,
                set_at = excluded.set_at,
                set_by = excluded.set_by
            where (stored.running, stored.rate, stored.period, stored.on_failure, stored.max_depth, stored.on_depth)
                is distinct from (
                    excluded.running, excluded.rate, excluded.period, excluded.on_failure, excluded.max_depth, excluded.on_depth);
    end if;
    if not found then
        return false;
    end if;
    perform set_config('backtick.unbounded_' || 'backtick_limit'::regclass::oid, '', false);  -- see bt_put_job

    -- First the row is locked, then it is read what there is: of two calls side by side the second one counts.
    insert into backtick_setting (queue) values (p_queue) on conflict (queue) do update set queue = excluded.queue;
    update backtick_setting as setting
    set has_limits = exists (
            select from backtick_limit as limits
            where limits.queue = p_queue
              and (limits.kind in ('queue', 'worker') and limits.running is not null or limits.rate is not null)
        ),
        is_closing = setting.is_closing or v_kind in ('group', 'groups')
    where setting.queue = p_queue;

    if v_kind = 'group' then
        insert into backtick_opening (queue, group_keys, noted_at) values (p_queue, array[p_group], bt_now());
    elsif v_kind = 'groups' then
        perform bt_note_groups(p_queue);
    end if;
    perform bt_wake(p_queue, bt_now());
    return true;
end;
$$;
comment on function bt_limit is 'Limit what runs, and what begins in a period, of a queue, a worker in it, or its groups; false if it was so already.';

-- bt_limits: the limits, and how many run of each now.
--
-- p_queue   of this queue; null: of all
-- returns   as in backtick_limit; runs: how many run now, null for the groups as such
create or replace function bt_limits(p_queue text default null)
    returns table (
        queue text, kind text, name text, running int, rate int, period interval, on_failure text, max_depth int,
        on_depth text, depth bigint, set_at timestamptz, set_by text, runs bigint
    )
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    with held as materialized (
        select claim.queue, job.name, job.group_key
        from backtick_claim as claim
        cross join unnest(claim.jobs) as held (id)
        cross join lateral (
            select job.name, job.group_key from backtick_queue as job where job.id = held.id offset 0
        ) as job
        where exists (select from backtick_limit)
    )
    select limits.queue, limits.kind, nullif(limits.name, ''), limits.running, limits.rate, limits.period, limits.on_failure,
           limits.max_depth, limits.on_depth, limits.depth, limits.set_at, limits.set_by,
           case when limits.kind <> 'groups' then (
               select count(*)
               from held
               where held.queue = limits.queue
                 and case limits.kind
                     when 'worker' then held.name = limits.name
                     when 'group' then held.group_key = limits.name
                     else true
                 end
           ) end
    from backtick_limit as limits
    where p_queue is null
       or limits.queue = p_queue
    order by limits.queue, array_position('{queue,worker,groups,group}', limits.kind), limits.name
$$;
comment on function bt_limits is 'The limits, and how many run of each now.';
