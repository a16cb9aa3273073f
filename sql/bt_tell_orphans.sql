-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_due_of: how many jobs of a worker in a queue are due, 1000 at most.
create or replace function bt_due_of(p_queue text, p_name text, p_now timestamptz)
    returns bigint
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select count(*)
    from (
        select
        from generate_series(0, 1) as door (gate)
        cross join generate_series(0, 9) as lane (priority)
        cross join lateral (
            select
            from backtick_queue as job
            where job.queue = p_queue
              and job.name = p_name
              and job.gate = door.gate
              and job.priority = lane.priority
              and job.run_at <= p_now
            limit 1000
        ) as one
        limit 1000
    ) as due
$$;
comment on function bt_due_of is 'How many jobs of a worker in a queue are due, 1000 at most.';

-- backtick_orphan: what is due and cannot run, for want of a runner that serves the queue and knows the worker.
--
-- A walk over the index from one pair of queue and worker to the next, a probe each, so that it does not matter how
-- many jobs there are; over 10 000 pairs at most. The nearest name is looked for only if it is asked for.
create or replace view backtick_orphan as
    with recursive clock as materialized (
        select bt_now() as now
    ), known as materialized (
        select distinct serves.queue, knows.name
        from clock
        cross join backtick_runner as runner
        cross join unnest(runner.queues) as serves (queue)
        left join unnest(runner.names) as knows (name) on true
        where bt_is_living(runner, clock.now)
    ), served as materialized (
        select distinct known.queue from known
    ), pair (queue, name, place) as (
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
    )
    select orphan.queue,
           orphan.name as worker,
           bt_due_of(orphan.queue, orphan.name, orphan.now) as jobs,
           due.oldest,
           case when orphan.is_served then 'worker' else 'queue' end as why,
           bt_nearest(
               case when orphan.is_served then orphan.name else orphan.queue end,
               case
                   when orphan.is_served
                   then array(select known.name from known where known.queue = orphan.queue and known.name is not null order by 1)
                   else array(select served.queue from served order by 1)
               end
           ) as nearest
    from (
        select pair.queue, pair.name, clock.now, pair.queue in (select served.queue from served) as is_served
        from clock
        cross join pair
        where (pair.queue, pair.name) not in (select known.queue, known.name from known where known.name is not null)
        offset 0
    ) as orphan
    cross join lateral (  -- is asked once a pair, and not of those that nobody asked for
        select min(first.run_at) as oldest
        from (
            select door.gate,
                   (
                       select job.priority from backtick_queue as job
                       where job.queue = orphan.queue and job.name = orphan.name and job.gate = door.gate
                       order by job.priority limit 1
                   ) as lowest,
                   (
                       select job.priority from backtick_queue as job
                       where job.queue = orphan.queue and job.name = orphan.name and job.gate = door.gate
                       order by job.priority desc limit 1
                   ) as highest
            from generate_series(0, 1) as door (gate)
        ) as lane_of
        cross join generate_series(lane_of.lowest::int, lane_of.highest::int) as lane (priority)
        cross join lateral (
            select job.run_at
            from backtick_queue as job
            where job.queue = orphan.queue
              and job.name = orphan.name
              and job.gate = lane_of.gate
              and job.priority = lane.priority
            order by job.run_at
            limit 1
        ) as first
    ) as due
    where due.oldest < orphan.now - interval '1 min';
comment on view backtick_orphan is 'Jobs that have been due for a minute and that no living runner can run, by queue and worker: how many (1000 at most are counted), since when the oldest is due, whether the queue is not served or the worker not known, and the nearest name that is.';

-- bt_orphans: the same, as a function.
create or replace function bt_orphans()
    returns setof backtick_orphan
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select * from backtick_orphan order by oldest
$$;
comment on function bt_orphans is 'What is due and cannot run, for want of a runner.';

