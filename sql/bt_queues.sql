-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_queues: what waits and runs in each queue, those first in which jobs are due for longest.
--
-- A walk over the index from queue to queue, and from each so many jobs and no more: it does not matter how many there are.
--
-- p_queue   this one only; null: all
-- returns   a row for each queue that has jobs, a setting, or a runner: how many jobs wait, how many of them are due, and
--           since when the first; how many run, when the next is due if none is; whether it is paused, since when and by
--           whom; how many living runners serve it. A number of 10000 stands for as many or more
create or replace function bt_queues(p_queue text default null)
    returns table (
        queue     text,
        queued    bigint,
        due       bigint,
        running   bigint,
        oldest    timestamptz,
        next_at   timestamptz,
        runners   bigint,
        paused_at timestamptz,
        paused_by text
    )
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    with recursive clock as materialized (
        select bt_now() as now
    ), walked (queue) as (
        (select job.queue from backtick_queue as job where p_queue is null or job.queue = p_queue order by job.queue limit 1)
        union all
        select (
            select job.queue from backtick_queue as job where job.queue > walked.queue order by job.queue limit 1
        )
        from walked
        where walked.queue is not null
          and p_queue is null
    ), serving as materialized (
        select serves.queue, count(*) as runners
        from clock
        cross join backtick_runner as runner
        cross join unnest(runner.queues) as serves (queue)
        where bt_is_living(runner, clock.now)
        group by serves.queue
    ), held (id) as materialized (
        select unnest(claim.jobs) from backtick_claim as claim
    ), busy as materialized (
        select claim.queue, sum(cardinality(claim.jobs))::bigint as jobs from backtick_claim as claim group by claim.queue
    ), known as (
        select walked.queue from walked where walked.queue is not null
        union
        select serving.queue from serving
        union
        select setting.queue from backtick_setting as setting where setting.paused_at is not null
    )
    select known.queue,
           case when waiting.jobs < 10000 then greatest(waiting.jobs - coalesce(busy.jobs, 0), 0) else 10000 end,
           case when due.jobs < 10000 then greatest(due.jobs - coalesce(busy.jobs, 0), 0) else 10000 end,
           coalesce(busy.jobs, 0),
           due.oldest,
           case when due.oldest is null then due.next_at end,
           coalesce(serving.runners, 0),
           setting.paused_at,
           setting.paused_by
    from clock
    cross join known
    left join backtick_setting as setting on setting.queue = known.queue
    left join serving on serving.queue = known.queue
    left join busy on busy.queue = known.queue
    cross join lateral (
        select count(*) as jobs
        from (select from backtick_queue as job where job.queue = known.queue limit 10000) as few
    ) as waiting
    cross join lateral (
        select sum(lane.jobs)::bigint as jobs,
               min(lane.first) filter (where lane.first <= clock.now) as oldest,
               min(lane.first) as next_at
        from (
            select (
                       select count(*)
                       from (
                           select
                           from backtick_queue as job
                           where job.queue = known.queue
                             and job.gate = 0
                             and job.priority = level.priority
                             and job.run_at <= clock.now
                           limit 10000
                       ) as few
                   ) as jobs,
                   (
                       select job.run_at
                       from backtick_queue as job
                       where job.queue = known.queue
                         and job.gate = 0
                         and job.priority = level.priority
                         and job.id not in (select held.id from held)
                       order by job.run_at
                       limit 1
                   ) as first
            from generate_series(0, 9) as level (priority)
        ) as lane
    ) as due
    where p_queue is null
       or known.queue = p_queue
    order by due.oldest, known.queue
$$;
comment on function bt_queues is 'What waits and runs in each queue, those first in which jobs are due for longest; 10000 stands for as many or more.';
