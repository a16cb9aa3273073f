-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_revive: queue the jobs of dead runners again.
--
-- Dead is a runner whose heartbeat is older than its lease, or whose session lock has been found
-- free twice, three quarters of a second or more apart: the pause lets a runner whose connections
-- were cut come back. When the server itself was restarted, or a standby promoted, no lock is looked
-- at for ten seconds, and a lease counts from then: nobody could give a sign of life before. See
-- backtick_uptime. Judged is the runner, never how long a job runs. A claim
-- whose runner is gone for whatever reason is an orphan, and revived too. Of a runner whose row somebody has locked no
-- sign of life can be stored: its lease counts from when its row was last found locked, which the session keeps.
--
-- A death counts in crashes, not in tries. After the first a job is due at once, after further ones
-- with back-off; a job that was running in p_max_crashes runners that died is exceeded.
--
-- Locks: runner rows, then claim rows, then job rows, as everywhere; locked ones are left to whoever
-- holds them, so any number of runners may call this at once. What is locked, or cannot be moved, holds up nothing else:
-- the rest of its claim is revived, and it stays in the claim for the next call. A call goes on for a second, about.
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
    v_silent bigint[];
    v_free   bigint[];
    v_runner record;
    v_hosts  jsonb := '{}';  -- of the runners that are found dead here
    v_claim  backtick_claim;
    v_host   text;
    v_ids    bigint[];
    v_left   bigint[];
    v_id     bigint;
