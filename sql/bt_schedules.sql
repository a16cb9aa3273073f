-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_schedules: the schedules, when each fires next, and what became of its last fire; first those that want attention.
--
-- p_name    this one only; null: all
-- p_fires   how many of its next times each is told
-- returns   a row for each: state is on, late (it should have fired ten seconds ago), off or paused (with the reason in
--           error), or no worker; lateness: how many seconds after its time it fired last;
--           runs, an array of objects: the last ten fires that have ended, the last one first: id, at, state, late: so many seconds
--           after that it began
create or replace function bt_schedules(p_name text default null, p_fires int default 5)
    returns table (
        name       text,
        state      text,
        spec       text,
        next_at    timestamptz,
        last_at    timestamptz,
        last_state text,
        last_job   bigint,
        skipped    bigint,
        worker     text,
        queue      text,
        lateness   int,
        error      text,
        fires      timestamptz[],
        runs       json
    )
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set enable_hashjoin to off
    set enable_mergejoin to off
    set jit to off
as $$
    select schedule.name,
           case
               when schedule.next_run_at is null then 'off'
               when pause.paused_at is not null then 'paused'
               when schedule.next_run_at < clock.now - interval '10 s' then 'late'
               when not worker.is_known then 'no worker'
               else 'on'
           end,
           coalesce(schedule.spec || ' ' || schedule.tz, 'every ' || bt_age(schedule.interval_ms * interval '1 ms')),
           schedule.next_run_at,
           schedule.last_run_at,
           last.state,
           schedule.last_job,
           schedule.skipped,
           schedule.worker,
           schedule.queue,
           extract(epoch from schedule.last_late)::int,
           coalesce(schedule.error, case when pause.paused_at is not null then format(
               'paused since %s by %s%s', date_trunc('second', pause.paused_at), pause.paused_by, ': ' || pause.reason) end),
           array(
               with recursive fire (at, place) as (
                   select schedule.next_run_at, 1
                   where schedule.next_run_at is not null
                   union all
                   select bt_next_fire(schedule.interval_ms, schedule.spec, schedule.tz, fire.at, fire.at), fire.place + 1
                   from fire
                   where fire.place < p_fires
                     and fire.at is not null
               )
               select fire.at from fire where fire.at is not null
           ),
           (
               select json_agg(json_build_object(
                   'id', past.id, 'at', past.scheduled_for, 'state', past.state,
                   'late', extract(epoch from past.started_at - past.scheduled_for)::int))
               from (
                   select job.*
                   from backtick_done as job
                   where job.schedule = schedule.name
                   order by job.scheduled_for desc
                   limit 10
               ) as past
           )
    from (select bt_now() as now) as clock
    cross join backtick_schedule as schedule
    left join backtick_pause as pause on (pause.queue, pause.kind, pause.name) = ('', 'schedule', schedule.name)
    cross join lateral (
        select exists (
            select from backtick_runner as runner
            where schedule.worker = any (runner.names)
              and schedule.queue = any (runner.queues)
        ) as is_known
    ) as worker
    left join lateral (
        select case when exists (
                   select from backtick_claim as claim
                   where hashtext(claim.queue) = hashtext(job.queue)
                     and claim.highest >= job.id
                     and job.id = any (claim.jobs)
               ) then 'running' else 'queued' end as state
        from backtick_queue as job
        where job.id = schedule.last_job
        union all
        select job.state from backtick_done as job where job.id = schedule.last_job
    ) as last on true
    where p_name is null
       or schedule.name = p_name
    order by schedule.next_run_at >= clock.now - interval '10 s' and worker.is_known, schedule.next_run_at, schedule.name
$$;
comment on function bt_schedules is 'The schedules, when each fires next, and what became of its last fire.';

-- bt_fire: fire a schedule now, beside its times: queue a job as it does.
--
-- p_name    the schedule
-- returns   the job's id; null: there is no such schedule
-- raises    23505 unique_violation if another job has its key
create or replace function bt_fire(p_name text)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now      timestamptz := bt_now();
    v_schedule backtick_schedule;
    v_fired    backtick_queue;
    v_job      bigint;
begin
    select * into v_schedule from backtick_schedule where name = p_name;
    if not found then
        return null;
    end if;
    v_fired.queue := v_schedule.queue;
    v_fired.name := v_schedule.worker;
    v_fired.args := v_schedule.args;
    v_fired.priority := v_schedule.priority;
    v_fired.run_at := v_now;
    v_fired.max_tries := v_schedule.max_tries;
    v_fired.created_at := v_now;
    v_fired.schedule := p_name;
    v_fired.scheduled_for := v_now;
    v_fired.expires_at := v_now + v_schedule.expires_in;
    v_fired.tags := v_schedule.tags;
    v_fired.key := v_schedule.key;
    v_fired.group_key := v_schedule.group_key;
    v_job := bt_put_fire(v_fired, v_schedule.overlap);
    if v_job is null then
        raise exception 'bt_fire: another job has the key "%" of schedule %', v_schedule.key, p_name
            using errcode = 'unique_violation', hint = 'Wait until it has ended, or cancel it.';
    end if;
    perform bt_wake(v_schedule.queue, v_now);
    return v_job;
end;
$$;
comment on function bt_fire is 'Fire a schedule now, beside its times; returns the job, null if there is no such schedule.';
