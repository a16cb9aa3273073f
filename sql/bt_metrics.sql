-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_load: what a queue, or all, wants to be done, in one row, for who starts and ends runners.
--
-- p_queue   the queue; null: all
-- returns   backlog: jobs that are due and do not run, of more than 10000 the planner's estimate; running; oldest_age: for how many
--           seconds the first of them has been due, 0 if none is; runners: how many living ones serve it
create or replace function bt_load(p_queue text default null)
    returns table (backlog bigint, running bigint, oldest_age float8, runners bigint)
    language sql
    volatile
    set search_path from current
    set jit to off
as $$
    select coalesce(sum(deep.due), 0)::bigint,
           coalesce(sum(deep.running), 0)::bigint,
           coalesce(greatest(extract(epoch from bt_now() - min(deep.oldest)), 0), 0)::float8,
           (
               select count(*)
               from backtick_runner as runner
               where bt_is_living(runner, bt_now())
                 and (p_queue is null or p_queue = any (runner.queues))
           )
    from bt_queues(p_queue) as deep
    where deep.paused_at is null
$$;
comment on function bt_load is 'What a queue, or all, wants to be done, in one row, for who starts and ends runners.';

-- bt_label: a value of a label, in Prometheus' text.
create or replace function bt_label(p_value text)
    returns text
    language sql
    immutable
    strict
    parallel safe