begin
    if p_retry_ms is null or p_retry_ms < 0 or p_max_crashes is null or p_max_crashes < 1 then
        raise exception 'bt_revive: retry_ms %, max_crashes %',
                coalesce(p_retry_ms::text, 'null'), coalesce(p_max_crashes::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'retry_ms is at least 0, max_crashes at least 1.';
    end if;

    select uptime.since into v_since
    from backtick_uptime as uptime
    where uptime.started_at = pg_postmaster_start_time();
    if not found then
        v_since := v_now;
        delete from backtick_uptime as old
        using (select started_at from backtick_uptime where started_at <> pg_postmaster_start_time() for update skip locked) as before
        where old.started_at = before.started_at;
        insert into backtick_uptime (started_at, since)
        values (pg_postmaster_start_time(), v_since)
        on conflict do nothing;
    end if;

    perform bt_follow_clock(v_now);
    v_silent := array(
        select silent.id
        from backtick_runner as silent
        where silent.id is distinct from p_runner
          and greatest(silent.heartbeat_at, v_since) < v_now - silent.lease_ms * interval '1 ms'
    );
    if v_silent <> '{}' then
        v_free := array(select free.id from backtick_runner as free where free.id = any (v_silent) for share skip locked);
        perform set_config('backtick.locked_' || silent.id, extract(epoch from v_now)::text, false)
        from unnest(v_silent) as silent (id)
        where silent.id <> all (v_free);
        v_silent := array(
            select silent.id
            from backtick_runner as silent
            where silent.id = any (v_free)
              and coalesce(
                  to_timestamp(nullif(current_setting('backtick.locked_' || silent.id, true), '')::float8)
                  < v_now - silent.lease_ms * interval '1 ms', true)
        );
    end if;
    for v_runner in
        select suspect.id, suspect.unlocked_at, suspect.host
        from backtick_runner as suspect
        where suspect.id = any (v_silent)
           or suspect.id is distinct from p_runner
          and suspect.locked
          and v_since < v_now - c_comeback
          and pg_try_advisory_xact_lock('backtick_runner'::regclass::oid::int, (suspect.id % 2147483647)::int)
        for update skip locked
    loop
        if v_runner.id = any (v_silent) or v_runner.unlocked_at <= v_now - c_pause then
            delete from backtick_runner as dead where dead.id = v_runner.id;
            v_hosts := v_hosts || jsonb_build_object(v_runner.id, v_runner.host);
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
        v_ids := array(select job.id from backtick_queue as job where job.id = any (v_claim.jobs) for update skip locked);
        v_left := array(
            select job.id from backtick_queue as job where job.id = any (v_claim.jobs) except select unnest(v_ids));
        v_host := v_hosts ->> v_claim.runner::text;
        begin
            return query select * from bt_revive_jobs(v_claim, v_ids, p_retry_ms, p_max_crashes, v_host);
        exception when others then
            foreach v_id in array v_ids loop
                begin
                    return query select * from bt_revive_jobs(
                        v_claim, array[v_id], p_retry_ms, p_max_crashes, v_host);
                exception when others then
                    v_left := v_left || v_id;
                    raise warning 'bt_revive: job % of the dead runner % cannot be moved: %', v_id, v_claim.runner, sqlerrm;
                end;
            end loop;
        end;

        if v_left = '{}' then
            delete from backtick_claim as orphan where orphan.id = v_claim.id;
        elsif cardinality(v_left) < cardinality(v_claim.jobs) then
            update backtick_claim as orphan set jobs = v_left, groups = bt_groups_of(v_claim, v_left) where orphan.id = v_claim.id;
        end if;
        perform bt_wake(v_claim.queue, v_now);
        exit when bt_now() > v_now + interval '1 s';
    end loop;

    perform bt_withdraw_asked();
    perform bt_end_batches();
    perform bt_look_at_depths();
    perform bt_thin_out();
    perform bt_tend_groups();
end;
$$;
comment on function bt_revive is 'Queue the jobs of dead runners again, or end them as exceeded; says which.';

-- bt_revive_jobs: queue jobs of a dead runner's claim again, or end them; for bt_revive, which has locked the claim.
--
-- p_host   where the runner was; null: not known any more
-- others   the claim, ids of jobs of it, and as bt_revive
drop function if exists bt_revive_jobs(backtick_claim, bigint[], int, int);  -- of version 3
create or replace function bt_revive_jobs(
    p_claim       backtick_claim,
    p_ids         bigint[],
    p_retry_ms    int,
    p_max_crashes int,
    p_host        text default null
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
    v_now    timestamptz := bt_now();
    v_last   bigint[];
    v_errors jsonb[];
begin
    select array_agg(job.id),
           array_agg(jsonb_build_object(
               'class', 'RunnerDied',
               'message', format('%s runners died while they ran this job; max_crashes is %s', job.crashes + 1, p_max_crashes),
               'traceback', null))
    into v_last, v_errors
    from backtick_queue as job
    where job.id = any (p_ids)
      and job.crashes + 1 >= p_max_crashes;
    if v_last is not null then
        return query
            select job.id, job.name, p_claim.runner, 'exceeded'
            from backtick_queue as job
            where job.id = any (v_last);
        perform bt_end(v_last, 'exceeded', 0, p_claim.runner, p_claim.claimed_at, v_errors, 1);
    end if;

    perform bt_note_ends(p_ids, null, 1);
    return query
        update backtick_queue as job
        set crashes = job.crashes + 1,
            gate = 0,  -- of a group it keeps its place
            attempts = bt_remember(job.attempts, jsonb_build_object(
                'how', 'crashed', 'runner', p_claim.runner, 'host', p_host, 'claimed_at', p_claim.claimed_at)),
            run_at = case
                when job.crashes = 0 then job.run_at
                else v_now + bt_backoff(job.crashes, p_retry_ms)
            end,
            due_at = case when job.crashes = 0 then job.due_at end
        where job.id = any (p_ids)
        returning job.id, job.name, p_claim.runner, 'queued';
end;
$$;
comment on function bt_revive_jobs is 'Queue jobs of a dead runner again, or end them as exceeded, for bt_revive; says which.';

-- bt_follow_clock: put right what was written while the server's clock was ahead, once it has gone back.
--
-- Signs of life from the future would hide for so long that a runner is dead, and jobs that were due at once when
-- they came would wait for so long. Jobs for a time of their own keep it. Told by a sign of life that is more than
-- five seconds ahead, which bt_heartbeat leaves alone as well: the signs are put right last, once no such job is
-- locked any more, so that whatever is in the way, a lock or a cancel, all is tried again within a second.
create or replace function bt_follow_clock(p_now timestamptz)
    returns void
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
begin
    if not exists (select from backtick_runner where greatest(heartbeat_at, unlocked_at) > p_now + interval '5 s')
        and not exists (select from backtick_uptime where since > p_now + interval '5 s')
    then
        return;
    end if;

    with moved as (
        update backtick_queue as job
        set run_at = p_now
        from (
            select ahead.id
            from backtick_queue as ahead
            where ahead.run_at > p_now
              and (ahead.created_at > p_now and ahead.run_at <= ahead.created_at
                   or ahead.gate = 0 and ahead.due_at <= greatest(p_now, ahead.created_at))  -- let in from then
            for no key update skip locked
        ) as free
        where job.id = free.id
        returning job.queue, job.group_key
    )
    insert into backtick_opening (queue, group_keys, noted_at)
    select moved.queue, array_agg(distinct moved.group_key), p_now
    from moved
    where moved.group_key is not null
    group by moved.queue;
    if exists (
        select from backtick_queue as locked
        where locked.run_at > p_now
          and (locked.created_at > p_now and locked.run_at <= locked.created_at
               or locked.gate = 0 and locked.due_at <= greatest(p_now, locked.created_at)))
    then
        return;
    end if;

    update backtick_runner as runner
    set heartbeat_at = least(runner.heartbeat_at, p_now),
        unlocked_at = least(runner.unlocked_at, p_now),
        asleep_until = null
    from (
        select ahead.id
        from backtick_runner as ahead
        where greatest(ahead.heartbeat_at, ahead.unlocked_at) > p_now
        for no key update skip locked
    ) as free
    where runner.id = free.id;

    update backtick_uptime as uptime
    set since = p_now
    from (select started_at from backtick_uptime where since > p_now for no key update skip locked) as free
    where uptime.started_at = free.started_at;
    raise warning 'backtick: the clock of the server went back; jobs that were due at once are due now';
end;
$$;
comment on function bt_follow_clock is 'Put right what was written while the server''s clock was ahead.';
