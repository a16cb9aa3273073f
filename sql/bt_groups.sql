-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_groups: the groups that have jobs which have not ended, those first of which most wait.
--
-- A walk over the index from group to group, and from each so many jobs and no more: it does not matter how many there are.
-- Where there are more groups than it looks at, a notice tells.
--
-- p_queue   of this queue; null: of all
-- p_limit   at how many groups it looks
-- returns   a row for each: how many jobs wait (1000: as many or more) and run, since when the first that waits is due, how many may
--           run at once, by its own limit or that of the groups of its queue, and since when it is paused
create or replace function bt_groups(p_queue text default null, p_limit int default 200)
    returns table (
        queue     text,
        name      text,
        waiting   bigint,
        running   bigint,
        oldest    timestamptz,
        at_once   int,
        paused_at timestamptz
    )
    language plpgsql
    stable
    set search_path from current
    set plan_cache_mode to force_custom_plan
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    v_lowest  constant int := coalesce(hashtext(p_queue), -2147483648);
    v_highest constant int := coalesce(hashtext(p_queue), 2147483647);
    v_count   bigint;
begin
    return query
        with recursive walked (hash, queue, name, place) as (
            (
                select hashtext(job.queue), job.queue, job.group_key, 1
                from backtick_queue as job
                where job.group_key is not null
                  and hashtext(job.queue) between v_lowest and v_highest
                order by hashtext(job.queue), job.group_key
                limit 1
            )
            union all
            select next.hash, next.queue, next.name, walked.place + 1
            from walked
            cross join lateral (
                select hashtext(job.queue) as hash, job.queue, job.group_key as name
                from backtick_queue as job
                where job.group_key is not null
                  and (hashtext(job.queue), job.group_key) > (walked.hash, walked.name)
                  and hashtext(job.queue) <= v_highest
                order by hashtext(job.queue), job.group_key
                limit 1
            ) as next
            where walked.place < p_limit
        ), held as materialized (
            select job.queue, job.group_key as name, array_agg(held.id) as ids
            from backtick_claim as claim
            cross join unnest(claim.jobs) as held (id)
            cross join lateral (select job.queue, job.group_key from backtick_queue as job where job.id = held.id offset 0) as job
            where exists (select from walked)
              and job.group_key is not null
            group by job.queue, job.group_key
        )
        select walked.queue,
               walked.name,
               counted.jobs,
               coalesce(cardinality(held.ids), 0)::bigint,
               case when counted.oldest <= bt_now() then counted.oldest end,
               coalesce(own.running, every.running),
               pause.paused_at
        from walked
        left join held on held.queue = walked.queue and held.name = walked.name
        left join backtick_limit as own on own.kind = 'group' and own.queue = walked.queue and own.name = walked.name
        left join backtick_limit as every on every.kind = 'groups' and every.queue = walked.queue and own.queue is null
        left join backtick_pause as pause on pause.kind = 'group' and pause.queue = walked.queue and pause.name = walked.name
        cross join lateral (
            select count(*) as jobs, min(few.run_at) as oldest
            from (
                select job.run_at
                from backtick_queue as job
                where hashtext(job.queue) = walked.hash
                  and job.group_key = walked.name
                  and job.queue = walked.queue
                  and (held.ids is null or job.id <> all (held.ids))
                order by job.gate, job.priority, job.run_at
                limit 1000
            ) as few
        ) as counted
        order by 3 desc, 1, 2;
    get diagnostics v_count = row_count;
    if v_count >= p_limit then
        raise notice 'there may be more groups than these %', v_count;
    end if;
end;
$$;
comment on function bt_groups is 'The groups that have jobs which have not ended: what waits and runs of each, and how many may.';
