-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_stats: numbers over time: what became of jobs, and how long they ran and waited.
--
-- By the minute for the last day, before that by the hour, for 30 days: an hour's numbers then stand at its beginning.
-- Runners tell every few seconds, so the last few are missing; what a runner that was killed had not told is lost, and
-- nothing else is, whoever restarts. Ends that no runner has a part in (a cancel of what waits, an expiry) are told at once.
--
-- p_from    from when; null: an hour ago
-- p_to      to when, itself not in it; null: now
-- p_step    how long each step is; null: one for all
-- p_queue, p_worker  only of these; null: of all
-- p_by      queue, or worker: a row for each of these, the other one null; all: one for all, both null; null: for each pair
-- p_brief   p50 and p95 are not told, which takes most of the time
-- returns   a row for each step, queue and worker of which anything is known: done, exceeded, canceled: jobs that ended so;
--           failed: tries that did; retried: those of them after which the job was queued again; crashed: times that its runner
--           died; runs: how many the times are of, in seconds: run_mean, wait_mean, and half (p50) and most (p95) of them
--           took no longer than about so long, by classes: see bt_bounds; the least bound that is true
-- raises    22023 invalid_parameter_value
create or replace function bt_stats(
    p_from   timestamptz default null,
    p_to     timestamptz default null,
    p_step   interval default null,
    p_queue  text default null,
    p_worker text default null,
    p_by     text default null,
    p_brief  boolean default false
)
    returns table (
        at        timestamptz,
        queue     text,
        worker    text,
        done      bigint,
        failed    bigint,
        retried   bigint,
        exceeded  bigint,
        canceled  bigint,
        snoozed   bigint,
        crashed   bigint,
        runs      bigint,
        run_mean  float8,
        run_p50   float8,
        run_p95   float8,
        wait_mean float8,
        wait_p50  float8,
        wait_p95  float8
    )
    language plpgsql
    stable
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now  constant timestamptz := bt_now();
    v_from constant timestamptz := date_trunc('minute', coalesce(p_from, coalesce(p_to, v_now) - interval '1 h'));
    v_to   constant timestamptz := coalesce(p_to, v_now);
    v_step constant interval := coalesce(p_step, greatest(v_to - v_from, interval '0') + interval '1 min');
begin
    if p_by not in ('queue', 'worker', 'all') then
        raise exception 'bt_stats: by is "%"', left(p_by, 60)
            using errcode = 'invalid_parameter_value', hint = 'It is queue, worker or all; null: by both.';
    end if;
    if not isfinite(v_from) or not isfinite(v_to)
        or v_step < interval '1 min' or extract(month from v_step) <> 0 or extract(year from v_step) <> 0
        or v_to - v_from > 10000 * v_step
    then
        raise exception 'bt_stats: %', concat_ws(', ', 'from ' || p_from, 'to ' || p_to, 'step ' || p_step)
            using errcode = 'invalid_parameter_value',
                  hint = 'Steps are a minute or longer, of days, hours and minutes, and 10000 at most.';
    end if;

    return query
        select date_bin(v_step, stat.at, v_from),
               case when coalesce(p_by, 'queue') = 'queue' then stat.queue end,
               case when coalesce(p_by, 'worker') = 'worker' then stat.worker end,
               sum(stat.done)::bigint, sum(stat.failed)::bigint, sum(stat.retried)::bigint, sum(stat.exceeded)::bigint,
               sum(stat.canceled)::bigint, sum(stat.snoozed)::bigint, sum(stat.crashed)::bigint, sum(stat.runs)::bigint,
               sum(stat.run_s) / nullif(sum(stat.runs), 0),
               case when not p_brief then bt_quantile(bt_sum(stat.run_classes), 0.5) end,
               case when not p_brief then bt_quantile(bt_sum(stat.run_classes), 0.95) end,
               sum(stat.wait_s) / nullif(sum(stat.runs), 0),
               case when not p_brief then bt_quantile(bt_sum(stat.wait_classes), 0.5) end,
               case when not p_brief then bt_quantile(bt_sum(stat.wait_classes), 0.95) end
        from backtick_stat as stat
        where stat.span in ('note', 'minute', 'hour')
          and stat.at >= v_from
          and stat.at < v_to
          and (p_queue is null or stat.queue = p_queue)
          and (p_worker is null or stat.worker = p_worker)
        group by 1, 2, 3
        order by 1, 2, 3;
end;
$$;
comment on function bt_stats is 'Numbers over time, by step, queue and worker: what became of jobs, and how long they ran and waited.';

-- bt_enqueued: how many jobs were enqueued over time, of all queues and workers together.
--
-- It goes by ids, which cost nothing to count: those that were given and rolled back count too, and what was enqueued in the
-- first seconds of a minute may count as of the minute before. While no runner lives nobody notes them: what was enqueued then
-- stands where the next one begins.
--
-- p_from    from when; null: an hour ago
-- p_to      to when, itself not in it; null: now
-- p_step    how long each step is
-- raises    22023 invalid_parameter_value
create or replace function bt_enqueued(
    p_from timestamptz default null,
    p_to   timestamptz default null,
    p_step interval default '1 min'
)
    returns table (at timestamptz, enqueued bigint)
    language plpgsql
    stable
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    v_from constant timestamptz := date_trunc('minute', coalesce(p_from, coalesce(p_to, bt_now()) - interval '1 h'));
begin
    if p_step is null or p_step < interval '1 min' or extract(month from p_step) <> 0 or extract(year from p_step) <> 0
        or not isfinite(v_from)
    then
        raise exception 'bt_enqueued: from %, step %', v_from, coalesce(p_step::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Steps are a minute or longer, of days, hours and minutes.';
    end if;
    return query
        with known as (
            select stat.at, stat.ids
            from backtick_stat as stat
            where stat.span = 'ids'
              and stat.at >= v_from
            union all
            select date_trunc('minute', bt_now()) + interval '1 min',
                   coalesce(pg_sequence_last_value(pg_get_serial_sequence('backtick_queue', 'id')), 0)
        ), grown as (
            select known.at - interval '1 min' as at, known.ids - lag(known.ids) over (order by known.at) as jobs from known
        )
        select date_bin(p_step, grown.at, v_from), sum(greatest(grown.jobs, 0))::bigint
        from grown
        where grown.jobs is not null
          and grown.at >= v_from
          and grown.at < coalesce(p_to, 'infinity')
        group by 1
        order by 1;
end;
$$;
comment on function bt_enqueued is 'How many jobs were enqueued over time, of all queues and workers together.';

-- bt_quantile: the bound that the given share of times does not exceed; null: there are none, or it is above the last bound.
create or replace function bt_quantile(p_classes bigint[], p_share float8)
    returns float8
    language sql
    immutable
    set search_path from current
as $$
    select (bt_bounds())[class.place]
    from (
        select one.place,
               sum(one.jobs) over (order by one.place) as below,
               sum(one.jobs) over () as total
        from unnest(p_classes) with ordinality as one (jobs, place)
    ) as class
    where class.total > 0
      and class.below >= p_share * class.total
    order by class.place
    limit 1
$$;
comment on function bt_quantile is 'The bound that the given share of times does not exceed.';
