-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_let_in: find what may begin of groups that have room; for bt_floor, whose caller, a claim, holds the queue's lock.
--
-- A job with a group is queued with gate 1, and stands in the line of its group. Here the first jobs of that line that are
-- due are found, as many as its limit leaves. A claim that has room for them takes them from there, and does not write
-- their rows: they run with gate 1, and the claim has the hashes of their groups (backtick_claim.groups). Whatever is not as
-- simple as that (a worker whom the runner does not know, a row that somebody has locked, a job that has crashed, a claim
-- that is full) gets gate 0 here, or by bt_let_in_beside, and stands from now on at the end of the jobs of its priority;
-- from then on it is a job like others. Either way groups take turns. Of a group without a limit 32 at a time are let in, so
-- that it takes turns as well; what runs of it does not count, so claims look again at those that have more (can_wait).
--
-- How many are in is counted from the rows with gate 0, let in, or running, or, where a failed job keeps its place
-- (on_failure wait), waiting for its next try; and from the claims that took others from their line. Only what holds the
-- queue's lock lets in or takes, and it reads in statements after the one that got the lock, so no limit is ever exceeded;
-- what ends at the same time counts still, and tells. What is handed back has gate 0 then, or stands in its line again.
--
-- Which groups may have room is told by rows of backtick_opening, which whoever queues or ends jobs of a group adds,
-- without a lock on anything. Read is what has come since the last look (p_seen), and removed with it, in the order in
-- which it was told, about a thousand groups a call, or as many as the claim has room for. A job that was not due when it came is found by the time at which it is. Whatever gets lost,
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
-- p_names   the workers that the runner knows
-- p_room    so many the claim may take; null: none, all are let in
-- looked_until  up to which time what has become due was looked at; null: not all that was told has been read
-- ids       what it may take, in order; more than p_room sometimes: see bt_let_in_beside. Null: nothing
-- hashes    of each of them, its group
create or replace function bt_let_in(
    p_queue text,
    p_seen  pg_snapshot,
    p_since timestamptz,
    p_now   timestamptz,
    p_names text[],
    p_room  int,
    out looked_until timestamptz,
    out ids    bigint[],
    out hashes bigint[]
)
    language plpgsql
    volatile
as $$
declare
    c_most   constant int := least(1000, greatest(10, coalesce(p_room, 1000)));
    c_all    constant int := 1000;  -- groups that are looked at, about
    c_bytes  constant int := 16777216;  -- of arguments, of all that is taken
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
    v_hashes bigint[];
    v_asked  text[] := '{}';
    v_again  text[] := '{}';
    v_all_told int := 0;
