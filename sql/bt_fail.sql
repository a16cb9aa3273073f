-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_fail: a try of jobs of a claim has failed; queue them again with back-off, or end them as
-- exceeded if that was their last try.
--
-- p_claim      the claim that bt_claim returned
-- p_ids        ids of jobs of that claim
-- p_errors     what went wrong, an object a job: class, message, traceback
-- p_retry_ms   milliseconds, the unit of the back-off: see bt_backoff
-- p_max_tries  tries after which a job is exceeded that does not say so itself
-- returns      a row for each job that this call moved: its state, queued or exceeded, and run_at,
--              when it is due again (null: never)
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value
create or replace function bt_fail(
    p_claim     bigint,
    p_ids       bigint[],
    p_errors    jsonb[],
    p_retry_ms  int default 10000,
    p_max_tries int default 16
)
    returns table (id bigint, state text, run_at timestamptz)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now   timestamptz := bt_now();
    v_claim backtick_claim;
begin
    if cardinality(p_errors) is distinct from cardinality(p_ids)
        or p_retry_ms is null or p_retry_ms < 0 or p_max_tries is null or p_max_tries < 1
    then
        raise exception 'bt_fail: % ids, % errors, retry_ms %, max_tries %',
                cardinality(p_ids), cardinality(p_errors), p_retry_ms, p_max_tries
            using errcode = 'invalid_parameter_value',
                  hint = 'Pass one error for each id, retry_ms from 0 and max_tries from 1.';
    end if;
    v_claim := bt_let_go(p_claim, p_ids, 'bt_fail');

    return query
        with failed as (
            select failed.id, failed.error
            from unnest(p_ids, p_errors) as failed (id, error)
            where failed.id = any (v_claim.jobs)
        ), retried as (
            update backtick_queue as job
            set tries = job.tries + 1,
                run_at = v_now + bt_backoff(job.tries + 1, p_retry_ms),
                error = failed.error
            from failed
            where job.id = failed.id
              and job.id = any (v_claim.jobs)  -- or the planner might read the whole index
              and job.tries + 1 < coalesce(job.max_tries, p_max_tries)
            returning job.id, job.queue, job.run_at
        ), ended as (
            delete from backtick_queue as job
            using failed
            where job.id = failed.id
              and job.id = any (v_claim.jobs)  -- or the planner might read the whole index
              and job.tries + 1 >= coalesce(job.max_tries, p_max_tries)
            returning job.*, failed.error as last_error
        ), exceeded as (
            insert into backtick_done (
                id, queue, name, args, priority, run_at, state, tries, crashes, max_tries,
                error, runner, created_at, started_at, finished_at, schedule, scheduled_for, enqueued_by)
            select id, queue, name, args, priority, run_at, 'exceeded', tries + 1, crashes, max_tries,
                   last_error, v_claim.runner, created_at, v_claim.claimed_at, v_now, schedule, scheduled_for, enqueued_by
            from ended
            returning id
        ), woken as (
            select bt_wake(queue, min(run_at)) from retried group by queue
        )
        select retried.id, 'queued', retried.run_at from retried left join woken on true
        union all
        select exceeded.id, 'exceeded', null from exceeded;
end;
$$;
comment on function bt_fail is 'Queue failed jobs of a claim again with back-off, or end them as exceeded; says which.';