-- bt_tell_orphans: the orphans of which nobody has told yet, once they have been there for a minute: a rolling deploy
-- is no alarm.
--
-- Any number of runners ask, all the time; one of them looks, every ten seconds at most, and where that takes long
-- after fifty times as long. What was told is remembered in backtick_told until the orphan is gone.
--
-- p_limit   how many at most; the others the next time
-- returns   a row for each: queue, worker, how many jobs, and all that as a sentence
create or replace function bt_tell_orphans(p_limit int default 20)
    returns table (queue text, worker text, jobs bigint, sentence text)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    c_pause constant interval := '10 s';
    c_most  constant interval := '10 min';
    v_now   timestamptz := bt_now();
    v_found record;
begin
    update backtick_uptime as looked
    set orphans_at = v_now + c_pause
    from (
        select uptime.started_at
        from backtick_uptime as uptime
        where coalesce(uptime.orphans_at, '-infinity') not between v_now and v_now + c_most
        for no key update skip locked
    ) as free
    where looked.started_at = free.started_at;
    if not found then
        return;
    end if;

    select coalesce(array_agg(orphan.queue), '{}') as queues,
           coalesce(array_agg(orphan.worker), '{}') as workers,
           coalesce(array_agg(orphan.oldest), '{}') as oldest,
           coalesce(array_agg(orphan.why), '{}') as whys
    into v_found
    from backtick_orphan as orphan;

    delete from backtick_told as told
    using (
        select old.queue, old.worker
        from backtick_told as old
        where not exists (
            select from unnest(v_found.queues, v_found.workers) as orphan (queue, worker)
            where orphan.queue = old.queue and orphan.worker = old.worker)
        for update skip locked
    ) as gone
    where told.queue = gone.queue
      and told.worker = gone.worker;
    insert into backtick_told (queue, worker, since)
    select orphan.queue, orphan.worker, v_now
    from unnest(v_found.queues, v_found.workers) as orphan (queue, worker)
    on conflict do nothing;

    return query
        with telling as (
            update backtick_told as told
            set told_at = v_now
            from (
                select new.queue, new.worker
                from backtick_told as new
                where new.told_at is null
                  and new.since <= v_now - interval '1 min'
                order by new.since, new.queue, new.worker
                limit p_limit
                for no key update skip locked
            ) as free
            where told.queue = free.queue
              and told.worker = free.worker
            returning told.queue, told.worker
        )
        select orphan.queue, orphan.worker, orphan.jobs, case orphan.why
                   when 'queue' then format('no living runner serves the queue %s', orphan.queue)
                       || coalesce(' (the nearest one served is ' || bt_nearest(orphan.queue, bt_known_queues(v_now)) || ')', '')
                   else format('no living runner that serves the queue %s knows the worker %s', orphan.queue, orphan.worker)
                       || coalesce(
                           ' (the nearest one known is '
                           || bt_nearest(orphan.worker, bt_known_workers(orphan.queue, v_now)) || ')', '')
               end || format(', and %s of %s due, the oldest since %s', case
                   when orphan.jobs >= 1000 then '1000 jobs or more'
                   when orphan.jobs = 1 then '1 job'
                   else orphan.jobs || ' jobs'
               end, orphan.worker || case orphan.jobs when 1 then ' is' else ' are' end, bt_moment(orphan.oldest, v_now))
        from (
            select found.*, bt_due_of(found.queue, found.worker, v_now) as jobs
            from unnest(v_found.queues, v_found.workers, v_found.oldest, v_found.whys) as found (queue, worker, oldest, why)
            join telling on telling.queue = found.queue and telling.worker = found.worker
            offset 0
        ) as orphan
        order by orphan.queue, orphan.worker;

    update backtick_uptime as looked
    set orphans_at = v_now + least(c_most, 50 * (bt_now() - v_now))
    where bt_now() - v_now > c_pause / 50;
end;
$$;
comment on function bt_tell_orphans is 'The orphans of which nobody has told yet: queue, worker, number of jobs, and a sentence.';
