-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_unended: which of the jobs that a new one is to wait for have not ended.
--
-- All are looked up in one snapshot, in which each is either in the queue or in the history.
--
-- p_after   ids of jobs, at most a thousand
-- p_after_failure  cancel or run: what becomes of the new one if one of them was exceeded or canceled; null: cancel
-- unended   those that wait or run
-- failed    the first that was exceeded or canceled, if that matters; null: none was
-- raises    22023 invalid_parameter_value if there is no such job, or none that the caller may see
create or replace function bt_unended(
    p_after         bigint[],
    p_after_failure text,
    out unended bigint[],
    out failed  bigint
)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    c_most constant int := 1000;
    v_unknown bigint;
begin
    if cardinality(p_after) > c_most or array_position(p_after, null) is not null then
        raise exception 'bt_enqueue: after has % jobs%', cardinality(p_after),
                case when array_position(p_after, null) is not null then ', one of which is null' else '' end
            using errcode = 'invalid_parameter_value',
                  hint = format('A job comes after at most %s others; to come after more, put them in a batch: see bt_batch.', c_most);
    end if;

    select coalesce(array_agg(known.id) filter (where known.waits), '{}'),
           min(known.id) filter (where known.state in ('exceeded', 'canceled') and p_after_failure is distinct from 'run'),
           min(known.id) filter (where known.waits is null and known.state is null)
    into unended, failed, v_unknown
    from (
        select distinct given.id, job.waits, ended.state
        from unnest(p_after) as given (id)
        left join lateral (
            select true as waits
            from backtick_queue as job
            where job.id = given.id
              and bt_may_see(job.enqueued_by)
            offset 0
        ) as job on true
        left join lateral (
            select done.state
            from backtick_done as done
            where done.id = given.id
              and bt_may_see(done.enqueued_by)
            offset 0
        ) as ended on true
    ) as known;
    if v_unknown is not null then
        raise exception 'bt_enqueue: after has job %, which is not there', v_unknown
            using errcode = 'invalid_parameter_value',
                  hint = 'Its transaction has not committed or was rolled back, or it has ended and was removed: leave it out then.';
    end if;
end;
$$;
comment on function bt_unended is 'Which of the jobs that a new one is to wait for have not ended.';

-- bt_put_after: have new jobs wait for others, which bt_unended has told; they were queued with gate 2.
--
-- Only adds rows, and locks none: no transaction, however long, holds up the end of a job that it waits for. What ends
-- before this commits did not see that somebody waits. So each new job is told to claims, which look whether it still
-- has to wait: see bt_open.
--
-- p_queue   the queue of the new jobs
-- p_ids     the new jobs
-- p_after   what bt_unended returned as unended; null: nothing was to be waited for
-- p_failed  and as failed: then they are canceled at once
create or replace function bt_put_after(
    p_queue text, p_ids bigint[], p_after bigint[], p_after_failure text, p_failed bigint)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_failed is not null then
        perform bt_end(p_ids, 'canceled', 0, null, null, array_fill(bt_dependency_error(p_failed, p_after || p_failed), array[cardinality(p_ids)]));
    elsif p_after <> '{}' then
        insert into backtick_after (waits_for, job, queue, on_failure)
        select waits_for.id, job.id, p_queue, coalesce(p_after_failure, 'cancel')
        from unnest(p_ids) as job (id)
        cross join unnest(p_after) as waits_for (id);
        insert into backtick_opening (queue, job, noted_at)
        select p_queue, job.id, bt_now()
        from unnest(p_ids) as job (id);
    end if;
end;
$$;
comment on function bt_put_after is 'Have new jobs wait for others.';

-- bt_dependency_error: why a job was canceled that was to come after another.
--
-- p_failed  the one that was exceeded or canceled
-- p_after   all that it was to come after, as far as known: if it is retried, it waits for those of them that have not ended
create or replace function bt_dependency_error(p_failed bigint, p_after bigint[])
    returns jsonb
    language sql
    volatile
    set search_path from current
as $$
    select jsonb_build_object(
        'class', 'DependencyFailed',
        'message', format('it was to come after job %s, which %s', p_failed, coalesce(
            (select 'was ' || job.state from backtick_done as job where job.id = p_failed), 'failed')),
        'traceback', null,
        'after', to_jsonb(p_after))
$$;
comment on function bt_dependency_error is 'Why a job was canceled that was to come after another.';

-- bt_note_ended: tell claims of the jobs that wait for these, which have ended; for bt_end.
--
-- p_ids     the jobs that have ended
-- p_failed  whether as exceeded or canceled
create or replace function bt_note_ended(p_ids bigint[], p_failed boolean)
    returns void
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_queues text[];
begin
    with note as (
        insert into backtick_opening (queue, job, has_failed, noted_at)
        select distinct waiting.queue, waiting.job, p_failed, bt_now()
        from backtick_after as waiting
        where waiting.waits_for = any (p_ids)
        returning queue
    )
    select array_agg(distinct note.queue) into v_queues from note;
    perform bt_wake(woken.queue, bt_now()) from unnest(v_queues) as woken (queue);
end;
$$;
comment on function bt_note_ended is 'Tell claims of the jobs that wait for these, which have ended.';

