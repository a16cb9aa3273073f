-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_enqueue: queue a job.
--
-- Part of the caller's transaction: the job lives and dies with it, and runners see it at commit.
--
-- SQL cannot seal: what is given here is stored in clear (unless it was sealed before, by backtick.py), and
-- a worker that demands sealed arguments refuses it.
--
-- p_name       the worker to call, as runners know it: myjobs.log_sum
-- p_args       text, json or jsonb: an array of positional arguments, [3, 4]; an object of keyword
--              arguments, {"a": 3, "b": 4}; or both at once, the positional ones under "*": {"*": [3], "b": 4}
-- p_queue      the queue; null: the one that a runner's code declares for the worker, else default
-- p_run_at     when the job is due; null: at once
-- p_priority   0 (first) to 9; null: likewise, else 5
-- p_max_tries  tries after which the job is exceeded; null: what the worker's runner says
-- p_wake       false: no sleeping runner is told, and finds the job at its next look, after poll_ms at most. For a
--              transaction that is prepared (two-phase commit): PostgreSQL prepares none that has notified somebody
-- p_tags       words by which people find the job, at most 20 of 1 to 100 characters; null: none
-- p_expires_at when it has not begun by then, it ends as canceled; null: it may begin whenever it will. Each try must
-- p_expires_in the same, so long after it is due; one of the two
-- p_group ... p_batch  as bt_put_special, which queues the job if one of them is given
-- p_headers    an object of at most 8192 bytes, which goes with the job: trace context, tenant, locale; null: none
-- returns      the job's id; null: it was not queued, for the queue is full and drops what is too much
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_enqueue(text, anycompatible, text, timestamptz, int, int);  -- of version 3
drop function if exists bt_enqueue(text, anycompatible, text, timestamptz, int, int, boolean, text[], timestamptz, interval);
drop function if exists bt_enqueue(text, anycompatible, text, timestamptz, int, int, boolean, text[], timestamptz, interval, text, text, text, boolean, interval, interval, bigint[], text, bigint);
create or replace function bt_enqueue(
    p_name      text,
    p_args      anycompatible default '[]'::text,
    p_queue     text default 'default',
    p_run_at    timestamptz default null,
    p_priority  int default 5,
    p_max_tries int default null,
    p_wake      boolean default true,
    p_tags      text[] default null,
    p_expires_at timestamptz default null,
    p_expires_in interval default null,
    p_group     text default null,
    p_key       text default null,
    p_on_conflict text default null,
    p_successor boolean default null,
    p_max_wait  interval default null,
    p_unique_for interval default null,
    p_after     bigint[] default null,
    p_after_failure text default null,
    p_batch     bigint default null,
    p_headers   jsonb default null
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_expires_in is not null then
        p_expires_at := bt_expiry(p_run_at, p_expires_at, p_expires_in);
    end if;
    if num_nonnulls(
        p_group, p_key, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after, p_after_failure, p_batch) > 0
    then
        return (
            select put.id
            from bt_put_special(
                p_name, array[p_args::text], p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at,
                p_group, case when p_key is not null then array[p_key] end, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after, p_after_failure,
                p_batch, p_headers => p_headers) as put
        );
    end if;
    return bt_put_job(
        p_name, p_args::text, p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at, p_headers);
end;
$$;
comment on function bt_enqueue is 'Queue a job in the caller''s transaction; returns its id.';

-- bt_enqueue_unique: the same for who wants to know whether the job was made, and not only which one there is.
--
-- parameters  as of bt_enqueue
-- returns     one row: id, null if there is none; made: whether this call made the job
-- raises      as bt_put_special
drop function if exists bt_enqueue_unique(text, anycompatible, text, timestamptz, int, int, boolean, text[], timestamptz, interval, text, text, text, boolean, interval, interval, bigint[], text, bigint);
create or replace function bt_enqueue_unique(
    p_name      text,
    p_args      anycompatible default '[]'::text,
    p_queue     text default 'default',
    p_run_at    timestamptz default null,
    p_priority  int default 5,
    p_max_tries int default null,
    p_wake      boolean default true,
    p_tags      text[] default null,
    p_expires_at timestamptz default null,
    p_expires_in interval default null,
    p_group     text default null,
    p_key       text default null,
    p_on_conflict text default null,
    p_successor boolean default null,
    p_max_wait  interval default null,
    p_unique_for interval default null,
    p_after     bigint[] default null,
    p_after_failure text default null,
    p_batch     bigint default null,
    p_headers   jsonb default null
)
    returns table (id bigint, made boolean)
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    return query
        select put.id, put.made
        from bt_put_special(
            p_name, array[p_args::text], p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at, p_group,
            case when p_key is not null then array[p_key] end, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after,
            p_after_failure, p_batch, p_expires_in, p_headers) as put;
end;
$$;
comment on function bt_enqueue_unique is 'Queue a job in the caller''s transaction; returns its id, and whether it was made.';

-- bt_put_job: queue a job, for bt_enqueue; parameters as there.
--
-- Apart for safety: with roles this is a `security definer` function. Making text of a value whose type is the
-- caller's may run a function of the caller's (create cast), and so may a check of a domain of his. That happens in
-- bt_enqueue, with his own rights; what comes here is of built-in types.
drop function if exists bt_put_job(text, text, text, timestamptz, int, int);  -- of version 3
drop function if exists bt_put_job(text, text, text, timestamptz, int, int, boolean);
drop function if exists bt_put_job(text, text, text, timestamptz, int, int, boolean, text[], timestamptz);
create or replace function bt_put_job(
    p_name      text,
    p_args      text,
    p_queue     text,
    p_run_at    timestamptz,
    p_priority  int,
    p_max_tries int,
    p_wake      boolean,
    p_tags      text[],
    p_expires_at timestamptz,
    p_headers   jsonb default null
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now  timestamptz := bt_now();
    v_second text := floor(extract(epoch from v_now));
    v_args json;
    v_id   bigint;
begin
    begin
        v_args := p_args::json;
    exception when invalid_text_representation then
        raise exception 'bt_enqueue: args are not JSON: %', left(p_args, 60)
            using errcode = 'invalid_parameter_value',
                  hint = 'Pass text that is JSON, or json or jsonb: ''[3, 4]'', json_build_array(3, 4).';
    end;
    if p_queue is null or p_priority is null then
        select coalesce(p_queue, home.queue, 'default'), coalesce(p_priority, home.priority, 5)
        into p_queue, p_priority
        from (select) as one
        left join backtick_worker as home on home.name = p_name;
    end if;
    -- In one expression, for each is prepared anew in each transaction, which takes 1 us: what is in order by it, and by
    -- bt_is_job, which the table asks, is in order.
    if p_name is null or p_args is null or p_queue <> 'default' or p_priority not between 0 and 9
        or num_nonnulls(p_run_at, p_max_tries, p_expires_at, p_tags) > 0 or octet_length(p_args) > 16777216
        or char_length(p_name) not between 1 and 200 or json_typeof(v_args) not in ('array', 'object')
    then
        perform bt_check_job(p_name, v_args, p_queue, p_run_at, p_priority, p_max_tries, p_expires_at, p_tags);
    end if;

    -- To look for a max_depth takes 6 us. So who found that no queue has one goes by that for the rest of the second.
    if current_setting('backtick.unbounded_' || 'backtick_limit'::regclass::oid, true) is distinct from v_second then
        if not exists (select from backtick_limit as one where one.max_depth is not null) then
            perform set_config('backtick.unbounded_' || 'backtick_limit'::regclass::oid, v_second, false);
        elsif exists (
            select from backtick_limit as one
            where one.kind = 'queue' and one.queue = p_queue and one.name = '' and one.max_depth is not null
        ) then
            return (
                select put.id
                from bt_put_special(
                    p_name, array[p_args], p_queue, p_run_at, p_priority, p_max_tries, p_wake, p_tags, p_expires_at,
                    p_headers => p_headers) as put
            );
        end if;
    end if;

    insert into backtick_queue (queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, headers)
    values (
        p_queue, p_name, v_args, p_priority, coalesce(p_run_at, v_now), p_max_tries, v_now, p_expires_at, nullif(p_tags, '{}'),
        case when p_headers is not null then bt_check_headers(p_headers) end)
    returning id into v_id;
    if coalesce(p_run_at, v_now) < bt_now() - interval '10 ms' then  -- below floors: see bt_floor
        insert into backtick_freed (queue, priority, run_at, job, freed_at)
        values (p_queue, p_priority, coalesce(p_run_at, v_now), v_id, v_now);
    end if;

    -- Asked here too, since to call bt_wake for nothing takes longer than to ask.
    if p_wake and exists (
        select from backtick_runner as runner
        where runner.asleep_until > coalesce(p_run_at, v_now)
          and p_queue = any (runner.queues)
    ) then
        perform bt_wake(p_queue, coalesce(p_run_at, v_now));
    end if;
    return v_id;
end;
$$;
comment on function bt_put_job is 'Queue a job, for bt_enqueue; returns its id.';

-- bt_expiry: when a job expires that was given how long it may wait; asked only then.
--
-- p_run_at      when it is due; null: now
-- p_expires_at  must be null
-- p_expires_in  how long after that it may begin
-- raises        22023 invalid_parameter_value
create or replace function bt_expiry(p_run_at timestamptz, p_expires_at timestamptz, p_expires_in interval)
    returns timestamptz
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_expires_at is not null then
        raise exception 'bt_enqueue: expires_at is %, and expires_in is %',
                coalesce(p_expires_at::text, 'null'), coalesce(p_expires_in::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Give one of the two.';
    end if;
    if p_expires_in <= interval '0 s' or p_expires_in > interval '100 years' then
        raise exception 'bt_enqueue: expires_in is %', p_expires_in
            using errcode = 'invalid_parameter_value', hint = 'It is more than 0 and at most a hundred years, counted from when the job is due.';
    end if;
    return coalesce(p_run_at, bt_now()) + p_expires_in;
end;
$$;
comment on function bt_expiry is 'When a job expires that was given how long it may wait.';
