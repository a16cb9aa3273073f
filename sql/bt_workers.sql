-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_workers: what each worker has to do, what it did, and how long that takes.
--
-- What waits is counted by a walk over the index from one pair of queue and worker to the next, 10 000 pairs at most, and of
-- 100 000 jobs or somewhat more. What
-- ended is read from the last 10 000 jobs that are done and 2 500 that are not; where these are not all, a notice tells, and
-- how many there were is what runners noted (see bt_note_stats).
--
-- p_name    this one only; null: all
-- p_since   since when ended jobs are counted; null: the last day
-- returns   a row for each: jobs that wait and run, were done and failed (exceeded); half
--           of the done ran for at most p50_ms, 95 in a hundred for p95_ms, 99 for p99_ms; so long they waited from when
--           they were due; class and time of the last failure; how many living runners know it; about: what of this is
--           an estimate, waiting if some queue has more than 1000 jobs of it, or its part of 100 000, done and failed if they are what runners
--           noted, by the minute or, before yesterday, by the hour
create or replace function bt_workers(p_name text default null, p_since timestamptz default null)
    returns table (
        name        text,
        waiting     bigint,
        running     bigint,
        done        bigint,
        failed      bigint,
        p50_ms      bigint,
        p95_ms      bigint,
        p99_ms      bigint,
        wait_p50_ms bigint,
        wait_p95_ms bigint,
        wait_p99_ms bigint,
        error_class text,
        failed_at   timestamptz,
        runners     bigint,
        about       text[]
    )
    language plpgsql
    volatile
    set search_path from current
    set plan_cache_mode to force_custom_plan
    set timezone to 'UTC'
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now   constant timestamptz := bt_now();
    v_since timestamptz := coalesce(p_since, v_now - interval '1 day');
    v_asked constant timestamptz := v_since;
    v_done  timestamptz;
    v_bad   timestamptz;
begin
    select job.finished_at into v_done from backtick_done as job
    where job.state = 'done' and job.finished_at > v_since order by job.finished_at desc offset 10000 limit 1;
    select job.finished_at into v_bad from backtick_done as job
    where job.state = 'exceeded' and job.finished_at > v_since order by job.finished_at desc offset 2500 limit 1;
    if greatest(v_done, v_bad) is not null then
        v_since := greatest(v_done, v_bad);
        raise notice 'of so many ended jobs the times are of those since %', v_since;
    end if;

    return query
        with recursive pair (queue, name, place) as (
            (
                select job.queue, job.name, 1
                from backtick_queue as job
                order by job.queue, job.name
                limit 1
            )
            union all
            select next.queue, next.name, pair.place + 1
            from pair
            cross join lateral (
                select job.queue, job.name
                from backtick_queue as job
                where (job.queue, job.name) > (pair.queue, pair.name)
                order by job.queue, job.name
                limit 1
            ) as next
            where pair.place < 10000
        ), total as materialized (
            select every.jobs,
                   least(1000, case when every.jobs > 100000 then 100000 / (select greatest(count(*), 1) from pair) end) as most
            from (select bt_estimate(null, null, null) as jobs) as every
        ), share as materialized (
            select share.value, share.share from total cross join bt_shares('name', total.jobs) as share
        ), waits as materialized (
            select pair.name,
                   sum(counted.jobs)::bigint as jobs,
                   bool_or(counted.jobs >= total.most) as is_about
            from total
            cross join pair
            cross join lateral (
                select count(*) as jobs
                from (
                    select
                    from backtick_queue as job
                    where job.queue = pair.queue
                      and job.name = pair.name
                    order by job.queue, job.name, job.gate, job.priority, job.run_at
                    limit total.most
                ) as few
            ) as counted
            group by pair.name
        ), runs as materialized (
            select job.name, count(*) as jobs
            from (select unnest(claim.jobs) as id from backtick_claim as claim) as held
            join backtick_queue as job on job.id = held.id
            group by job.name
        ), ended as materialized (
            select job.name,
                   count(*) filter (where job.state = 'done') as done,
                   count(*) filter (where job.state = 'exceeded') as failed,
                   percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from job.finished_at - job.started_at) * 1000)
                       filter (where job.state = 'done') as ran,
                   percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from job.started_at - job.run_at) * 1000)
                       filter (where job.state = 'done') as waited,
                   max(job.finished_at) filter (where job.state = 'exceeded') as failed_at,
                   (array_agg(job.error ->> 'class' order by job.finished_at desc) filter (where job.state = 'exceeded'))[1] as class
            from backtick_done as job
            where job.state in ('done', 'exceeded')
              and job.finished_at >= v_since
            group by job.name
        ), noted as materialized (
            select stat.worker as name, sum(stat.done)::bigint as done, sum(stat.exceeded)::bigint as failed
            from backtick_stat as stat
            where v_since > v_asked
              and stat.span in ('note', 'minute', 'hour')
              and stat.at >= date_trunc('minute', v_asked)
            group by stat.worker
        ), known as materialized (
            select knows.name, count(*) as runners
            from backtick_runner as runner
            cross join unnest(runner.names) as knows (name)
            where bt_is_living(runner, v_now)
            group by knows.name
        ), worker as (
            select waits.name from waits
            union
            select ended.name from ended
            union
            select noted.name from noted
            union
            select known.name from known
        )
        select worker.name,
               greatest(
                   case
                       when waits.is_about then greatest(waits.jobs, (total.jobs * coalesce(
                           (select share.share from share where share.value = worker.name),
                           (select share.share from share where share.value is null), 0))::bigint)
                       else coalesce(waits.jobs, 0)
                   end
                       - coalesce(runs.jobs, 0), 0),
               coalesce(runs.jobs, 0),
               greatest(ended.done, noted.done, 0),
               greatest(ended.failed, noted.failed, 0),
               ended.ran[1]::bigint,
               ended.ran[2]::bigint,
               ended.ran[3]::bigint,
               ended.waited[1]::bigint,
               ended.waited[2]::bigint,
               ended.waited[3]::bigint,
               ended.class,
               ended.failed_at,
               coalesce(known.runners, 0),
               nullif(case when waits.is_about then '{waiting}'::text[] else '{}' end
                   || case when v_since > v_asked then '{done,failed}'::text[] else '{}' end, '{}')
        from total
        cross join worker
        left join waits on waits.name = worker.name
        left join runs on runs.name = worker.name
        left join ended on ended.name = worker.name
        left join noted on noted.name = worker.name
        left join known on known.name = worker.name
        where p_name is null
           or worker.name = p_name
        order by worker.name;
end;
$$;
comment on function bt_workers is 'What each worker has to do, what it did, and how long that takes.';
