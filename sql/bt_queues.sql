-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_estimate: how many jobs of a queue, of a worker, due by some time, have not ended, as the planner sees it; null: any.
create or replace function bt_estimate(p_queue text, p_name text, p_until timestamptz)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_plan json;
begin
    execute 'explain (format json) select from backtick_queue where true'
        || coalesce(' and queue = ' || quote_literal(p_queue), '')
        || coalesce(' and name = ' || quote_literal(p_name), '')
        || coalesce(' and gate < 2 and run_at <= ' || quote_literal(p_until), '')
    into v_plan;
    return (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric::bigint;
end;
$$;
comment on function bt_estimate is 'How many jobs have not ended, as the planner estimates it.';

-- bt_shares: which share of the jobs that have not ended each queue, or worker, has, by the planner's statistics: a row for each
-- of the most common ones, and one, its value null, for each of the others. One question for all of them, where bt_estimate
-- is asked for one.
--
-- p_column  queue or name
-- p_total   how many jobs there are, about
create or replace function bt_shares(p_column text, p_total bigint)
    returns table (value text, share float8)
    language sql
    stable
    set search_path from current
    set jit to off
as $$
    with stats as materialized (
        select stat.most_common_vals::text::text[] as vals,
               stat.most_common_freqs as freqs,
               case when stat.n_distinct < 0 then -stat.n_distinct * p_total else stat.n_distinct end as count
        from pg_stats as stat
        join pg_class as relation on relation.relname = stat.tablename
        join pg_namespace as home on home.oid = relation.relnamespace and home.nspname = stat.schemaname
        where relation.oid = 'backtick_queue'::regclass
          and stat.attname = p_column
    )
    select common.value, common.share
    from stats
    cross join unnest(stats.vals, stats.freqs) as common (value, share)
    union all
    select null, greatest(0, 1 - (select sum(common.share) from unnest(stats.freqs) as common (share)))
               / greatest(1, stats.count - coalesce(cardinality(stats.vals), 0))
    from stats
$$;
comment on function bt_shares is 'Which share of the jobs each queue, or worker, has, by the planner''s statistics.';

-- bt_queues: what waits and runs in each queue, those first in which jobs are due for longest.
--
-- A walk over the index from queue to queue, and from each so many jobs and no more, 100 000 of all: it does not matter how many
-- there are.
--
-- p_queue   this one only; null: all
-- returns   a row for each queue that has jobs, a runner, or is paused: how many jobs wait, how many of them are due, those of
--           full groups too, and since when the first, which is none of a group where groups are limited or paused, as it
--           waits for that; how many run, when the next is due if none is; how many living runners serve it; since
--           when it is paused, and by whom; pauses: what is paused of it, itself, workers or groups, with the reason, in words,
--           null: nothing; about: the names of those columns which are the planner's estimates, since
--           the queue has more than 10 000 jobs, or, of more than 100 000 jobs in all, more than its part of these
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
        paused_by text,
        about     text[],
        pauses    text[]
    )
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set enable_bitmapscan to off
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
    ), known as materialized (
        select every.queue
        from (
            select walked.queue from walked where walked.queue is not null
            union
            select serving.queue from serving
            union
            select setting.queue from backtick_setting as setting where setting.paused_at is not null
        ) as every
        where p_queue is null
           or every.queue = p_queue
    ), total as materialized (
        select every.jobs, bt_estimate(null, null, clock.now) as due,
               least(10000, case when every.jobs > 100000 then greatest(10, 100000 / (select greatest(count(*), 1) from known)) end) as most
        from clock
        cross join (select bt_estimate(null, null, null) as jobs) as every
    ), share as materialized (
        select share.value, share.share from total cross join bt_shares('queue', total.jobs) as share
    )
    select known.queue,
           greatest(waiting.jobs - coalesce(busy.jobs, 0), 0),
           greatest(waiting.due - coalesce(busy.jobs, 0), 0),
           coalesce(busy.jobs, 0),
           first.oldest,
           case when first.oldest is null then first.next_at end,
           coalesce(serving.runners, 0),
           setting.paused_at,
           setting.paused_by,
           case when waiting.is_about then '{queued,due}'::text[] end,
           (
               select array_agg(format(
                   '%s%s since %s by %s%s', paused.kind, ' ' || paused.name, paused.since, coalesce(paused.by, 'nobody known'),
                   ': ' || paused.reason))
               from bt_pauses(array[known.queue]) as paused
               where paused.kind <> 'schedule'
           )
    from clock
    cross join known
    cross join total
    left join backtick_setting as setting on setting.queue = known.queue
    left join serving on serving.queue = known.queue
    left join busy on busy.queue = known.queue
    cross join lateral (
        select case when few.jobs < total.most then few.jobs else greatest(few.jobs, all_of.jobs) end as jobs,
               case when few.jobs < total.most then few.due else all_of.jobs * total.due / greatest(total.jobs, 1) end as due,
               few.jobs >= total.most as is_about
        from (
            select count(*) as jobs, count(*) filter (where one.gate < 2 and one.run_at <= clock.now) as due
            from (
                select job.gate, job.run_at
                from backtick_queue as job
                where job.queue = known.queue
                order by job.queue, job.gate, job.priority, job.run_at
                limit total.most
            ) as one
        ) as few
        cross join lateral (
            select (total.jobs * coalesce(
                (select share.share from share where share.value = known.queue),
                (select share.share from share where share.value is null),
                1.0 / (select count(*) from known)))::bigint as jobs
        ) as all_of
    ) as waiting
    cross join lateral (
        select min(lane.run_at) filter (where lane.run_at <= clock.now) as oldest, min(lane.run_at) as next_at
        from (
            select door.gate,
                   (
                       select job.priority from backtick_queue as job
                       where job.queue = known.queue and job.gate = door.gate order by job.priority limit 1
                   ) as lowest,
                   (
                       select job.priority from backtick_queue as job
                       where job.queue = known.queue and job.gate = door.gate order by job.priority desc limit 1
                   ) as highest
            from generate_series(0, case
                when exists (
                        select from backtick_limit as bound
                        where bound.queue = known.queue and bound.kind in ('group', 'groups'))
                    or exists (select from backtick_pause as pause where pause.queue = known.queue and pause.kind = 'group')
                    then 0
                else 1
            end) as door (gate)
        ) as lane_of
        cross join generate_series(lane_of.lowest::int, lane_of.highest::int) as level (priority)
        cross join lateral (
            select job.run_at
            from backtick_queue as job
            where job.queue = known.queue
              and job.gate = lane_of.gate
              and job.priority = level.priority
              and job.id not in (select held.id from held)
            order by job.run_at
            limit 1
        ) as lane
    ) as first
    order by first.oldest, known.queue
$$;
comment on function bt_queues is 'What waits and runs in each queue, those first in which jobs are due for longest.';
