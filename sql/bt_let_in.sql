-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_let_in: open the gates of groups that have room; for bt_floor, whose caller holds the queue's lock.
--
-- A job with a group is queued with gate 1, and no claim sees it. Here the first jobs of its group that are due get
-- gate 0, as many as its limit leaves, and stand from now on at the end of the jobs of their priority: so groups take
-- turns. From then on they are jobs like others. Of a group without a limit 32 at a time are let in, so that it takes
-- turns as well; what runs of it does not count, so claims look again at those that have more (can_wait).
--
-- How many are in is counted from the rows with gate 0: let in, or running, or, where a failed job keeps its place
-- (on_failure wait), waiting for its next try. Only what holds the queue's lock opens gates, and it reads in statements
-- after the one that got the lock, so no limit is ever exceeded; what ends at the same time counts still, and tells.
--
-- Which groups may have room is told by rows of backtick_opening, which whoever queues or ends jobs of a group adds,
-- without a lock on anything. Read is what has come since the last look (p_seen), and removed with it, at most a
-- thousand rows a call. A job that was not due when it came is found by the time at which it is. Whatever gets lost,
-- bt_note_groups finds, once a minute. A full group costs one probe of an index, however many jobs wait there.
--
-- In a group whose failed jobs keep their place nobody passes a job whose row somebody has locked, to cancel it say: the
-- order is kept. In others he does.
--
-- The settings of bt_claim hold here: as there no statement may have a plan to choose. Hence the hash of the queue's name.
-- Callers pin the search_path.
--
-- p_queue   the queue
-- p_seen    what the last look has seen
-- p_since   when the last look was; null: do not look for jobs that have become due
-- p_now     what time it is
-- returns   up to which time what has become due was looked at; null: not all that was told has been read
create or replace function bt_let_in(p_queue text, p_seen pg_snapshot, p_since timestamptz, p_now timestamptz)
    returns timestamptz
    language plpgsql
    volatile
as $$
declare
    c_most   constant int := 1000;
    c_later  constant int := 5000;  -- jobs that have become due, a call
    c_turn   constant int := 32;
    c_jobs   constant int := 5000;  -- jobs that a call lets in, about
    v_groups text[];
    v_due    text[];
    v_told   int;
    v_later  int;
    v_at     timestamptz;
    v_most   int;
    v_all    record;
    v_has_own boolean;
    v_first  record;
    v_ids    bigint[];
    v_locked text[];
    v_group  text;
    v_was    text;
