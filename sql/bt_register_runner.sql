-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_register_runner: sign a runner in; bt_attach: let a connection vouch for its life.
--
-- A runner's connections hold a shared session lock on its id. The server drops it with the last
-- connection of a process that died, and bt_revive, which asks for it exclusively, gets it.
-- Registering takes the lock before the row is visible, so a new runner is never found without.
-- Where jobs that were due at once come from the future, since the server's clock went back, its first sign of life does
-- so too: see bt_follow_clock.
--
-- p_queues    the queues it serves
-- p_host, p_pid  where it runs, for people
-- p_names     the workers that it knows, for backtick_recurring to tell
-- p_lease_ms  milliseconds without bt_heartbeat after which it counts as dead
-- p_lock      false behind a pooler, where a session lock is somebody else's: the lease alone counts
-- p_slots, p_release  how many jobs it runs at once, and which version it is, for people
-- returns     the runner's id, for all other calls
-- raises      22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_register_runner(text[], text, int, text[], int, boolean);  -- of version 3
create or replace function bt_register_runner(
    p_queues   text[],
    p_host     text,
    p_pid      int,
    p_names    text[] default '{}',
    p_lease_ms int default 30000,
    p_lock     boolean default true,
    p_slots    int default null,
    p_release  text default null
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now    timestamptz := bt_now();
    v_ahead  timestamptz;
    v_runner bigint;
begin
    if p_queues is null or p_host is null or p_pid is null or p_names is null
        or p_lease_ms is null or p_lock is null then
        raise exception 'bt_register_runner: an argument is null'
            using errcode = 'null_value_not_allowed', hint = 'Pass queues, host and pid; the others have defaults.';
    end if;
    if cardinality(p_queues) = 0 or p_lease_ms < 1 then
        raise exception 'bt_register_runner: queues are %, lease_ms is %', p_queues, p_lease_ms
            using errcode = 'invalid_parameter_value',
                  hint = 'Name at least one queue; lease_ms is a positive number of milliseconds.';
    end if;
    perform bt_check_queue('bt_register_runner', served.queue)
    from unnest(p_queues) as served (queue)
    where not exists (select from backtick_queue as job where job.queue = served.queue);  -- else it is there, whatever its name

    perform bt_mend_sequences();
    select job.created_at into v_ahead
    from backtick_queue as job
    where job.queue = any (p_queues)
      and job.run_at > v_now
      and job.run_at <= job.created_at
      and job.created_at > v_now + interval '5 s'
    limit 1;
    insert into backtick_runner (host, pid, queues, names, lease_ms, locked, started_at, heartbeat_at, slots, version)
    values (p_host, p_pid, p_queues, p_names, p_lease_ms, p_lock, v_now, coalesce(v_ahead, v_now), p_slots, p_release)
    returning id into v_runner;

    if p_lock then
        perform bt_attach(v_runner);
    end if;
    return v_runner;
end;
$$;
comment on function bt_register_runner is 'Sign a runner in; returns its id.';

-- Anybody may take advisory locks. Where lock_timeout ends the wait for this one, the lease alone counts from then on.
--
-- p_runner   what bt_register_runner returned
-- returns    whether the runner is (still) signed in; if not, its jobs are no longer its own
create or replace function bt_attach(p_runner bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_locked boolean := true;
begin
    if p_runner is null then
        raise exception 'bt_attach: p_runner must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass what bt_register_runner returned.';
    end if;

    begin
        perform pg_advisory_lock_shared('backtick_runner'::regclass::oid::int, (p_runner % 2147483647)::int);
    exception when lock_not_available then
        v_locked := false;
        raise warning 'bt_attach: somebody holds the lock that is the sign of life of runner %, so its lease alone counts', p_runner;
    end;
    update backtick_runner as runner
    set unlocked_at = null,
        locked = runner.locked and v_locked
    from (
        select id
        from backtick_runner
        where id = p_runner
          and (unlocked_at is not null or locked and not v_locked)
        for no key update skip locked
    ) as free
    where runner.id = free.id;
    return exists (select from backtick_runner where id = p_runner);
end;
$$;
comment on function bt_attach is 'Hold a runner''s sign of life, a session lock, with this connection; tells whether the runner is signed in.';
