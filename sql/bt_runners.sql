-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_runners: the runners, and what each has at work.
--
-- A runner holds what runs there, and what begins there in a moment; how many slots it has it said itself.
--
-- p_worker  only those that know this worker; null: all
-- returns   a row for each runner: whether it lives, jobs it holds, since when the one that it has held for longest, and the
--           workers of twenty of them; whether it is to end (bt_drain); how many megabytes its process has
create or replace function bt_runners(p_worker text default null)
    returns table (
        id           bigint,
        host         text,
        pid          int,
        state        text,
        jobs         bigint,
        slots        int,
        oldest       timestamptz,
        works        text[],
        queues       text[],
        started_at   timestamptz,
        heartbeat_at timestamptz,
        version      text,
        memory_mb    int
    )
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select runner.id,
           runner.host,
           runner.pid,
           case
               when not bt_is_living(runner, clock.now) then 'dead'
               when runner.drained_at is not null then 'draining'
               when runner.asleep_until > clock.now then 'idle'
               else 'awake'
           end,
           coalesce(held.jobs, 0),
           runner.slots,
           held.oldest,
           held.works,
           runner.queues,
           runner.started_at,
           runner.heartbeat_at,
           runner.version,
           runner.memory_mb
    from (select bt_now() as now) as clock
    cross join backtick_runner as runner
    left join lateral (
        select sum(cardinality(claim.jobs))::bigint as jobs,
               min(claim.claimed_at) as oldest,
               (
                   select array_agg(distinct job.name)
                   from (
                       select unnest(first.jobs) as id
                       from backtick_claim as first
                       where first.runner = runner.id
                       order by first.claimed_at
                       limit 20
                   ) as one
                   join backtick_queue as job on job.id = one.id
               ) as works
        from backtick_claim as claim
        where claim.runner = runner.id
    ) as held on true
    where p_worker is null
       or p_worker = any (runner.names)
    order by runner.host, runner.pid
$$;
comment on function bt_runners is 'The runners, and what each has at work.';

-- bt_drain: have runners finish what they have, take nothing more, and end.
--
-- Each looks about once a second whether it is to. Who starts it, systemd say, may start it anew.
--
-- p_runner  the id of one, or the name of a host: all there
-- returns   how many living runners are to end now
create or replace function bt_drain(p_runner text)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_count bigint;
begin
    update backtick_runner as runner
    set drained_at = coalesce(runner.drained_at, bt_now())
    where (runner.host = p_runner or runner.id::text = p_runner)
      and bt_is_living(runner, bt_now());
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
comment on function bt_drain is 'Have a runner, or all of a host, finish what they have and end; returns how many.';

-- bt_is_drained: whether a runner is to finish what it has, and end.
create or replace function bt_is_drained(p_runner bigint)
    returns boolean
    language sql
    stable
    set search_path from current
as $$
    select exists (select from backtick_runner where id = p_runner and drained_at is not null)
$$;
comment on function bt_is_drained is 'Whether a runner is to finish what it has, and end.';