begin
    with told as (
        delete from backtick_opening as opening
        where opening.ctid = any (array(
            select next.ctid
            from (
                select found.ctid,
                       sum(found.n) over (order by found.xid, found.id) - found.n as before
                from (
                    select found.ctid, found.xid, found.id, cardinality(found.group_keys) as n
                    from backtick_opening as found
                    where found.queue = p_queue
                      and found.xid >= pg_snapshot_xmin(p_seen)
                      and found.group_keys is not null
                      and (p_since is not null or not found.can_wait)
                    order by found.xid, found.id
                    limit c_most
                    for update skip locked
                ) as found
            ) as next
            where next.before < c_most
        ))
        returning opening.group_keys
    )
    select array_agg(distinct known.name), count(*) into v_groups, v_told
    from told
    cross join unnest(told.group_keys) as known (name);
    if p_since is not null then
        select array_agg(distinct later.group_key), max(later.run_at), count(*) into v_due, v_at, v_later
        from (
            select job.group_key, job.run_at
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.gate + 0 = 1
              and job.run_at > job.created_at
              and job.run_at > p_since
              and job.run_at <= p_now
            order by job.run_at
            limit c_later
        ) as later;
        if v_due is not null then
            v_groups := array(select unnest(v_groups) union select unnest(v_due));
        end if;
    end if;

    if v_groups <> '{}' then
        v_most := greatest(1, c_jobs / cardinality(v_groups));
        -- What holds for all groups is asked once; group by group only if some have a limit of their own, or are paused.
        select its.running, its.rate into v_all from bt_limit_of(p_queue, '') as its;
        v_has_own := exists (select from backtick_limit as limits where limits.kind = 'group' and limits.queue = p_queue)
            or exists (select from backtick_pause as pause where pause.queue = p_queue and pause.kind = 'group');

        -- One probe a group tells how many are in, which come first, and then which may be let in. Where the limit is high, those
        -- that are in are counted before, and no more are looked at than a call lets in. Without a limit, of 32 that are in those
        -- are counted that no claim holds, and that were let in within a minute: of others no runner may know the worker.
        with asked as materialized (
            select given.group_key,
                   coalesce(case when v_has_own then own.running else v_all.running end, c_turn) as most,
                   case when v_has_own then own.rate else v_all.rate end is not null as has_rate,
                   case when v_has_own then own.running else v_all.running end is null as is_turn
            from unnest(v_groups) as given (group_key)
            left join lateral (
                select its.* from bt_limit_of(p_queue, given.group_key) as its where v_has_own offset 0
            ) as own on true
            where own.is_paused is not true
        ), front as materialized (
            select asked.*, asked.most - inside.n - job.n as n, job.ids, job.last_run_at
            from asked
            cross join lateral (
                select count(*)::int as n
                from (
                    select
                    from backtick_queue as job
                    where asked.most > c_turn
                      and hashtext(job.queue) = hashtext(p_queue)
                      and job.group_key = asked.group_key
                      and job.gate = 0
                      and job.queue || '' = p_queue
                    limit asked.most
                ) as job
            ) as inside
            cross join lateral (
                select array_agg(job.id) filter (where job.gate = 1) as ids,
                       max(job.run_at) filter (where job.gate = 1) as last_run_at,
                       (count(*) filter (where job.gate = 0))::int as n
                from (
                    select job.id, job.gate, job.run_at
                    from backtick_queue as job
                    where hashtext(job.queue) = hashtext(p_queue)
                      and job.group_key = asked.group_key
                      and job.gate >= case when asked.most > c_turn then 1 else 0 end
                      and job.gate < 2
                      and job.queue || '' = p_queue
                    order by job.gate, job.priority, job.run_at, job.id + 0
                    limit case when asked.most > c_turn then least(asked.most - inside.n, v_most) else asked.most end
                ) as job
            ) as job
            where not asked.has_rate
        ), held as materialized (
            select unnest(claim.jobs) as id
            from backtick_claim as claim
            where hashtext(claim.queue) = hashtext(p_queue)
              and exists (select from front where front.is_turn and front.n = 0)
        ), first as (
            select front.group_key, front.ids, front.last_run_at, front.is_turn, least(front.n, v_most) as most,
                   front.n > v_most as is_more
            from front
            where front.n > 0
            union all
            select room.group_key, job.ids, job.last_run_at, true, room.most, true
            from (
                select front.group_key, least(greatest(0, c_turn - inside.n), v_most) as most
                from front
                cross join lateral (
                    select count(*)::int as n
                    from (
                        select job.id
                        from backtick_queue as job
                        where hashtext(job.queue) = hashtext(p_queue)
                          and job.group_key = front.group_key
                          and job.gate = 0
                          and job.queue || '' = p_queue
                          and job.run_at > p_now - interval '1 min'
                        limit 1000
                    ) as job
                    where job.id not in (select held.id from held)
                ) as inside
                where front.is_turn
                  and front.n = 0
                offset 0
            ) as room
            cross join lateral (
                select array_agg(job.id) as ids, max(job.run_at) as last_run_at
                from (
                    select job.id, job.run_at
                    from backtick_queue as job
                    where hashtext(job.queue) = hashtext(p_queue)
                      and job.group_key = room.group_key
                      and job.gate = 1
                      and job.queue || '' = p_queue
                    order by job.priority, job.run_at, job.id + 0
                    limit greatest(1, room.most)
                ) as job
            ) as job
        )
        select array_agg(job.id) filter (where not first.is_mixed and job.place <= first.most) as ids,
               array_agg(first.group_key) filter (where first.is_mixed and job.place = 1) as mixed,
               array_agg(first.most) filter (where first.is_mixed and job.place = 1) as most,
               array_agg(first.group_key) filter (where first.is_watched and not first.is_mixed and job.place = 1) as watched,
               (select array_agg(asked.group_key) from asked where asked.has_rate) as others
        into v_first
        from (
            select first.*, first.last_run_at > p_now as is_mixed,
                   (first.is_turn or first.is_more) and cardinality(first.ids) >= greatest(1, first.most) as is_watched
            from first
        ) as first
        cross join lateral unnest(first.ids[:greatest(1, first.most)]) with ordinality as job (id, place);

        if v_first.watched is not null then
            insert into backtick_opening (queue, group_keys, can_wait, noted_at) values (p_queue, v_first.watched, true, p_now);
        end if;
        if v_first.mixed is not null then  -- what is due is looked for priority by priority
            v_first.ids := v_first.ids || array(
                select job.id
                from unnest(v_first.mixed, v_first.most) as room (group_key, most)
                cross join lateral (
                    select job.id
                    from generate_series(0, 9) with ordinality as lane (priority, place)
                    cross join lateral (
                        select job.id
                        from backtick_queue as job
                        where hashtext(job.queue) = hashtext(p_queue)
                          and job.group_key = room.group_key
                          and job.gate = 1
                          and job.queue || '' = p_queue
                          and job.priority = lane.priority
                          and job.run_at <= p_now
                        order by job.run_at, job.id + 0
                        limit room.most
                    ) as job
                    order by lane.place
                    limit room.most
                ) as job
            );
        end if;

        -- Of these jobs bt_note_moved need not tell: they stand above the floor.
        v_was := set_config('backtick.lets_in', 'true', true);
        if v_first.ids is not null then
            v_ids := array(
                select job.id from backtick_queue as job where job.id = any (v_first.ids) and job.gate = 1
                for no key update skip locked);
            if cardinality(v_ids) < cardinality(v_first.ids) then
                v_locked := array(
                    select distinct job.group_key
                    from backtick_queue as job
                    where job.id = any (v_first.ids)
                      and job.id <> all (v_ids));
                v_ids := array(
                    select job.id from backtick_queue as job where job.id = any (v_ids) and job.group_key <> all (v_locked));
            end if;
            update backtick_queue as job
            set gate = 0,
                due_at = coalesce(job.due_at, job.run_at),
                run_at = p_now
            where job.id = any (v_ids);
        end if;
        for v_group in
            select distinct given.group_key from unnest(v_first.others || v_locked) as given (group_key)
        loop
            perform bt_let_in_some(p_queue, v_group, p_now);
        end loop;
        v_was := set_config('backtick.lets_in', '', true);
    end if;

    if v_told >= c_most then
        return null;
    end if;
    return case when v_later = c_later then v_at else p_now end;