-- bt_open: let jobs in that wait for none any more, and cancel those that wait for what failed; for claims.
--
-- A claim of their queue does it, under its lock. Two that end beside each other, both uncommitted, both still see the
-- other: neither lets anything in, each tells. Whoever reads what the one told that commits last sees both gone.
--
-- Read is what was told since the last look of the floor, or, when looking from the beginning, all that there is; what is
-- read is removed. About a job whose row is locked, by somebody who cancels it, say, it stays, until a look from the
-- beginning finds it. What is canceled here tells in turn of those that wait for it, a thousand in a call.
--
-- A job that was due before is due now: it would stand below the floors. It keeps when it was due in due_at.
--
-- Callers pin the search_path.
--
-- p_queue   the queue
-- p_seen    which transactions the last look saw
-- p_now     what time it is for the claim
-- p_whole   whether to read all
-- returns   whether all was read; else the next claim has to look again
create or replace function bt_open(p_queue text, p_seen pg_snapshot, p_now timestamptz, p_whole boolean)
    returns boolean
    language plpgsql
    volatile
as $$
declare
    c_most   constant int := 1000;
    c_rounds constant int := 100;
    v_from   constant xid8 := case when p_whole then '0' else pg_snapshot_xmin(p_seen) end;
    v_left   int := c_most;
    v_notes  tid[];
    v_told   bigint[];
    v_failed bigint[];
    v_by     bigint[];
    v_errors jsonb[];
    v_ready  bigint[];
    v_free   bigint[];
    v_busy   bigint[];
    v_ending bigint[];
    v_later  timestamptz;
begin
    for v_round in 1 .. c_rounds loop
        select array_agg(note.ctid), array_agg(distinct note.job), coalesce(array_agg(distinct note.job) filter (where note.has_failed), '{}')
        into v_notes, v_told, v_failed
        from (
            select opening.ctid, opening.job, opening.has_failed
            from backtick_opening as opening
            where opening.queue = p_queue
              and opening.xid >= v_from
              and opening.job is not null
            order by opening.xid, opening.id
            limit v_left
            for update skip locked
        ) as note;
        exit when v_notes is null;
        v_left := v_left - cardinality(v_notes);

        -- One look up a job waited for: it is in the queue, or in the history, or was removed.
        select array_agg(told.id) filter (where told.failed is not null),
               array_agg(told.failed) filter (where told.failed is not null),
               array_agg(told.id) filter (where told.failed is null and told.waits is not true),
               coalesce(array_agg(told.id) filter (where told.are_ending), '{}')
        into v_failed, v_by, v_ready, v_ending
        from (
            select given.id, known.waits, known.failed, known.are_ending
            from unnest(v_told) as given (id)
            cross join lateral (
                select bool_or(previous.waits) as waits,
                       bool_or(previous.is_ending) as are_ending,
                       min(waiting.waits_for) filter (
                           where waiting.on_failure = 'cancel'
                             and previous.waits is null
                             and (ended.state in ('exceeded', 'canceled')
                                  or ended.state is null and given.id = any (v_failed))) as failed
                from backtick_after as waiting
                left join lateral (
                    select true as waits, job.xmax <> 0 as is_ending
                    from backtick_queue as job
                    where job.id = waiting.waits_for
                    offset 0
                ) as previous on true
                left join lateral (
                    select done.state from backtick_done as done where done.id = waiting.waits_for offset 0
                ) as ended on true
                where waiting.job = given.id
            ) as known
        ) as told;

        v_free := array(
            select job.id
            from backtick_queue as job
            where job.id = any (v_ready || v_failed)
              and job.gate = 2
            for update skip locked
        );
        v_busy := array(
            select job.id
            from backtick_queue as job
            where job.id = any (v_ready || v_failed)
              and job.gate = 2
              and job.id <> all (v_free)
        );

        if v_free && v_failed then
            select array_agg(failed.id), array_agg(bt_dependency_error(failed.by, array(
                       select waiting.waits_for from backtick_after as waiting where waiting.job = failed.id)))
            into v_failed, v_errors
            from unnest(v_failed, v_by) as failed (id, by)
            where failed.id = any (v_free);
            perform bt_end(v_failed, 'canceled', 0, null, null, v_errors);
        end if;
        if v_free && v_ready then
            with ready as (
                update backtick_queue as job
                set gate = case when job.group_key is null then 0 else 1 end,
                    due_at = case when job.group_key is null and job.run_at < p_now then coalesce(job.due_at, job.run_at) else job.due_at end,
                    run_at = case when job.group_key is null then greatest(job.run_at, p_now) else job.run_at end
                where job.id = any (v_ready)
                  and job.id = any (v_free)
                returning job.id, job.group_key, job.run_at
            ), gone as (
                delete from backtick_after as waiting
                using ready
                where waiting.job = ready.id
            ), told as (
                insert into backtick_opening (queue, group_keys, noted_at)
                select p_queue, array_agg(distinct ready.group_key), p_now
                from ready
                where ready.group_key is not null
                having count(*) > 0
            )
            select min(ready.run_at) filter (where ready.run_at > p_now) into v_later from ready;
            if v_later is not null then
                perform bt_wake(p_queue, v_later);  -- whoever lay down did not know of it
            end if;
        end if;
        -- Who ends one now, and has not committed, may have looked before this one waited for it: so it is looked at again.
        delete from backtick_opening where ctid = any (v_notes) and job <> all (v_busy || v_ending);
        exit when v_left = 0 or not found;
    end loop;
    return v_left > 0;
end;
$$;
comment on function bt_open is 'Let jobs in that wait for none any more, and cancel those that wait for what failed, for claims.';
