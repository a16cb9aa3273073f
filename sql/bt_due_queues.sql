-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_due_queues: which of many queues are worth a claim, for a runner that serves so many that it cannot claim from each.
--
-- Takes no lock, and does not ask whether somebody holds what is due. Most queues are empty, which one look at an index
-- tells.
--
-- p_queues   the queues
-- returns    those that have a job which is due, in the order of p_queues
create or replace function bt_due_queues(p_queues text[])
    returns setof text
    language sql
    volatile
    set search_path from current
    set plan_cache_mode to force_generic_plan
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
    select served.queue
    from (
        select served.queue, served.place, bt_now() as now
        from unnest(p_queues) with ordinality as served (queue, place)
        where (select job.queue from backtick_queue as job where job.queue = served.queue limit 1) is not null
        offset 0  -- what follows is asked of these only
    ) as served
    where exists (
            select
            from generate_series(0, 9) as lane (priority)
            cross join lateral (
                select
                from backtick_queue as job
                where job.queue = served.queue
                  and job.gate = 0
                  and job.priority = lane.priority
                  and job.run_at <= served.now
                limit 1
            ) as due
        )
        or exists (
            select
            from backtick_queue as gated
            where hashtext(gated.queue) = hashtext(served.queue)
              and gated.gate + 0 = 1
              and gated.run_at > gated.created_at
              and gated.run_at <= served.now
        )
        or exists (select from backtick_opening as opening where opening.queue = served.queue)
    order by served.place
$$;
comment on function bt_due_queues is 'Which of many queues have a job that is due.';
