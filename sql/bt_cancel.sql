-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel: withdraw a job that is queued.
--
-- Part of the caller's transaction: if it rolls back, the job is as it was. Until it ends, claims
-- pass the job over, and are not held up.
--
-- p_id      the job
-- returns   true if it is canceled now; false if it runs, has ended, or is not there
-- raises    22004 null_value_not_allowed, 25000 invalid_transaction_state
create or replace function bt_cancel(p_id bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_queue text;
begin
    if p_id is null then
        raise exception 'bt_cancel: p_id must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the id that bt_enqueue returned.';
    end if;

    select queue into v_queue from backtick_queue where id = p_id;
    return found and bt_withdraw(v_queue, array[p_id]) = 1;
end;
$$;
comment on function bt_cancel is 'Withdraw a queued job in the caller''s transaction; false if it runs or has ended.';

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
            error, runner, created_at, started_at, finished_at, schedule, scheduled_for)
        select id, queue, name, args, priority, run_at, 'canceled', tries, crashes, max_tries,
               error, null, created_at, null, bt_now(), schedule, scheduled_for
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