end;
$$;
comment on function bt_let_in is 'Open the gates of groups that have room.';

-- bt_let_in_some: the same of one group that needs a closer look: somebody has locked some of its jobs, or it has a rate.
--
-- Of a rate, what is in and has not begun counts as well: each is let in for the time at which it may begin, at the
-- soonest, and bt_claim looks again: see bt_begin_limited.
create or replace function bt_let_in_some(p_queue text, p_group text, p_now timestamptz)
    returns void
    language plpgsql
    volatile
as $$
declare
    c_turn constant int := 32;
    v_its    record;
    v_in     int;
    v_unheld int;
    v_most   int;
    v_count  int := 0;
    v_job    record;
begin
    select * into v_its from bt_limit_of(p_queue, p_group) as its;
    if v_its.is_paused then
        return;
    end if;

    with job as materialized (
        select job.id, job.run_at
        from backtick_queue as job
        where hashtext(job.queue) = hashtext(p_queue)
          and job.group_key = p_group
          and job.gate = 0
          and job.queue || '' = p_queue
        order by job.gate desc, job.priority desc, job.run_at desc, job.id + 0 desc
        limit coalesce(v_its.running, 1000)
    ), held as (
        select unnest(claim.jobs) as id
        from backtick_claim as claim
        where hashtext(claim.queue) = hashtext(p_queue)
          and claim.lowest <= (select max(job.id) from job)
          and claim.highest >= (select min(job.id) from job)
    )
    select count(*),
           count(*) filter (where job.id not in (select held.id from held)
                            and (v_its.rate is not null or job.run_at > p_now - interval '1 min'))
    into v_in, v_unheld
    from job;
    v_most := coalesce(v_its.running - v_in, c_turn - v_unheld);
    if v_its.rate is not null then
        v_most := least(v_most, v_its.rate - v_unheld);
    end if;

    for v_job in
        select job.id
        from generate_series(0, 9) with ordinality as lane (priority, place)
        cross join lateral (
            select job.id
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.group_key = p_group
              and job.gate = 1
              and job.queue || '' = p_queue
              and job.priority = lane.priority
              and job.run_at <= p_now
            order by job.run_at, job.id + 0
            limit greatest(0, v_most) + 100
        ) as job
        order by lane.place
    loop
        if v_count >= v_most then
            if v_its.running is null or v_in + v_count < v_its.running then  -- else who ends tells
                insert into backtick_opening (queue, group_keys, can_wait, noted_at) values (p_queue, array[p_group], true, p_now);
            end if;
            exit;
        end if;
        perform from backtick_queue as job where job.id = v_job.id and job.gate = 1 for no key update skip locked;
        if found then
            update backtick_queue as job
            set gate = 0,
                due_at = coalesce(job.due_at, job.run_at),
                run_at = greatest(p_now, bt_may_begin(p_queue, p_group, v_its.rate - v_unheld, v_its.period, p_now))
            where job.id = v_job.id;
            v_count := v_count + 1;
            v_unheld := v_unheld + 1;
        else  -- told again, for nobody else will if its transaction rolls back
            insert into backtick_opening (queue, group_keys, noted_at) values (p_queue, array[p_group], p_now);
            exit when v_its.waits;
        end if;
    end loop;
