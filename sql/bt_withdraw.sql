-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_withdraw: end those of the given jobs of a queue that are free as canceled.
--
-- It must not run beside a claim of that queue, or both might take a job; but a claim must not wait
-- for the end of the caller's transaction. So the lock that claims take is held here for a moment
-- only, as a session's, and given back whatever happens. Claims that come after it see by the
-- mark on a job's row (xmax) that somebody is about to withdraw it.
--
-- p_queue   the queue of all these jobs
-- p_ids     their ids
-- returns   how many were withdrawn
create or replace function bt_withdraw(p_queue text, p_ids bigint[])
    returns bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_key   int := 'backtick_queue'::regclass::oid::int;
    v_count bigint;
begin
    perform bt_check_isolation('bt_cancel');
    perform pg_advisory_lock(v_key, hashtext(p_queue));
    begin
        with free as (
            select job.id
            from backtick_queue as job
            where job.id = any (p_ids)
              and job.queue = p_queue
              and not exists (
                  select from backtick_claim as claim
                  where claim.queue = p_queue
                    and job.id = any (claim.jobs)
              )
            for update skip locked
        ), ended as (
            delete from backtick_queue as job
            using free
            where job.id = free.id
            returning job.*
        )
        insert into backtick_done (
            id, queue, name, args, priority, run_at, state, tries, crashes, max_tries,
            error, runner, created_at, started_at, finished_at, schedule, scheduled_for, enqueued_by)
        select id, queue, name, args, priority, run_at, 'canceled', tries, crashes, max_tries,
               error, null, created_at, null, bt_now(), schedule, scheduled_for, enqueued_by
        from ended;
        get diagnostics v_count = row_count;
    exception when query_canceled or assert_failure or others then
        perform pg_advisory_unlock(v_key, hashtext(p_queue));
        raise;
    end;
    perform pg_advisory_unlock(v_key, hashtext(p_queue));
    return v_count;
end;
$$;
comment on function bt_withdraw is 'End free jobs of a queue as canceled, beside running claims; returns how many.';

-- bt_withdraw_asked: end those jobs as canceled that somebody canceled while they ran, and that are
-- free again: their runner failed, died or handed them back before it could stop them. Claims pass
-- them over meanwhile. Also forgets what was asked of jobs that have ended.
--
-- Locks: those of bt_withdraw, whose holders wait for nobody; rows that are locked are left to others.
create or replace function bt_withdraw_asked()
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_queue text;
    v_ids   bigint[];
begin
    if not exists (select from backtick_cancel) then
        return;
    end if;

    for v_queue, v_ids in
        select job.queue, array_agg(job.id)
        from backtick_cancel as asked
        join backtick_queue as job on job.id = asked.job
        where not exists (select from backtick_claim as claim where job.id = any (claim.jobs))
        group by job.queue
    loop
        perform bt_withdraw(v_queue, v_ids);
    end loop;

    delete from backtick_cancel as forgotten
    using (
        select asked.job
        from backtick_cancel as asked
        where not exists (select from backtick_queue as job where job.id = asked.job)
        for update skip locked
    ) as ended
    where forgotten.job = ended.job;
end;
$$;
comment on function bt_withdraw_asked is 'End free jobs as canceled that somebody canceled while they ran.';
