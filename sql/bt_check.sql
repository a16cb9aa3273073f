-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_check: what is wrong with the queue, the worst first; no rows: nothing is.
--
-- For probes, alerts and people. It asks few pages of each queue, however many jobs there are, and no runner: it answers
-- while none lives.
--
-- p_max_age        a job that has been due for longer is a finding; null: none is
-- p_max_exceeded   of the jobs of a worker that ended in the last ten minutes, five at least, so large a share may be
--                  exceeded; null: any
-- p_deep           what bt_queues has just returned; null: it is asked
-- returns          a row for each finding: severity, error or warning; finding, its kind; subject, what it is about, by
--                  which it is known from one time to the next; a sentence; since when, as far as known
-- raises           22023 invalid_parameter_value
create or replace function bt_check(
    p_max_age      interval default null,
    p_max_exceeded float8 default 0.5,
    p_deep         json default null
)
    returns table (severity text, finding text, subject text, text text, since timestamptz)
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := bt_now();
begin
    if p_max_age < interval '0' or p_max_exceeded not between 0 and 1 then
        raise exception 'bt_check: %', concat_ws(', ', 'max_age ' || p_max_age, 'max_exceeded ' || p_max_exceeded)
            using errcode = 'invalid_parameter_value', hint = 'max_age is not negative, max_exceeded is from 0 to 1.';
    end if;

    return query
        with deep as materialized (
            select * from bt_queues() where p_deep is null
            union all
            select given.*
            from json_to_recordset(p_deep) as given (
                queue text, queued bigint, due bigint, running bigint, oldest timestamptz, next_at timestamptz, runners bigint,
                paused_at timestamptz, paused_by text, about text[], pauses text[])
        ), alive as materialized (
            select runner.* from backtick_runner as runner where bt_is_living(runner, v_now)
        ), recent as materialized (  -- what was noted lately; the index of each leaves the rest alone
            select stat.worker, sum(stat.done) as done, sum(stat.exceeded) as exceeded
            from backtick_stat as stat
            where stat.at >= date_trunc('minute', v_now - interval '10 min')
              and stat.span in ('note', 'minute')
            group by stat.worker
        )
        select found.severity, found.finding, found.subject, found.text, found.since
        from (
            select 'error' as severity, 'no runner' as finding, deep.queue as subject,
                   format('no living runner serves the queue %s, in which jobs have been due for %s', deep.queue,
                          bt_age(v_now - deep.oldest)) as text,
                   deep.oldest as since
            from deep
            where deep.oldest < v_now
              and deep.runners = 0
              and deep.paused_at is null
            union all
            select 'error', 'max age', deep.queue,
                   format('the oldest due job of the queue %s has been due for %s', deep.queue, bt_age(v_now - deep.oldest)),
                   deep.oldest
            from deep
            where deep.oldest < v_now - p_max_age
              and deep.paused_at is null
            union all
            select 'error', 'orphans', orphan.queue || ' ' || orphan.worker,
                   format('no living runner of the queue %s knows the worker %s, of which jobs have been due for %s', orphan.queue,
                          orphan.worker, bt_age(v_now - orphan.oldest)),
                   orphan.oldest
            from backtick_orphan as orphan
            where orphan.why = 'worker'
            union all
            select 'error', 'late schedule', schedule.name,
                   format('the schedule %s should have fired %s ago', schedule.name, bt_age(v_now - schedule.next_run_at)),
                   schedule.next_run_at
            from backtick_schedule as schedule
            where schedule.next_run_at < v_now - interval '30 s'
              and not exists (
                  select from backtick_pause as pause
                  where (pause.queue, pause.kind, pause.name) = ('', 'schedule', schedule.name))
            union all
            select 'warning', 'schedule off', schedule.name,
                   format('the schedule %s was switched off: %s', schedule.name, schedule.error), null
            from backtick_schedule as schedule
            where schedule.error is not null
            union all
            select 'error', 'exceeded', recent.worker,
                   format('of the last %s jobs of the worker %s %s are exceeded', recent.done + recent.exceeded, recent.worker,
                          recent.exceeded),
                   null
            from recent
            where recent.exceeded > p_max_exceeded * (recent.done + recent.exceeded)
              and recent.done + recent.exceeded >= 5
            union all
            -- It serves a queue whose jobs have waited for long, knows their worker, has no job, and takes none.
            select 'error', 'idle runner', idle.id::text,
                   format('the runner %s on %s:%s lives, has no job and takes none, though a job of the queue %s for it has been due for %s',
                          idle.id, idle.host, idle.pid, idle.queue, bt_age(v_now - idle.oldest)),
                   idle.oldest
            from (
                select distinct on (pair.id) pair.id, pair.host, pair.pid, pair.queue, pair.oldest
                from (
                    select alive.id, alive.host, alive.pid, alive.names, deep.queue, deep.oldest
                    from alive
                    cross join unnest(alive.queues) as served (queue)
                    join deep on deep.queue = served.queue
                    where alive.started_at < v_now - interval '1 min'
                      and alive.drained_at is null
                      and not exists (select from backtick_claim as claim where claim.runner = alive.id)
                      and deep.oldest < v_now - interval '1 min'
                      and deep.running = 0
                      and deep.paused_at is null
                    offset 0  -- jobs are read of these pairs only
                ) as pair
                where exists (
                    select
                    from (
                        select job.name
                        from backtick_queue as job
                        where job.queue = pair.queue
                          and job.gate in (0, 1)
                          and job.run_at between pair.oldest and pair.oldest + interval '1 s'
                        limit 100
                    ) as first
                    where first.name = any (pair.names))
                order by pair.id, pair.oldest
            ) as idle
            where not exists (select from backtick_limit as bound where bound.queue = idle.queue and bound.running = 0)
            union all
            select 'warning', 'closed limit', concat_ws(' ', bound.kind, bound.queue, nullif(bound.name, '')),
                   format('the limit of the %s lets nothing run, and jobs wait',
                          concat_ws(' ', bound.kind, bound.queue, nullif(bound.name, ''))),
                   bound.set_at
            from backtick_limit as bound
            where bound.running = 0
              and exists (
                  select
                  from backtick_queue as job
                  where job.queue = bound.queue
                    and job.gate in (0, 1)
                    and job.run_at <= v_now
                    and (bound.kind in ('queue', 'groups') or bound.kind = 'worker' and job.name = bound.name
                         or bound.kind = 'group' and job.group_key = bound.name)
                  limit 1)
            union all
            select 'warning', 'version', coalesce(alive.version, ''),
                   format('%s runners are of version %s, others of %s', count(*), coalesce(alive.version, 'unknown'), max(newest.version)),
                   min(alive.started_at)
            from alive
            cross join (select max(one.version) as version from alive as one) as newest
            where alive.version is distinct from newest.version
            group by alive.version
        ) as found
        order by found.severity, found.since, found.finding, found.subject;
