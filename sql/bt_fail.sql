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
    v_now    timestamptz := bt_now();
    v_claim  backtick_claim;
    v_host   text;
    v_queued bigint[];
    v_due    timestamptz[];
    v_last   bigint[];
    v_errors jsonb[];
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
    select runner.host into v_host from backtick_runner as runner where runner.id = v_claim.runner;

    with failed as (
        update backtick_queue as job
        set tries = job.tries + 1,
            run_at = v_now + bt_backoff(job.tries + 1, p_retry_ms),
            error = failed.error,
            attempts = bt_remember(
                job.attempts,
                jsonb_build_object('how', 'failed', 'try', job.tries + 1, 'runner', v_claim.runner, 'host', v_host,
                                   'claimed_at', v_claim.claimed_at),
                failed.error)
        from unnest(p_ids, p_errors) as failed (id, error)
        where failed.id = any (v_claim.jobs)
          and job.id = failed.id
          and job.id = any (v_claim.jobs)  -- or the planner might read the whole index
          and job.tries + 1 < coalesce(job.max_tries, p_max_tries)
        returning job.id, job.run_at
    )
    select coalesce(array_agg(failed.id), '{}'), array_agg(failed.run_at) into v_queued, v_due from failed;
    if v_queued <> '{}' then
        perform bt_wake(v_claim.queue, (select min(due.run_at) from unnest(v_due) as due (run_at)));
        return query select again.id, 'queued', again.run_at from unnest(v_queued, v_due) as again (id, run_at);
    end if;

    select array_agg(failed.id), array_agg(failed.error) into v_last, v_errors
    from unnest(p_ids, p_errors) as failed (id, error)
    where failed.id = any (v_claim.jobs)
      and failed.id <> all (v_queued);
    if v_last is not null then
        return query
            select ended.id, 'exceeded', null::timestamptz
            from unnest(bt_end(v_last, 'exceeded', 1, v_claim.runner, v_claim.claimed_at, v_errors)) as ended (id);
    end if;
end;
$$;
comment on function bt_fail is 'Queue failed jobs of a claim again with back-off, or end them as exceeded; says which.';