begin
    loop
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
                          and (v_asked = '{}' or found.xid is distinct from pg_current_xact_id_if_assigned())
                        order by found.xid, found.id
                        limit c_most
                        for update skip locked
                    ) as found
                ) as next
                where next.before < c_most
            ))
            returning opening.id, opening.group_keys
        )
        select array_agg(known.name order by known.id), sum(known.n) into v_groups, v_told
        from (
            select known.name, min(told.id) as id, count(*) as n
            from told
            cross join unnest(told.group_keys) as known (name)
            group by known.name
        ) as known;
        v_all_told := v_all_told + coalesce(v_told, 0);
        if p_since is not null and v_asked = '{}' then
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
                v_groups := v_groups || array(select unnest(v_due) except select unnest(v_groups));
            end if;
        end if;
        if v_asked <> '{}' and v_groups is not null then  -- what was looked at in this call, and has been told of since
            v_again := v_again || array(select unnest(v_groups) intersect select unnest(v_asked));
            v_groups := array(select unnest(v_groups) except select unnest(v_asked));
        end if;

        if v_groups <> '{}' then
            v_most := greatest(1, c_jobs / cardinality(v_groups));
            v_hashes := array(select hashtextextended(given.group_key, 0) from unnest(v_groups) as given (group_key));
            -- What holds for all groups is asked once; group by group only if some have a limit of their own, or are paused.
            select its.running, its.rate into v_all from bt_limit_of(p_queue, '') as its;
            v_has_own := exists (select from backtick_limit as limits where limits.kind = 'group' and limits.queue = p_queue)
                or exists (select from backtick_pause as pause where pause.queue = p_queue and pause.kind = 'group');

            -- One probe a group tells how many are in, which come first, and then which may be let in. Where the limit is high, those
            -- that are in are counted before, and no more are looked at than a call lets in. Without a limit, of 32 that are in those
            -- are counted that no claim holds, and that were let in within a minute: of others no runner may know the worker.
            with taken as materialized (
                select taken.id, taken.hash from bt_taken(p_queue, v_hashes) as taken
            ), asked as materialized (
                select given.group_key, given.place, given.taken,
                       coalesce(case when v_has_own then own.running else v_all.running end, c_turn) as most,
                       case when v_has_own then own.rate else v_all.rate end is not null as has_rate,
                       case when v_has_own then own.running else v_all.running end is null as is_turn
                from (  -- no join, for which the planner would have to know how many there are
                    select max(known.group_key) as group_key, max(known.place) as place, count(known.id)::int as taken
                    from (
                        select named.group_key, named.place, hashtextextended(named.group_key, 0) as hash, null::bigint as id
                        from unnest(v_groups) with ordinality as named (group_key, place)
                        union all
                        select null, null, taken.hash, taken.id from taken
                    ) as known
                    group by known.hash
                    having count(known.place) > 0
                ) as given
                left join lateral (
                    select its.* from bt_limit_of(p_queue, given.group_key) as its where v_has_own offset 0
                ) as own on true
                where own.is_paused is not true
            ), front as materialized (
                select asked.*, job.ids, job.are_plain, job.lanes, job.last_run_at,
                       asked.most - inside.n - job.n - case when asked.is_turn then 0 else asked.taken end as n
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
                           array_agg(job.is_plain) filter (where job.gate = 1) as are_plain,
                           array_agg(job.priority) filter (where job.gate = 1) as lanes,
                           max(job.run_at) filter (where job.gate = 1) as last_run_at,
                           (count(*) filter (where job.gate = 0))::int as n
                    from (
                        select job.id, job.gate, job.run_at, job.priority,
                               not asked.is_turn
                               and job.name = any (p_names)
                               and (job.xmax = 0 or job.xmax = job.xmin)
                               and job.crashes = 0
                               and job.after_job is null
                               and (job.expires_at is null or job.expires_at > p_now)
                               and bt_bytes(job.args) * p_room <= c_bytes
                               and job.id not in (select canceled.job from backtick_cancel as canceled)
                               as is_plain
                        from backtick_queue as job
                        where hashtext(job.queue) = hashtext(p_queue)
                          and job.group_key = asked.group_key
                          and (job.gate = 0 or job.id not in (select taken.id from taken))
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
                select front.group_key, front.place, front.ids, front.are_plain, front.lanes, front.last_run_at, front.is_turn,
                       least(front.n, v_most) as most, front.n > v_most as is_more
                from front
                where front.n > 0
                union all
                select room.group_key, room.place, job.ids, null, null, job.last_run_at, true, room.most, true
                from (
                    select front.group_key, front.place, least(greatest(0, c_turn - inside.n), v_most) as most
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
                          and job.id not in (select taken.id from taken)
                        order by job.priority, job.run_at, job.id + 0
                        limit greatest(1, room.most)
                    ) as job
                ) as job
            )
            select array_agg(job.id) filter (where not first.is_mixed and job.place <= first.most and not first.are_free) as ids,
                   array_agg(job.id order by job.lane, first.place, job.place)
                       filter (where not first.is_mixed and job.place <= first.most and first.are_free) as free,
                   array_agg(hashtextextended(first.group_key, 0) order by job.lane, first.place, job.place)
                       filter (where not first.is_mixed and job.place <= first.most and first.are_free) as hashes,
                   array_agg(first.group_key) filter (where first.is_mixed and job.place = 1) as mixed,
                   array_agg(first.most) filter (where first.is_mixed and job.place = 1) as most,
                   array_agg(first.group_key) filter (where first.is_watched and not first.is_mixed and job.place = 1) as watched,
                   (select array_agg(asked.group_key) from asked where asked.has_rate) as others
            into v_first
            from (
                select first.*, first.last_run_at > p_now as is_mixed, coalesce(true = all (first.are_plain), false) as are_free,
                       (first.is_turn or first.is_more) and cardinality(first.ids) >= greatest(1, first.most) as is_watched
                from first
            ) as first
            cross join lateral unnest(first.ids[:greatest(1, first.most)], first.lanes)
                with ordinality as job (id, lane, place)
            where job.id is not null;
            ids := ids || v_first.free;
            hashes := hashes || v_first.hashes;

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
                              and job.id not in (select taken.id from bt_taken(p_queue, v_hashes) as taken)
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

            if v_first.ids is not null or v_first.others is not null then
                perform bt_open_gates(p_queue, v_first.ids, v_first.others, p_now);
            end if;
        end if;

        exit when v_told is null or v_told < c_most or v_all_told >= c_all
            or p_room is not null and coalesce(cardinality(ids), 0) >= p_room;
        v_asked := v_asked || v_groups;
    end loop;
    if v_again <> '{}' then
        insert into backtick_opening (queue, group_keys, noted_at) values (p_queue, v_again, p_now);
    end if;

    looked_until := case
        when v_told >= c_most then null
        when v_later = c_later then v_at
        else p_now
    end;
end;
$$;
comment on function bt_let_in is 'Find what may begin of groups that have room.';

-- bt_taken: what runs of groups and was taken from their line, so that it has gate 1; of each, the hash of its group.
--
-- p_hashes  of these groups; null: of all. `not in` is a hash table, as in bt_claim; of few, most claims are not even unpacked
create or replace function bt_taken(p_queue text, p_hashes bigint[])
    returns table (id bigint, hash bigint)
    language sql
    stable
as $$
    select held.id, held.hash
    from backtick_claim as claim
    cross join unnest(claim.jobs, claim.groups) as held (id, hash)
    where hashtext(claim.queue) = hashtext(p_queue)
      and claim.queue || '' = p_queue
      and claim.groups is not null
      and (p_hashes is null or cardinality(p_hashes) > 8 or claim.groups && p_hashes)
      and held.hash is not null
      and (p_hashes is null or (held.hash not in (select unnest(p_hashes))) is false)