end;
$$;
comment on function bt_check is 'What is wrong with the queue, the worst first; no rows: nothing is.';

-- bt_tell_alerts: which findings of bt_check are new, and which are over, each of them once, whoever asks.
--
-- Any number of runners ask, all the time; one of them looks, every ten seconds at most, and where that takes long after
-- fifty times as long. A finding is told if it is there at two looks, so a moment is no alarm. If whom it was told to dies
-- before he has passed it on, nobody hears of it.
--
-- p_max_age, p_max_exceeded   as of bt_check
-- returns   a row for each: severity, finding, subject, text, since, and is_over
create or replace function bt_tell_alerts(p_max_age interval default null, p_max_exceeded float8 default 0.5)
    returns table (severity text, finding text, subject text, text text, since timestamptz, is_over boolean)
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    c_pause constant interval := '10 s';
    c_most  constant interval := '10 min';
    v_now   timestamptz := bt_now();
begin
    update backtick_uptime as looked
    set alerts_at = v_now + c_pause
    from (
        select uptime.started_at
        from backtick_uptime as uptime
        where coalesce(uptime.alerts_at, '-infinity') not between v_now and v_now + c_most
        for no key update skip locked
    ) as free
    where looked.started_at = free.started_at;
    if not found then
        return;
    end if;

    return query
        with found as materialized (
            select * from bt_check(p_max_age, p_max_exceeded)
        ), over as (
            delete from backtick_alert as alert
            where not exists (
                select from found where found.finding = alert.finding and found.subject = alert.subject)
            returning alert.*
        ), told as (
            update backtick_alert as alert
            set told_at = v_now
            from found
            where found.finding = alert.finding
              and found.subject = alert.subject
              and alert.told_at is null
            returning found.*
        ), new as (
            insert into backtick_alert (finding, subject, severity, text, since, seen_at)
            select found.finding, found.subject, found.severity, found.text, coalesce(found.since, v_now), v_now
            from found
            on conflict do nothing
        )
        select told.severity, told.finding, told.subject, told.text, coalesce(told.since, v_now), false from told
        union all
        select over.severity, over.finding, over.subject, over.text, over.since, true from over where over.told_at is not null;

    update backtick_uptime as looked
    set alerts_at = v_now + least(c_most, 50 * (bt_now() - v_now))
    where bt_now() - v_now > c_pause / 50;
end;
$$;
comment on function bt_tell_alerts is 'Which findings of bt_check are new, and which are over, each of them once.';
