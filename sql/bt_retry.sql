-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_retry: bring a job back that has ended, or make one due that waits.
--
-- What has ended, as exceeded, canceled or done, is queued again under its id: tries and crashes are 0, a result and a time
-- by which it had to begin are gone, how it ended and who retried it is kept in attempts. What is queued, for another
-- try say, keeps its tries and is due now. What runs is left alone, as is what was canceled while it ran.
--
-- Part of the caller's transaction; until it ends the job is as it was for others, and claims are not held up. Of
-- several who retry a job at once one brings it back, the others find it queued.
--
-- Who may not act on all jobs retries his own only: see bt_may_touch.
--
-- p_id      the job
-- p_run_at  when it is due; null: now
-- p_args    with these arguments from now on; null: with those it had
-- returns   true if it is queued for that time now; false if it runs, or is not there
-- raises    22004 null_value_not_allowed, 22023 invalid_parameter_value, 25000 invalid_transaction_state,
--           23505 unique_violation if another job has its place, which is named,
--           42501 insufficient_privilege if another role enqueued the job; where bt_own_jobs_only, it is as if not there
create or replace function bt_retry(p_id bigint, p_run_at timestamptz default null, p_args text default null)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_job  record;
    v_args json := p_args;
begin
    if p_id is null then
        raise exception 'bt_retry: p_id must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the id that bt_enqueue returned.';
    end if;
    perform bt_check_isolation('bt_retry');
    if p_run_at < '0001-01-03 00:00+00' or p_run_at >= '9999-12-30 00:00+00' then
        raise exception 'bt_retry: run_at is %', p_run_at
            using errcode = 'invalid_parameter_value', hint = 'run_at is a time in the years 1 to 9999, not infinity.';
    end if;

    if p_args is not null then
        perform bt_check_job('bt_retry', v_args, 'default', null, null, null);
        if (select job.args ->> '$sealed' from backtick_job as job where job.id = p_id and json_typeof(job.args) = 'object') is not null then
            raise exception 'bt_retry: the arguments of job % are sealed', p_id
                using errcode = 'invalid_parameter_value', hint = 'Enqueue a new job where there is the key.';
        end if;
    end if;

    for v_look in 1 .. 2 loop  -- others may bring it back, or end it, in between
        select job.queue, job.enqueued_by into v_job from backtick_queue as job where job.id = p_id;
        if found then
            return bt_may_touch('bt_retry', p_id, v_job.enqueued_by)
                and (bt_make_due(v_job.queue, array[p_id], p_run_at, v_args) = 1
                     or p_run_at is null and p_args is null and bt_is_due(p_id));  -- others are just about to retry it, too
        end if;
        select job.enqueued_by into v_job from backtick_done as job where job.id = p_id;
        if not found then
            return false;
        end if;
        if not bt_may_touch('bt_retry', p_id, v_job.enqueued_by) then
            return false;
        end if;
        if bt_bring_back(array[p_id], p_run_at, v_args) = 1 then
            return true;
        end if;
    end loop;
    return false;
exception when unique_violation then
    raise exception 'bt_retry: job % cannot come back: its % is taken by job %', p_id, (
            select case when job.key is null then 'place' else format('key "%s"', job.key) end from backtick_done as job where job.id = p_id
        ), (
            select other.id
            from backtick_done as job
            join backtick_queue as other
                on (job.schedule, job.scheduled_for) = (other.schedule, other.scheduled_for)
                or (job.queue, job.key) = (other.queue, other.key)
            where job.id = p_id
            limit 1
        )
        using errcode = 'unique_violation', hint = 'Wait until that one has ended, or cancel it.';
end;
$$;
comment on function bt_retry is 'Queue a job again that has ended, or make one due that waits; false if it runs or is not there.';