end;
$$;
comment on function bt_let_in_some is 'Open the gate of one group, with a closer look.';

-- bt_limit_of: what holds for a group: its own limit, or that of all groups of its queue.
--
-- returns   running, rate and period, as in backtick_limit; waits: a failed job keeps its place, and the others wait;
--           is_paused
create or replace function bt_limit_of(p_queue text, p_group text)
    returns table (running int, rate int, period interval, waits boolean, is_paused boolean)
    language sql
    stable
as $$
    select its.running, its.rate, its.period, coalesce(its.on_failure = 'wait', its.running = 1, false),
           exists (
               select from backtick_pause as pause
               where pause.queue = p_queue
                 and pause.kind = 'group'
                 and pause.name = p_group
           )
    from (select) as one
    left join lateral (
        select own.*
        from (
            select own.* from backtick_limit as own where own.kind = 'group' and own.queue = p_queue and own.name = p_group
            union all
            select alls.* from backtick_limit as alls where alls.kind = 'groups' and alls.queue = p_queue and alls.name = ''
        ) as own
        order by own.kind
        limit 1
    ) as its on true
$$;
comment on function bt_limit_of is 'What holds for a group: its own limit, or that of all groups of its queue.';

-- bt_waits: whether a failed job of a group keeps its place, and the others wait for it.
create or replace function bt_waits(p_queue text, p_group text)
    returns boolean
    language sql
    stable
    set search_path from current
as 'select its.waits from bt_limit_of(p_queue, p_group) as its';
comment on function bt_waits is 'Whether a failed job of a group keeps its place, and the others wait for it.';

-- bt_may_begin: when one more may begin of what has a rate.
--
-- p_group   the group; empty: the queue
-- p_nth     it is that of so many begins in a period, counted back from the last one
-- returns   when; null: at once
create or replace function bt_may_begin(p_queue text, p_group text, p_nth int, p_period interval, p_now timestamptz)
    returns timestamptz
    language sql
    stable
as $$
    select max(begun.begun_at) + p_period
    from (
        select latest.begun_at, sum(latest.jobs) over (order by latest.begun_at desc) as n
        from backtick_begun as latest
        where latest.queue = p_queue
          and latest.group_key = p_group
          and latest.begun_at > p_now - p_period
    ) as begun
    where begun.n >= p_nth
$$;
comment on function bt_may_begin is 'When one more may begin of what has a rate; null: at once.';

-- bt_close_gates: have what is in beyond a limit that was lowered wait again; for bt_claim, which holds the queue's lock.
create or replace function bt_close_gates(p_queue text, p_now timestamptz)
    returns void
    language plpgsql
    volatile
as $$
declare
    v_over   bigint[];
    v_free   bigint[];