$$;
comment on function bt_taken is 'What runs of groups and was taken from their line.';

-- bt_let_in_beside: of what bt_let_in found, let in what the claim may not just take beside what waits at gate 0.
--
-- If that leaves room, nothing: the claim takes what was found, as far as there is room. If it leaves none, or is not plain,
-- or of a lower priority than what would be left of groups, all, behind what waits there already. But if most of what leaves
-- no room was let in itself, half of what a claim takes: so in the end there is room again.
--
-- p_floor   where the claim starts
-- p_limit   how many it takes in all
-- p_ids     what bt_let_in found
-- returns   so many of them, the first ones, were let in
create or replace function bt_let_in_beside(
    p_queue text, p_floor backtick_floor, p_now timestamptz, p_limit int, p_ids bigint[])
    returns int
    language plpgsql
    volatile
as $$
declare
    c_bytes constant int := 16777216;
    v_due   record;
    v_n     int := 0;
begin
    select count(*) as n, max(due.priority) as lane, count(due.group_key) * 2 > count(*) as are_of_groups,
           max(due.crashes) > 0 or sum(due.bytes) > c_bytes as is_special
    into v_due
    from bt_due(p_queue, p_floor.times, p_floor.ids, p_now, p_limit) as due;

    if v_due.n >= p_limit and v_due.are_of_groups and not v_due.is_special then
        v_n := least(cardinality(p_ids), greatest(1, p_limit / 2));
    elsif v_due.n >= p_limit or v_due.is_special or v_due.n > 0 and exists (
        select from backtick_queue as job where job.id = any (p_ids[p_limit - v_due.n + 1:]) and job.priority < v_due.lane
    ) then
        v_n := cardinality(p_ids);
    end if;
    if v_n > 0 then
        perform bt_open_gates(p_queue, p_ids[:v_n], null, p_now);
    end if;
    return v_n;
end;
$$;
comment on function bt_let_in_beside is 'Let in what a claim may not just take of groups.';

-- bt_tell_lines: tell claims of the groups of jobs that wait in their lines, of so many (p_most) at a time.
create or replace function bt_tell_lines(p_queue text, p_ids bigint[], p_most int default 1000)
    returns void
    language sql
    volatile
as $$
    insert into backtick_opening (queue, group_keys, noted_at)
    select p_queue, array_agg(job.group_key order by job.place), bt_now()
    from (
        select job.group_key, min(given.place) as place
        from unnest(p_ids) with ordinality as given (id, place)
        cross join lateral (
            select job.group_key from backtick_queue as job where job.id = given.id and job.gate = 1 offset 0
        ) as job
        group by job.group_key
    ) as job
    group by (job.place - 1) / p_most
    order by min(job.place)
$$;
comment on function bt_tell_lines is 'Tell claims of the groups of jobs that wait in their lines.';

-- bt_open_gates: let jobs in; of groups of which somebody has locked one of these, with a closer look.
--
-- p_ids     the jobs; null: none
-- p_groups  groups that need the closer look anyway; null: none
create or replace function bt_open_gates(p_queue text, p_ids bigint[], p_groups text[], p_now timestamptz)
    returns void
    language plpgsql
    volatile
as $$
declare
    v_ids    bigint[];
    v_locked text[];
    v_group  text;
    v_was    text;
begin
    v_ids := array(
        select job.id from backtick_queue as job where job.id = any (p_ids) and job.gate = 1 for no key update skip locked);
    if cardinality(v_ids) < cardinality(p_ids) then
        v_locked := array(
            select distinct job.group_key
            from backtick_queue as job
            where job.id = any (p_ids)
              and job.id <> all (v_ids));
        v_ids := array(
            select job.id from backtick_queue as job where job.id = any (v_ids) and job.group_key <> all (v_locked));
    end if;
    -- Of these jobs bt_note_moved need not tell: they stand above the floor.
    v_was := set_config('backtick.lets_in', 'true', true);
    update backtick_queue as job
    set gate = 0,
        due_at = coalesce(job.due_at, job.run_at),
        run_at = p_now
    where job.id = any (v_ids);
    for v_group in select distinct given.group_key from unnest(p_groups || v_locked) as given (group_key) loop
        perform bt_let_in_some(p_queue, v_group, p_now);
    end loop;
    v_was := set_config('backtick.lets_in', '', true);
end;
$$;
comment on function bt_open_gates is 'Let jobs in.';

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
    v_in := v_in + (select count(*) from bt_taken(p_queue, array[hashtextextended(p_group, 0)]) as taken);
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
              and job.id not in (select taken.id from bt_taken(p_queue, array[hashtextextended(p_group, 0)]) as taken)
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
            union all
            select taken.id, job.group_key, null, job.run_at, true
            from bt_taken(p_queue, null) as taken
            cross join lateral (
                select job.group_key, job.run_at from backtick_queue as job where job.id = taken.id offset 0
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
