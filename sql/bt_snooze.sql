-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_snooze: jobs of a claim are not for now, their workers say; queue them again for later. No try is used.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- p_run_at  when they are due again, one a job; null, or a null in it: see p_delays
-- p_delays  after what time they are due again, one a job
-- p_errors  why, an object a job: class, message; null: nobody said
-- returns   a row for each job that this call moved: when it is due again
-- raises    22004 null_value_not_allowed, 22023 invalid_parameter_value,
--           23514 check_violation if run_at is not in the years 1 to 9999
create or replace function bt_snooze(
    p_claim  bigint,
    p_ids    bigint[],
    p_run_at timestamptz[] default null,
    p_delays interval[] default null,
    p_errors jsonb[] default null
)
    returns table (id bigint, run_at timestamptz)
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
    v_host  text;
begin
    if exists (
        select
        from unnest(p_ids, p_run_at, p_delays, p_errors) with ordinality as snoozed (id, run_at, delay, error, n)
        where n > cardinality(p_ids)
           or coalesce(snoozed.run_at, v_now + snoozed.delay) is null
    ) then
        raise exception 'bt_snooze: % ids, % run_at, % delays, % errors',
                cardinality(p_ids), cardinality(p_run_at), cardinality(p_delays), cardinality(p_errors)
            using errcode = 'invalid_parameter_value', hint = 'Pass a run_at or a delay for each id.';
    end if;
    v_claim := bt_let_go(p_claim, p_ids, 'bt_snooze');
    select runner.host into v_host from backtick_runner as runner where runner.id = v_claim.runner;

    return query
        update backtick_queue as job
        set gate = case when job.group_key is not null and not bt_waits(job.queue, job.group_key) then 1 else 0 end,
            due_at = null,
            run_at = coalesce(snoozed.run_at, v_now + snoozed.delay),
            snoozes = job.snoozes + 1,
            -- of a row of snoozes the last one stays, lest they push out the failures
            attempts = bt_remember(
                case when job.attempts -> -1 ->> 'how' = 'snoozed' then job.attempts - -1 else job.attempts end,
                jsonb_build_object('how', 'snoozed', 'try', job.tries + 1, 'runner', v_claim.runner, 'host', v_host,
                                   'claimed_at', v_claim.claimed_at),
                snoozed.error)
        from unnest(p_ids, p_run_at, p_delays, p_errors) as snoozed (id, run_at, delay, error)
        where job.id = snoozed.id
          and job.id = any (v_claim.jobs)
        returning job.id, job.run_at;
    if found then
        insert into backtick_opening (queue, group_keys, noted_at)
        select job.queue, array_agg(distinct job.group_key), v_now
        from backtick_queue as job
        where job.id = any (v_claim.jobs)
          and job.group_key is not null
        group by job.queue;
        perform bt_wake(v_claim.queue, (
            select case when bool_or(due.group_key is not null) then v_now else min(due.run_at) end
            from backtick_queue as due
            where due.id = any (v_claim.jobs)));
    end if;
end;
$$;
comment on function bt_snooze is 'Queue jobs of a claim again for later, no try used; says when they are due.';