as $$ select replace(replace(replace(p_value, '\', '\\'), '"', '\"'), e'\n', '\n') $$;
comment on function bt_label is 'A value of a label, in Prometheus'' text.';

-- bt_metrics: Prometheus' text.
--
-- Of queues, workers and schedules those with the most to tell have a label of their own, and the rest stands together as
-- `other`, so that no more than so many series come of it. No id and no key is a label. Of more than 10000 jobs in a queue
-- it is the planner's estimate. What counts up comes from backtick_stat: see bt_stats for what may be missing.
--
-- p_most    how many queues, workers and schedules have a label of their own
-- returns   the text
-- raises    22023 invalid_parameter_value
create or replace function bt_metrics(p_most int default 50)
    returns text
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
declare
    v_now  constant timestamptz := bt_now();
    v_text text;
begin
    if p_most is null or p_most not between 1 and 1000 then
        raise exception 'bt_metrics: most is %', coalesce(p_most::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'It is from 1 to 1000.';
    end if;

    with deep as materialized (
        select case when row_number() over (order by deep.oldest, deep.running desc, deep.queue) <= p_most then deep.queue else 'other' end
                   as label,
               deep.*
        from bt_queues() as deep
    ), depth as materialized (
        select deep.label as queue, sum(deep.due) as due, sum(greatest(deep.queued - deep.due, 0)) as scheduled,
               sum(deep.running) as running,
               greatest(coalesce(max(extract(epoch from v_now - deep.oldest)), 0), 0)::float8 as oldest
        from deep
        group by deep.label
    ), stat as materialized (
        select case when count.place <= p_most then count.queue else 'other' end as queue,
               case when count.place <= p_most then count.worker else 'other' end as worker,
               sum(count.done) as done, sum(count.exceeded) as exceeded, sum(count.canceled) as canceled,
               sum(count.retried) as retried, sum(count.crashed) as crashed, sum(count.runs) as runs, sum(count.run_s) as run_s,
               sum(count.wait_s) as wait_s, bt_sum(count.run_classes) as run, bt_sum(count.wait_classes) as wait
        from (
            select one.queue, one.worker, sum(one.done) as done, sum(one.exceeded) as exceeded, sum(one.canceled) as canceled,
                   sum(one.retried) as retried, sum(one.crashed) as crashed, sum(one.runs) as runs, sum(one.run_s) as run_s,
                   sum(one.wait_s) as wait_s, bt_sum(one.run_classes) as run_classes, bt_sum(one.wait_classes) as wait_classes,
                   row_number() over (order by sum(one.done + one.exceeded + one.canceled) desc, one.queue, one.worker) as place
            from backtick_stat as one
            where one.span in ('note', 'ever')
            group by one.queue, one.worker
        ) as count
        group by 1, 2
    ), alive as materialized (
        select living.slots, coalesce(held.jobs, 0) as jobs
        from backtick_runner as living
        left join (
            select claim.runner, sum(cardinality(claim.jobs)) as jobs from backtick_claim as claim group by claim.runner
        ) as held on held.runner = living.id
        where bt_is_living(living, v_now)
    ), classes as (
        select stat.queue, stat.worker, kind.name, one.place,
               sum(one.jobs) over (partition by stat.queue, stat.worker, kind.name order by one.place) as jobs
        from stat
        cross join lateral (values ('run', stat.run), ('wait', stat.wait)) as kind (name, classes)
        cross join lateral unnest(kind.classes) with ordinality as one (jobs, place)
    ), sample (metric, part, labels, value) as (
        select 'backtick_jobs', 1, format('{queue="%s",state="%s"}', bt_label(depth.queue), state.name), state.jobs::text
        from depth
        cross join lateral (
            values ('scheduled', depth.scheduled), ('due', depth.due), ('running', depth.running)) as state (name, jobs)
        union all
        select 'backtick_oldest_due_seconds', 1, format('{queue="%s"}', bt_label(depth.queue)), depth.oldest::text
        from depth
        union all
        select 'backtick_last_done_timestamp_seconds', 1, '', extract(epoch from last.finished_at)::text
        from (
            select job.finished_at from backtick_done as job where job.state = 'done' order by job.finished_at desc limit 1
        ) as last
        union all
        select 'backtick_enqueued_total', 1, '',
               coalesce(pg_sequence_last_value(pg_get_serial_sequence('backtick_queue', 'id')), 0)::text
        union all
        select 'backtick_ended_total', 1,
               format('{queue="%s",worker="%s",state="%s"}', bt_label(stat.queue), bt_label(stat.worker), state.name), state.jobs::text
        from stat
        cross join lateral (
            values ('done', stat.done), ('exceeded', stat.exceeded), ('canceled', stat.canceled)) as state (name, jobs)
        union all
        select metric.name, 1, format('{queue="%s",worker="%s"}', bt_label(stat.queue), bt_label(stat.worker)), metric.jobs::text
        from stat
        cross join lateral (
            values ('backtick_retries_total', stat.retried), ('backtick_crashes_total', stat.crashed)) as metric (name, jobs)
        union all
        select format('backtick_%s_seconds', classes.name), classes.place::int,
               format('{queue="%s",worker="%s",le="%s"}', bt_label(classes.queue), bt_label(classes.worker),
                      coalesce((bt_bounds())[classes.place]::text, '+Inf')),
               classes.jobs::text
        from classes
        union all
        select format('backtick_%s_seconds', kind.name), kind.part,
               format('{queue="%s",worker="%s"}', bt_label(stat.queue), bt_label(stat.worker)), kind.value
        from stat
        cross join lateral (
            values ('run', 1001, stat.runs::text), ('run', 1002, stat.run_s::text),
                   ('wait', 1001, stat.runs::text), ('wait', 1002, stat.wait_s::text)) as kind (name, part, value)
        where stat.runs > 0
        union all
        select 'backtick_runners', 1, '', count(*)::text from alive
        union all
        select 'backtick_slots', 1, format('{state="%s"}', state.name), state.slots::text
        from (
            select coalesce(sum(least(alive.jobs, alive.slots)), 0) as busy,
                   coalesce(sum(alive.slots - least(alive.jobs, alive.slots)), 0) as free
            from alive
        ) as all_
        cross join lateral (values ('busy', all_.busy), ('free', all_.free)) as state (name, slots)
        union all
        select 'backtick_schedule_lateness_seconds', 1, format('{schedule="%s"}', bt_label(late.label)), max(late.seconds)::text
        from (
            select case when row_number() over (order by schedule.next_run_at, schedule.name) <= p_most then schedule.name else 'other' end
                       as label,
                   greatest(extract(epoch from v_now - schedule.next_run_at), 0)::float8 as seconds
            from backtick_schedule as schedule
            where schedule.next_run_at is not null
              and not exists (
                  select from backtick_pause as pause
                  where (pause.queue, pause.kind, pause.name) = ('', 'schedule', schedule.name))
        ) as late
        group by late.label
        union all
        select 'backtick_orphan_jobs', 1, format('{worker="%s"}', bt_label(orphan.label)), sum(orphan.jobs)::text
        from (
            select case when row_number() over (order by one.oldest, one.worker) <= p_most then one.worker else 'other' end as label,
                   one.jobs
            from backtick_orphan as one
        ) as orphan
        group by orphan.label
        union all
        select 'backtick_build_info', 1, format('{sql_version="%s",postgresql="%s"}',
                   (select max(version) from generate_series(1, 99) as version where bt_serves(version)),
                   bt_label(split_part(current_setting('server_version'), ' ', 1))), '1'
    ), metric (place, name, kind, help) as (
        values (1, 'backtick_jobs', 'gauge', 'Jobs that have not ended; of more than 10000 in a queue the planner''s estimate.'),
               (2, 'backtick_oldest_due_seconds', 'gauge', 'For how long the first job has been due that does not run.'),
               (3, 'backtick_last_done_timestamp_seconds', 'gauge', 'When a job was last done.'),
               (4, 'backtick_enqueued_total', 'counter', 'Jobs enqueued, with those that were rolled back.'),
               (5, 'backtick_ended_total', 'counter', 'Jobs ended.'),
               (6, 'backtick_retries_total', 'counter', 'Failed tries after which the job was queued again.'),
               (7, 'backtick_crashes_total', 'counter', 'How often a runner died while it held a job.'),
               (8, 'backtick_wait_seconds', 'histogram', 'From when a job was due until it began.'),
               (9, 'backtick_run_seconds', 'histogram', 'How long a job ran.'),
               (10, 'backtick_runners', 'gauge', 'Living runners.'),
               (11, 'backtick_slots', 'gauge', 'Slots of living runners.'),
               (12, 'backtick_schedule_lateness_seconds', 'gauge', 'How long ago a schedule should have fired.'),
               (13, 'backtick_orphan_jobs', 'gauge', 'Due jobs that no living runner can run.'),
               (14, 'backtick_build_info', 'gauge', 'Versions.')
    )
    select string_agg(
        format(e'# HELP %1$s %2$s\n# TYPE %1$s %3$s\n', metric.name, metric.help, metric.kind) || coalesce(lines.text, ''),
        '' order by metric.place)
    into v_text
    from metric
    left join (
        select sample.metric,
               string_agg(
                   sample.metric || case
                       when sample.part = 1001 then '_count'
                       when sample.part = 1002 then '_sum'
                       when sample.labels like '%,le="%' then '_bucket'
                       else ''
                   end || sample.labels || ' ' || sample.value || e'\n',
                   '' order by split_part(sample.labels, ',le=', 1), sample.part, sample.labels) as text
        from sample
        group by sample.metric
    ) as lines on lines.metric = metric.name;
    return v_text;
end;
$$;
comment on function bt_metrics is 'Prometheus'' text.';
