-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_fail: a try of jobs of a claim has failed; queue them again with back-off, or end them as
-- exceeded if that was their last try.
--
-- How many tries a job has that does not say so itself is kept with the error, as max_tries: the view shows it.
--
-- A job with a group keeps its place there, and the others wait for it, or it waits for its turn anew: see on_failure in
-- backtick_limit.
--
-- p_claim      the claim that bt_claim returned
-- p_ids        ids of jobs of that claim
-- p_errors     what went wrong, an object a job: class, message, traceback
-- p_retry_ms   milliseconds, the unit of the back-off: see bt_backoff
-- p_max_tries  tries after which a job is exceeded that does not say so itself
-- p_run_at     when it is due again, one a job; null, or a null in it: see p_delays
-- p_final      whether this was its last try, whatever its max_tries says, one a job; null: no
-- p_delays     after what time it is due again, one a job; null, or a null in it: after the back-off
-- p_backoff    exponential, linear or constant
-- returns      a row for each job that this call moved: its state, queued or exceeded, and run_at,
--              when it is due again (null: never)
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value,
--              23514 check_violation if run_at is not in the years 1 to 9999
drop function if exists bt_fail(bigint, bigint[], jsonb[], int, int);  -- of version 3
drop function if exists bt_fail(bigint, bigint[], jsonb[], int, int, timestamptz[], boolean[], interval[], text);
create or replace function bt_fail(
    p_claim     bigint,
    p_ids       bigint[],
    p_errors    jsonb[],
    p_retry_ms  int default 10000,
    p_max_tries int default 16,
    p_run_at    timestamptz[] default null,
    p_final     boolean[] default null,
    p_delays    interval[] default null,
    p_backoff   text default 'exponential',
    p_headers   jsonb[] default null
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
    v_has_groups boolean;
    v_last   bigint[];
    v_errors jsonb[];
begin
    if cardinality(p_errors) is distinct from cardinality(p_ids)
        or p_retry_ms is null or p_retry_ms < 0 or p_max_tries is null or p_max_tries < 1
        or (p_backoff in ('exponential', 'linear', 'constant')) is not true
        or cardinality(p_run_at) <> cardinality(p_ids)
        or cardinality(p_final) <> cardinality(p_ids)
        or cardinality(p_delays) <> cardinality(p_ids)
        or cardinality(p_headers) <> cardinality(p_ids)
    then
        raise exception 'bt_fail: % ids, % errors, retry_ms %, max_tries %, backoff %, %',
                coalesce(cardinality(p_ids)::text, 'null'), coalesce(cardinality(p_errors)::text, 'null'), coalesce(p_retry_ms::text, 'null'),
                coalesce(p_max_tries::text, 'null'), coalesce(p_backoff, 'null'), format('%s run_at, %s final, %s delays',
                    cardinality(p_run_at), cardinality(p_final), cardinality(p_delays))
            using errcode = 'invalid_parameter_value',
                  hint = 'Pass one of each for each id, retry_ms from 0, max_tries from 1, and exponential, linear or constant.';
    end if;
    v_claim := bt_let_go(p_claim, p_ids, 'bt_fail');
    select runner.host into v_host from backtick_runner as runner where runner.id = v_claim.runner;

    with failed as (
        update backtick_queue as job
        set tries = job.tries + 1,
            gate = case when job.group_key is not null and not bt_waits(job.queue, job.group_key) then 1 else 0 end,
            due_at = null,
            headers = case when failed.headers is null then job.headers else coalesce(job.headers, '{}') || failed.headers end,
            run_at = coalesce(
                failed.run_at,
                v_now + coalesce(failed.delay, bt_backoff(job.tries + 1, p_retry_ms, p_backoff))),
            error = bt_with_tries(failed.error, job.max_tries, p_max_tries),
            attempts = bt_remember(
                job.attempts,
                jsonb_build_object('how', 'failed', 'try', job.tries + 1, 'runner', v_claim.runner, 'host', v_host,
                                   'claimed_at', v_claim.claimed_at),
                failed.error)
        from unnest(p_ids, p_errors, p_run_at, p_final, p_delays, p_headers) as failed (id, error, run_at, is_final, delay, headers)
        where failed.id = any (v_claim.jobs)
          and failed.is_final is not true
          and job.id = failed.id
          and job.id = any (v_claim.jobs)  -- or the planner might read the whole index
          and job.tries + 1 < coalesce(job.max_tries, p_max_tries)
        returning job.id, job.run_at, job.queue, job.group_key
    ), noted as (
        insert into backtick_opening (queue, group_keys, noted_at)
        select failed.queue, array_agg(distinct failed.group_key), v_now
        from failed
        where failed.group_key is not null
        group by failed.queue
    )
    select coalesce(array_agg(failed.id), '{}'), array_agg(failed.run_at), bool_or(failed.group_key is not null)
    into v_queued, v_due, v_has_groups
    from failed;
    if v_queued <> '{}' then
        perform bt_wake(
            v_claim.queue,
            (
                select least(min(due.run_at), case when v_has_groups then v_now end)  -- others of the group
                from unnest(v_due) as due (run_at)
            ));
        return query select again.id, 'queued', again.run_at from unnest(v_queued, v_due) as again (id, run_at);
    end if;

    select array_agg(job.id), array_agg(bt_with_tries(failed.error, job.max_tries, p_max_tries)) into v_last, v_errors
    from unnest(p_ids, p_errors) as failed (id, error)
    cross join lateral (select id, max_tries from backtick_queue as job where job.id = failed.id offset 0) as job
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

-- bt_with_tries: an error, with the max_tries by which its job was judged that has none of its own.
create or replace function bt_with_tries(p_error jsonb, p_own int, p_max_tries int)
    returns jsonb
    language sql
    immutable
    parallel safe
as $$
    select case
        when p_own is null and jsonb_typeof(p_error) = 'object' then p_error || jsonb_build_object('max_tries', p_max_tries)
        else p_error
    end
$$;
comment on function bt_with_tries is 'An error, with the max_tries by which its job was judged that has none of its own.';
