-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_revive: queue the jobs of dead runners again.
--
-- Dead is a runner whose heartbeat is older than its lease, or whose session lock has been found
-- free twice, three quarters of a second or more apart: the pause lets a runner whose connections
-- were cut come back. When the server itself was restarted, or a standby promoted, no lock is looked
-- at for ten seconds, and a lease counts from then: nobody could give a sign of life before. See
-- backtick_uptime. Judged is the runner, never how long a job runs. A claim
-- whose runner is gone for whatever reason is an orphan, and revived too.
--
-- A death counts in crashes, not in tries. After the first a job is due at once, after further ones
-- with back-off; a job that was running in p_max_crashes runners that died is exceeded.
--
-- Locks: runner rows, then claim rows, then job rows, as everywhere; locked ones are left to whoever
-- holds them, so any number of runners may call this at once.
--
-- p_runner       the runner that calls, which is not judged; null: none
-- p_retry_ms     milliseconds, the unit of the back-off: see bt_backoff
-- p_max_crashes  deaths after which a job is exceeded
-- returns        a row for each job that was running: id, name, the dead runner, and state, queued or exceeded
-- raises         22023 invalid_parameter_value
create or replace function bt_revive(
    p_runner      bigint default null,
    p_retry_ms    int default 10000,
    p_max_crashes int default 3
)
    returns table (id bigint, name text, runner bigint, state text)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    c_pause    constant interval := '750 ms';
    c_comeback constant interval := '10 s';
    v_now    timestamptz := bt_now();
    v_since  timestamptz;
    v_runner backtick_runner;
    v_claim  backtick_claim;
begin
    if p_retry_ms is null or p_retry_ms < 0 or p_max_crashes is null or p_max_crashes < 1 then
        raise exception 'bt_revive: retry_ms %, max_crashes %', p_retry_ms, p_max_crashes
            using errcode = 'invalid_parameter_value', hint = 'retry_ms is at least 0, max_crashes at least 1.';
    end if;

    select uptime.since into v_since
    from backtick_uptime as uptime
    where uptime.started_at = pg_postmaster_start_time();
    if not found then
        v_since := v_now;
        delete from backtick_uptime as old where old.started_at <> pg_postmaster_start_time();
        insert into backtick_uptime (started_at, since)
        values (pg_postmaster_start_time(), v_since)
        on conflict do nothing;
    end if;

    for v_runner in
        select suspect.*
        from backtick_runner as suspect
        where suspect.id is distinct from p_runner
          and (greatest(suspect.heartbeat_at, v_since) < v_now - suspect.lease_ms * interval '1 ms'
               or suspect.locked
              and v_since < v_now - c_comeback
              and pg_try_advisory_xact_lock('backtick_runner'::regclass::oid::int, (suspect.id % 2147483647)::int))
        for update skip locked
    loop
        if greatest(v_runner.heartbeat_at, v_since) < v_now - v_runner.lease_ms * interval '1 ms'
            or v_runner.unlocked_at <= v_now - c_pause
        then
            delete from backtick_runner as dead where dead.id = v_runner.id;
        elsif v_runner.unlocked_at is null then
            update backtick_runner as suspect set unlocked_at = v_now where suspect.id = v_runner.id;
        end if;
    end loop;

    for v_claim in
        select orphan.*
        from backtick_claim as orphan
        where not exists (select from backtick_runner as alive where alive.id = orphan.runner)
        for update skip locked
    loop
        delete from backtick_claim as orphan where orphan.id = v_claim.id;

        return query
            with revived as (
                update backtick_queue as job
                set crashes = job.crashes + 1,
                    run_at = case
                        when job.crashes = 0 then job.run_at
                        else v_now + bt_backoff(job.crashes, p_retry_ms)
                    end
                where job.id = any (v_claim.jobs)
                  and job.crashes + 1 < p_max_crashes
                returning job.id, job.name
            ), ended as (
                delete from backtick_queue as job
                where job.id = any (v_claim.jobs)
                  and job.crashes + 1 >= p_max_crashes
                returning job.*
            ), exceeded as (
                insert into backtick_done (
                    id, queue, name, args, priority, run_at, state, tries, crashes, max_tries,
                    error, runner, created_at, started_at, finished_at, schedule, scheduled_for, enqueued_by)
                select id, queue, name, args, priority, run_at, 'exceeded', tries, crashes + 1, max_tries,
                       jsonb_build_object(
                           'class', 'RunnerDied',
                           'message', format('%s runners died while they ran this job; max_crashes is %s',
                                             crashes + 1, p_max_crashes),
                           'traceback', null),
                       v_claim.runner, created_at, v_claim.claimed_at, v_now, schedule, scheduled_for, enqueued_by
                from ended
                returning id, name
            )
            select revived.id, revived.name, v_claim.runner, 'queued' from revived
            union all
            select exceeded.id, exceeded.name, v_claim.runner, 'exceeded' from exceeded;

        perform bt_wake(v_claim.queue, v_now);
    end loop;

    perform bt_withdraw_asked();
end;
$$;
comment on function bt_revive is 'Queue the jobs of dead runners again, or end them as exceeded; says which.';