begin
    with recursive held as materialized (
        select unnest(claim.jobs) as id from backtick_claim as claim where hashtext(claim.queue) = hashtext(p_queue)
    ), known as (  -- from group to group, by probes of the index
        select (
            select job.group_key
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.group_key is not null
            order by job.group_key
            limit 1
        ) as group_key
        union all
        select (
            select job.group_key
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.group_key > known.group_key
            order by job.group_key
            limit 1
        )
        from known
        where known.group_key is not null
    ), inside as materialized (
        select job.id, job.group_key, job.due_at, job.is_held,
               row_number() over (
                   partition by job.group_key
                   order by job.is_held desc, job.due_at is null desc, job.run_at, job.id) as place
        from (
            select job.id, job.group_key, job.due_at, job.run_at, job.id in (select held.id from held) as is_held
            from known
            cross join lateral (
                select job.id, job.group_key, job.due_at, job.run_at
                from backtick_queue as job
                where hashtext(job.queue) = hashtext(p_queue)
                  and job.group_key = known.group_key
                  and job.gate = 0
                  and job.queue || '' = p_queue
                offset 0
            ) as job
            offset 0
        ) as job
    )
    select coalesce(array_agg(inside.id), '{}')
    into v_over
    from (select distinct inside.group_key from inside) as given
    cross join lateral (select its.* from bt_limit_of(p_queue, given.group_key) as its offset 0) as its
    join inside on inside.group_key = given.group_key
    where not inside.is_held
      and (inside.place > its.running or its.rate is not null and inside.due_at is not null);

    v_free := array(select job.id from backtick_queue as job where job.id = any (v_over) for no key update skip locked);
    with closed as (
        update backtick_queue as job
        set gate = 1,
            run_at = coalesce(job.due_at, job.run_at),
            due_at = null
        where job.id = any (v_free)
        returning job.group_key
    )
    insert into backtick_opening (queue, group_keys, noted_at)
    select p_queue, array_agg(distinct closed.group_key), p_now from closed having count(*) > 0;

    if cardinality(v_free) = cardinality(v_over) then
        update backtick_setting as setting
        set is_closing = false
        from (select queue from backtick_setting where queue = p_queue for no key update skip locked) as free
        where setting.queue = free.queue;
    end if;
end;
$$;
comment on function bt_close_gates is 'Have what is in beyond a limit that was lowered wait again.';

-- bt_note_groups: tell claims of the groups of a queue of which jobs wait, and are due, whether there is room or not.
--
-- From group to group, and priority to priority, by probes of the index: some 20 us a group, however many jobs wait.
create or replace function bt_note_groups(p_queue text)
    returns void
    language sql
    volatile
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
    insert into backtick_opening (queue, group_keys, noted_at)
    with recursive waiting as (
        (
            select job.group_key, job.gate, job.priority, job.run_at
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.group_key is not null
            order by job.group_key, job.gate, job.priority, job.run_at
            limit 1
        )
        union all
        select next.group_key, next.gate, next.priority, next.run_at
        from waiting
        cross join lateral (
            select job.group_key, job.gate, job.priority, job.run_at
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(p_queue)
              and job.group_key is not null
              and (job.group_key, job.gate, job.priority) > (waiting.group_key, waiting.gate, waiting.priority)
            order by job.group_key, job.gate, job.priority, job.run_at
            limit 1
        ) as next
    )
    select p_queue, array_agg(due.group_key), bt_now()
    from (
        select due.group_key, row_number() over () / 100 as part
        from (
            select distinct waiting.group_key
            from waiting
            where waiting.gate = 1
              and waiting.run_at <= bt_now()
        ) as due
    ) as due
    group by due.part
$$;
comment on function bt_note_groups is 'Tell claims of the groups of a queue of which jobs wait.';

-- bt_tend_groups: once a minute, whichever runner looks first, have claims look at all groups of which jobs wait and are due,
-- whatever got lost; and forget what rates need no longer. For bt_revive.
create or replace function bt_tend_groups()
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now timestamptz := bt_now();
begin
    update backtick_uptime as uptime
    set groups_at = v_now + interval '1 min'
    from (
        select due.started_at
        from backtick_uptime as due
        where due.groups_at is null
           or due.groups_at not between v_now and v_now + interval '1 min'
        for no key update skip locked
    ) as due
    where uptime.started_at = due.started_at;
    if found then
        perform bt_note_groups(served.queue)
        from (select distinct unnest(runner.queues) as queue from backtick_runner as runner) as served;
        delete from backtick_begun as begun
        where begun.begun_at < v_now - coalesce((select max(limits.period) from backtick_limit as limits), interval '0');
    end if;
end;
$$;
comment on function bt_tend_groups is 'Once a minute, have claims look at all groups of which jobs wait.';