-- bt_retry_all: the same for all jobs that a filter means, a batch a call; but of those that wait only for such as wait for
-- another try.
--
-- No lock is held for longer than a batch takes, and claims are not held up. Call again while it returns some, with a
-- p_until that stays, or what fails again is retried again. What cannot come back, for another job has its place, or is
-- locked by somebody, is left.
--
-- p_state   exceeded, canceled, done, ended or retrying
-- p_limit   how many at most
-- others    as of bt_matching
-- returns   how many are queued now
-- raises    22023 invalid_parameter_value, 25000 invalid_transaction_state
create or replace function bt_retry_all(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default 'exceeded',
    p_error_class text default null,
    p_since       timestamptz default null,
    p_until       timestamptz default null,
    p_tag         text default null,
    p_group       text default null,
    p_key         text default null,
    p_batch       bigint default null,
    p_text        text default null,
    p_limit       bigint default 1000
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now   timestamptz := bt_now();
    v_ids   bigint[];
    v_id    bigint;
    v_queue text;
    v_count bigint := 0;
begin
    if p_state is null or p_state in ('queued', 'running') then
        raise exception 'bt_retry_all: the state is %', coalesce(p_state, 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'Jobs are retried that are exceeded, canceled or done, ended (all of these), or retrying (they wait for it).';
    end if;
    perform bt_check_isolation('bt_retry_all');

    if p_state = 'retrying' then
        for v_queue, v_ids in
            select job.queue, array_agg(job.id)
            from bt_matching(p_queue, p_name, p_state, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text, p_limit) as job
            group by job.queue
        loop
            v_count := v_count + bt_make_due(v_queue, v_ids, null);
        end loop;
        return v_count;
    end if;

    v_ids := array(
        select job.id from bt_matching(p_queue, p_name, p_state, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text, p_limit) as job);
    v_ids := bt_take_ended(v_ids, v_now);
    begin
        return bt_bring_back(v_ids, null);
    exception when unique_violation then
        foreach v_id in array v_ids loop
            begin
                v_count := v_count + bt_bring_back(array[v_id], null);
            exception when unique_violation then
                raise warning 'bt_retry_all: job % cannot come back: %', v_id, sqlerrm;
            end;
        end loop;
    end;
    return v_count;
end;
$$;
comment on function bt_retry_all is 'Queue a batch of the jobs again that a filter means; returns how many.';

-- bt_bring_back: queue jobs again that have ended; the one place that moves a job from the history to the queue.
--
-- What was asked of a job while it ran, and said of it, is of before: else it would be canceled anew. What was canceled
-- since one that it was to come after failed waits again for those that have not ended, having been retried before it, say.
-- What is of a batch is of it again, but a batch that has ended does not end anew.
--
-- p_ids     the jobs
-- p_run_at  when they are due; null: now
-- p_args    their arguments from now on; null: those they had
-- returns   how many came back
create or replace function bt_bring_back(p_ids bigint[], p_run_at timestamptz, p_args json default null)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_now    constant timestamptz := bt_now();
    v_run_at constant timestamptz := coalesce(p_run_at, v_now);
    v_role   constant text := bt_role();
    v_back   bigint[];
    v_queues text[];
begin
    if p_ids = '{}' then
        return 0;
    end if;
    perform
    from backtick_batch as batch  -- what has not ended does not before this commits
    where batch.id in (select job.batch from backtick_done as job where job.id = any (p_ids) and job.batch is not null)
      and batch.ended_at is null
    order by batch.id
    for key share;
    with ended as (
        delete from backtick_done as job
        where job.id = any (p_ids)
        returning job.*, error ->> 'class' = 'DependencyFailed' and jsonb_typeof(error -> 'after') = 'array' as was_after
    ), back as (
        insert into backtick_queue (
            id, queue, name, args, priority, run_at, max_tries, error, created_at, schedule, scheduled_for, enqueued_by,
            tags, gate, attempts, key, group_key, batch, headers)
        overriding system value
        select id, queue, name, coalesce(p_args, args), priority, v_run_at, max_tries,
               case when error ->> 'class' not in ('Expired', 'Cancel', 'DependencyFailed') then error end, created_at, schedule,
               scheduled_for, enqueued_by, tags,
               case when was_after then 2 when group_key is not null then 1 else 0 end,
               bt_remember(
                   bt_remember(attempts, jsonb_build_object(
                       'at', finished_at, 'how', state, 'try', nullif(tries, 0), 'runner', runner, 'claimed_at', started_at),
                       case when state <> 'done' then error end),
                   jsonb_build_object('how', 'retried', 'by', v_role)), key, group_key, batch, headers
        from ended
        returning id, queue, group_key
    ), noted as (
        insert into backtick_opening (queue, group_keys, noted_at)
        select queue, array_agg(distinct group_key), v_now from back where group_key is not null group by queue
    ), waiting as (
        insert into backtick_after (waits_for, job, queue, on_failure)
        select distinct job.id, ended.id, ended.queue, 'cancel'
        from ended
        cross join lateral jsonb_array_elements_text(ended.error -> 'after') as known (id)
        join backtick_queue as job on job.id = known.id::bigint
        where ended.was_after
    ), told as (
        insert into backtick_opening (queue, job, noted_at)
        select queue, id, v_now from ended where was_after
    )
    select array_agg(back.id), array_agg(distinct back.queue) into v_back, v_queues from back;
    if bt_rivaled_back(v_back) then
        raise exception 'bt_retry: another job has the key' using errcode = 'unique_violation';
    end if;
    delete from backtick_cancel where job = any (v_back);
    delete from backtick_progress where job = any (v_back);

    if v_run_at < bt_now() - interval '10 ms' then  -- below floors: see bt_floor
        perform bt_freed(v_back);
    end if;
    perform bt_wake(woken.queue, v_run_at) from unnest(v_queues) as woken (queue);
    return coalesce(cardinality(v_back), 0);
end;
$$;
comment on function bt_bring_back is 'Queue jobs again that have ended; returns how many.';

-- bt_rivaled_back: whether others have keys of jobs that have just come back, in a place where the index does not tell.
create or replace function bt_rivaled_back(p_ids bigint[])
    returns boolean
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select coalesce(bool_or(bt_rivaled(came.queue, came.ids, null) <> '{}'), false)
    from (
        select job.queue, array_agg(job.id) as ids
        from backtick_queue as job
        where job.id = any (p_ids)
          and job.key is not null
        group by job.queue
    ) as came
$$;
comment on function bt_rivaled_back is 'Whether others have keys of jobs that have just come back.';

-- bt_make_due: have waiting jobs of a queue be due at a time; those that run, and those canceled while they ran, are left.
--
-- p_queue   the queue of all these jobs
-- p_ids     their ids
-- p_run_at  when they are due; null: now, or earlier if they are
-- p_args    their arguments from now on; null: those they had
-- returns   how many are due then
create or replace function bt_make_due(p_queue text, p_ids bigint[], p_run_at timestamptz, p_args json default null)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_free  bigint[] := bt_take_free(p_queue, p_ids);
    v_now   timestamptz := bt_now();
    v_count bigint;
begin
    with moved as (
        update backtick_queue as job
        set run_at = coalesce(p_run_at, least(job.run_at, v_now)),
            due_at = null,
            args = coalesce(p_args, job.args)
        where job.id = any (v_free)
          and not exists (select from backtick_cancel as asked where asked.job = job.id)
        returning job.gate, job.group_key
    ), noted as (
        insert into backtick_opening (queue, group_keys, noted_at)
        select p_queue, array_agg(distinct group_key), v_now
        from moved
        where gate = 1
          and group_key is not null
        having count(*) > 0
    )
    select count(*) into v_count from moved;
    if v_count > 0 then
        perform bt_wake(p_queue, coalesce(p_run_at, v_now));
    end if;
    return v_count;
end;
$$;
comment on function bt_make_due is 'Have waiting jobs of a queue be due at a time; returns how many.';

-- bt_is_due: whether a job waits, and is due. Volatile, since each call must read anew.
create or replace function bt_is_due(p_id bigint)
    returns boolean
    language sql
    volatile
    set search_path from current
as $$
    select exists (
        select from backtick_job where id = p_id and state = 'queued' and run_at <= bt_now() and cancel_asked_at is null
    )
$$;
comment on function bt_is_due is 'Whether a job waits, and is due.';
