-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_claim: take the jobs of a queue that are due and free, first ones first.
--
-- A due, free job of the queue, whose worker the runner knows, is seen by the first claim that begins a second or
-- more after the job became so, and by the first of all if backtick made it so or the last claim came back short,
-- whatever stalls, held snapshots, other runners or open transactions do.
--
-- Claims of one queue are serialised by a lock on the queue's name. What is free is read in
-- statements after the one that got the lock, so each sees every claim that was committed before:
-- see bt_check_isolation.
--
-- Nothing here waits for the disk while it holds that lock: the claim commits asynchronously. If
-- the server crashes and forgets it, its jobs are queued again and its holder is refused: the id of
-- a claim is random, since a sequence would go back with the crash, and the next claim would get the
-- id of the forgotten one, most likely for the same jobs. So call it in a transaction of its own.
--
-- A job that comes after another (after_job) is passed over until that one has ended; one that
-- somebody canceled while it ran (backtick_cancel), for ever; so is one that has expired, which bt_expire ends.
--
-- What dies with a runner need not have killed it: it may only have been claimed ahead. So a job
-- that has seen a runner die is taken only if it begins at once, and the next death counts against
-- jobs that were running. Nor is anything taken that stands behind it, or a runner that claims ahead would never
-- have a slot free for it. And no claim takes more than 32 MB of arguments beyond its first job. What is stored
-- compressed is not unpacked to be measured, but counted as the most that it can be: 255 times as much (lz4; pglz packs
-- less), up to the 16 MB that bt_check_job allows. So few jobs of long, dull arguments come at a time.
--
-- A job's row is read, not written. One that another transaction is about to withdraw (xmax is not
-- 0) is passed over, unless it proves not to be locked after all: the other has rolled back.
--
-- Time per job is what counts here. In the usual case the first jobs from the floor on (see bt_floor) are all free,
-- small and of known workers, which one pass over them tells. Else they are looked at page by page, a page being
-- twice as long as the one before, until enough are found, or there are no more, or a bound is reached: then the
-- next claim goes on from there. Of the claims that there are only those are read that may hold one of these jobs,
-- by their lowest and highest id: a held snapshot keeps all that there ever were. `not in` makes a hash table
-- whatever the planner guesses about the number of rows, and it guesses wrong.
--
-- Limits of the queue and its workers are looked up under the lock, and what runs is counted from the claims: see
-- bt_room. Jobs under such a limit are taken only if they begin at once, or who claims ahead would hoard it. Limits of
-- groups cost nothing here, for what they hold back is not seen: see bt_let_in, which finds what may be taken of groups. It is
-- taken last, with what room is left.
--
-- No statement here may have a plan to choose: tables grow from empty, and statistics can be far from the truth
-- (see the indexes in schema.sql). Hence the settings, and joins that are lateral with `offset 0`, which looks up
-- id by id; and an `exists` within an `or`, which may be made a hash table of the whole queue, is a subquery that
-- cannot. Without jit = off the cost that a forbidden scan is given has each claim compiled, which took 30 ms.
--
-- p_runner     what bt_register_runner returned
-- p_queue      the queue
-- p_limit      how many jobs at most
-- p_names      the workers that the runner knows; jobs of others are left to others
-- p_whole      looks from the beginning, whatever that takes: for who must know that there is no more
-- p_begin      how many of the jobs the runner will begin at once, the others being claimed ahead; null: all
-- returns      a row per job, in order; none if nothing is due, or the queue is paused. tries counts this
--              one. claim is the proof that bt_complete, bt_fail and bt_release ask for. left_ms: so many milliseconds
--              later it has expired, and must not be begun but handed back; null: it does not expire
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value, 25000 invalid_transaction_state,
--              P0002 no_data_found if the runner has been given up for dead: register anew
drop function if exists bt_claim(bigint, text, int, text[], timestamptz[]);  -- of version 1
drop function if exists bt_claim(bigint, text, int, text[], timestamptz[], int);  -- of version 2
create or replace function bt_claim(
    p_runner bigint,
    p_queue  text,
    p_limit  int,
    p_names  text[],
    p_whole  boolean,
    p_begin  int default null
)
    returns table (
        claim      bigint,
        id         bigint,
        queue      text,
        name       text,
        args       json,
        priority   smallint,
        run_at     timestamptz,
        tries      int,
        crashes    int,
        max_tries  int,
        created_at timestamptz,
        scheduled_for timestamptz,
        left_ms    bigint,
        headers    jsonb
    )
    language plpgsql
    volatile
    set search_path from current
    set plan_cache_mode to force_generic_plan
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
    set datestyle to iso
as $$
#variable_conflict use_column
declare
    c_most_bytes constant int := 33554432;
    c_pages      constant int := 8;
    c_most_look  constant int := 10000;
    v_now       timestamptz;
    v_runner    record;
    v_floor     backtick_floor;
    v_was_short boolean;
    v_times     timestamptz[];
    v_ids       bigint[];
    v_look      int;
    v_seen      int;
    v_page      record;
    v_locked    bigint[];
    v_free      bigint[];
    v_is_usual  boolean;
    v_is_one_lane boolean;
    v_lane      int;
    v_run_at    timestamptz;
    v_by_worker boolean;
    v_is_plain  boolean := true;
    v_is_more   boolean;
    v_is_passed boolean := false;
    v_is_checked boolean := false;  -- there are limits or pauses that hold for some of the jobs
    v_has_groups boolean := false;
    v_has_rate  boolean := false;
    v_scarce    text[];
    v_counts    int[];
    v_lowest    bigint;
    v_highest   bigint;
    v_kept      text;
    v_claim     bigint;
    v_count     int;
    v_taken     bigint[] := '{}';  -- of groups, from their lines
    v_groups    bigint[];
begin
    if p_runner is null or p_queue is null or p_limit is null or p_names is null then
        raise exception 'bt_claim: runner %, queue %, limit %, names %',
                coalesce(p_runner::text, 'null'), coalesce(p_queue::text, 'null'), coalesce(p_limit::text, 'null'),
                coalesce(p_names::text, 'null')
            using errcode = 'null_value_not_allowed',
                  hint = 'p_runner, p_queue, p_limit and p_names must be given.';
    end if;
    if p_limit not between 1 and 100000 then
        raise exception 'bt_claim: limit is %', p_limit
            using errcode = 'invalid_parameter_value', hint = 'A limit is 1 to 100000.';
    end if;
    perform bt_check_isolation('bt_claim');

    perform set_config('synchronous_commit', 'off', true);
    perform pg_advisory_xact_lock('backtick_queue'::regclass::oid::int, hashtext(p_queue));
    v_now := bt_now();

    select runner.asleep_until > v_now as is_asleep, setting.paused_at is not null as is_paused, setting.is_closing,
           coalesce(setting.has_limits, false) or exists (
               select from backtick_pause as pause where pause.queue in ('', p_queue)
           ) as is_limited
    into v_runner
    from backtick_runner as runner
    left join lateral (
        select setting.* from backtick_setting as setting where setting.queue = p_queue offset 0
    ) as setting on true
    where runner.id = p_runner;
    if not found then
        raise exception 'bt_claim: there is no runner %', p_runner
            using errcode = 'no_data_found', hint = 'It has been given up for dead or signed out; register anew.';
    end if;
    if v_runner.is_paused then
        return;
    end if;
    if v_runner.is_closing then
        perform bt_close_gates(p_queue, v_now);
    end if;
    if v_runner.is_limited then
        select room.names, room.most, room.scarce, room.counts, room.has_groups, room.has_rate
        into p_names, p_limit, v_scarce, v_counts, v_has_groups, v_has_rate
        from bt_room(p_queue, p_names, p_limit, p_begin, v_now) as room;
        if p_limit < 1 or p_names = '{}' then
            return;
        end if;
        v_is_checked := v_scarce <> '{}' or v_has_groups;
    end if;
    select its.* into v_page
    from bt_floor(p_queue, p_names, v_now, p_whole, case when not v_runner.is_limited then p_limit end) as its;
    v_floor := v_page.floor;
    if v_page.ids is not null then
        v_count := bt_let_in_beside(p_queue, v_floor, v_now, p_limit, v_page.ids);
        v_taken := v_page.ids[v_count + 1:];
        v_groups := v_page.hashes[v_count + 1:];
    end if;
    v_was_short := v_floor.is_short;
    v_times := v_floor.times;
    v_ids := v_floor.ids;

    -- The usual case: whatever comes first is free.
    with seen as materialized (
        select count(*) as n,
               array_agg(due.id order by due.priority, due.run_at, due.id) as free,
               min(due.id) as lowest,
               max(due.id) as highest,
               min(due.priority) as first_lane,
               max(due.priority) as last_lane,
               max(due.run_at) as last_run_at,
               count(*) filter (where not due.name = any (p_names)) * 2 > p_limit as are_strangers,
               bool_and(due.name = any (p_names) and due.untouched and due.after_job is null and due.crashes = 0
                        and (due.expires_at is null or due.expires_at > v_now)
                        and (not v_is_checked or due.name <> all (v_scarce) and (not v_has_groups or due.group_key is null)))
                   and sum(due.bytes) <= c_most_bytes as is_plain
        from bt_due(p_queue, v_times, v_ids, v_now, p_limit) as due
    )
    select seen.n, seen.free, seen.lowest, seen.highest, seen.first_lane = seen.last_lane, seen.last_lane, seen.last_run_at,
           seen.are_strangers,
           seen.n = 0
           or seen.is_plain
           and not exists (  -- of groups, ids of claims are mixed
               select
               from unnest(seen.free) as free (id)
               where free.id in (
                   select unnest(claim.jobs)
                   from backtick_claim as claim
                   where hashtext(claim.queue) = hashtext(p_queue)
                     and claim.lowest <= (select seen.highest from seen)
                     and claim.highest >= (select seen.lowest from seen)
               )
           )
           and not exists (select from backtick_cancel as asked where asked.job between seen.lowest and seen.highest)
    into v_seen, v_free, v_lowest, v_highest, v_is_one_lane, v_lane, v_run_at, v_by_worker, v_is_usual
    from seen;

    -- Else page by page; worker by worker, which leaves out others' jobs, once most of a page are others'.
    if not v_is_usual then
        v_free := '{}';
        v_look := 2 * p_limit + 100;
        for v_count in 1 .. c_pages loop
            with due as materialized (
                select due.*
                from bt_due(p_queue, v_times, v_ids, v_now, v_look) as due
                where not v_by_worker
                union all
                select due.*
                from bt_due_by_worker(p_queue, p_names, v_times, v_ids, v_now, v_look) as due
                where v_by_worker
            ), held as (
                select unnest(claim.jobs) as id
                from backtick_claim as claim
                where hashtext(claim.queue) = hashtext(p_queue)
                  and claim.lowest <= (select max(due.id) from due)
                  and claim.highest >= (select min(due.id) from due)
                union all
                select asked.job from backtick_cancel as asked
            ), last as materialized (
                select distinct on (due.priority) due.priority, due.run_at, due.id
                from due
                order by due.priority, due.run_at desc, due.id desc
            )
            select count(*) as n,
                   coalesce(array_agg(due.id order by due.priority, due.run_at, due.id)
                       filter (where due.is_free and due.untouched), '{}') as free,
                   array_agg(due.id) filter (where due.is_free and not due.untouched) as doubtful,
                   count(*) filter (where not due.name = any (p_names)) * 2 > count(*) as are_strangers,
                   sum(due.bytes) <= c_most_bytes / c_pages and max(due.crashes) = 0 as is_plain,
                   array(select last.priority from last order by last.priority) as lanes,
                   array(select last.run_at from last order by last.priority) as times,
                   array(select last.id from last order by last.priority) as ids
            into v_page
            from (
                select due.*,
                       due.name = any (p_names)
                       and due.id not in (select held.id from held)
                       and (due.expires_at is null or due.expires_at > v_now)
                       and (not v_has_groups or due.group_key is null or (
                            select pause.name from backtick_pause as pause
                            where (pause.queue, pause.kind, pause.name) = (p_queue, 'group', due.group_key)) is null)
                       and (due.after_job is null
                            or (select previous.id from backtick_queue as previous where previous.id = due.after_job) is null)
                       as is_free
                from due
                offset 0  -- is_free is asked once a job
            ) as due;

            if v_page.doubtful is not null then
                v_locked := array(
                    select job.id
                    from backtick_queue as job
                    where job.id = any (v_page.doubtful)
                      and job.queue = p_queue
                      and job.run_at <= v_now
                    for no key update skip locked
                );
                if cardinality(v_locked) < cardinality(v_page.doubtful) then
                    select least(v_floor.doubt_from, min(locked.run_at)),
                           case
                               when bool_or(bt_locker(locked.xmax) is null)  -- not known: then as if there were many
                               then array_fill(pg_snapshot_xmin(pg_current_snapshot()), '{9}')
                               else (array(
                                   select distinct known.xid
                                   from unnest(v_floor.doubted || array_agg(bt_locker(locked.xmax))) as known (xid)
                               ))[:9]
                           end
                    into v_floor.doubt_from, v_floor.doubted
                    from backtick_queue as locked
                    where locked.id = any (v_page.doubtful)
                      and locked.xmax not in ('0', pg_current_xact_id()::xid);
                end if;
                v_page.free := array(
                    select job.id
                    from backtick_queue as job
                    where job.id = any (v_page.free || v_locked)
                    order by job.priority, job.run_at, job.id
                );
            end if;
            v_free := v_free || v_page.free;
            v_is_plain := v_is_plain and coalesce(v_page.is_plain, true);
            for v_n in 1 .. cardinality(v_page.lanes) loop
                v_times[v_page.lanes[v_n] + 1] := v_page.times[v_n];
                v_ids[v_page.lanes[v_n] + 1] := v_page.ids[v_n];
            end loop;

            v_floor.is_paging := cardinality(v_free) < p_limit and v_page.n = v_look;
            exit when not v_floor.is_paging;
            v_look := greatest(v_look, least(2 * v_look, c_most_look));
            v_by_worker := v_by_worker or v_page.are_strangers;
        end loop;
    end if;

    if v_is_checked and not v_is_usual then
        v_seen := cardinality(v_free);
        v_free := bt_begin_limited(p_queue, v_free[1:p_limit], v_scarce, v_counts, coalesce(p_begin, p_limit), v_now);
        v_is_passed := cardinality(v_free) < least(v_seen, p_limit);
    end if;
    v_is_more := cardinality(v_free) > p_limit;
    v_free := v_free[1:p_limit];
    if not (v_is_usual or v_is_plain) then
        v_seen := cardinality(v_free);
        v_free := array(
            select listed.id
            from (
                select free.place, free.id,
                       bool_or(job.crashes > 0 and free.place > coalesce(p_begin, p_limit)) over (order by free.place)
                       or free.place > 1 and sum(job.bytes) over (order by free.place) > c_most_bytes as is_too_much
                from unnest(v_free) with ordinality as free (id, place)
                cross join lateral (
                    select job.crashes, bt_bytes(job.args) as bytes
                    from backtick_queue as job
                    where job.id = free.id
                    offset 0
                ) as job
            ) as listed
            where not listed.is_too_much
            order by listed.place
        );
        v_is_more := v_is_more or cardinality(v_free) < v_seen;
    end if;

    -- The next claim starts behind what was taken, and, if there was no more, behind what was passed over too.
    if v_is_usual and v_is_one_lane then
        v_times[v_lane + 1] := v_run_at;
        v_ids[v_lane + 1] := v_free[v_seen];
    elsif v_is_usual then
        for v_page in
            select distinct on (job.priority) job.priority, job.run_at, job.id
            from backtick_queue as job
            where job.id = any (v_free)
            order by job.priority, job.run_at desc, job.id desc
        loop
            v_times[v_page.priority + 1] := v_page.run_at;
            v_ids[v_page.priority + 1] := v_page.id;
        end loop;
    end if;
    if v_is_passed then
        v_is_more := true;  -- and the floor stays, for what was passed over
    elsif not v_is_more then
        v_floor.times := v_times;
        v_floor.ids := v_ids;
    else
        for v_page in
            select job.priority, job.run_at, job.id from backtick_queue as job where job.id = v_free[cardinality(v_free)]
        loop
            v_floor.times := v_times[:v_page.priority] || v_page.run_at || v_floor.times[v_page.priority + 2:];
            v_floor.ids := v_ids[:v_page.priority] || v_page.id || v_floor.ids[v_page.priority + 2:];
        end loop;
    end if;
    v_floor.made_at := v_now;
    if v_taken <> '{}' then
        v_count := case when v_is_more then 0 else p_limit - coalesce(cardinality(v_free), 0) end;
        perform bt_tell_lines(p_queue, v_taken[v_count + 1:], p_limit);  -- few at a time, so that nobody is asked for more than he can take
        v_taken := v_taken[:v_count];
        v_groups := array_fill(null::bigint, array[coalesce(cardinality(v_free), 0)]) || v_groups[:v_count];
        v_free := v_free || v_taken;
    end if;
    v_floor.is_short := coalesce(cardinality(v_free), 0) < p_limit and not v_is_more and not v_floor.is_paging;
    if v_floor.whole_at = v_now then
        v_floor.whole_ms := extract(epoch from bt_now() - v_now) * 1000;
    end if;
    if coalesce(cardinality(v_free), 0) = 0 then
        v_kept := set_config(bt_floor_name(p_queue, v_floor.names), v_floor::text, false);
        return;
    end if;

    -- Whoever has been given up for dead meanwhile gets nothing: what is free may be what he held. Read anew, and without a
    -- lock on his row, which would be anybody's to take. Who is given up before this commits had no look at what that
    -- frees; his claim is an orphan, revived at the next look, and his next call tells him.
    if not v_is_usual or v_taken <> '{}' then
        select min(free), max(free) into v_lowest, v_highest from unnest(v_free) as free;
    end if;
    insert into backtick_claim (id, queue, runner, claimed_at, lowest, highest, floor, jobs, groups)
    select ('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint, p_queue, p_runner, v_now, v_lowest, v_highest,
           v_floor, v_free, case when v_taken <> '{}' then v_groups end
    from backtick_runner as runner
    where runner.id = p_runner
    returning backtick_claim.id into v_claim;
    if not found then
        perform bt_tell_lines(p_queue, v_taken);
        return;
    end if;
    v_kept := set_config(bt_floor_name(p_queue, v_floor.names), v_floor::text, false);
    if v_has_rate then
        insert into backtick_begun (queue, group_key, begun_at, jobs) values (p_queue, '', v_now, cardinality(v_free));
    end if;

    -- Busy: nobody need notify it. To say so and to lie down again writes two versions of the row, which a held snapshot
    -- keeps, for all who enqueue to read. So who gets one job at a time stays down, and is notified. Not so with two: of
    -- many who enqueue side by side, each would wait for the others' commits, as who notifies does.
    if v_runner.is_asleep and (cardinality(v_free) >= 2 or not (v_floor.is_short or v_was_short)) then
        update backtick_runner as runner
        set asleep_until = null
        from (select awake.id from backtick_runner as awake where awake.id = p_runner for no key update skip locked) as free
        where runner.id = free.id;
    end if;

    return query
        select v_claim, job.id, job.queue, job.name, job.args, job.priority, job.run_at,
               job.tries + 1, job.crashes, job.max_tries, job.created_at, job.scheduled_for,
               case when job.expires_at is not null then (extract(epoch from job.expires_at - v_now) * 1000)::bigint end,
               job.headers
        from backtick_queue as job
        where job.id = any (v_free)
        order by job.priority, job.run_at, job.id;
end;
$$;
comment on function bt_claim(bigint, text, int, text[], boolean, int)
    is 'Take due jobs of a queue, first ones first; a row per job, all in one claim.';

-- bt_claim without p_whole: the same, but for left_ms and headers, as version 3 calls it, whose jobs have no room for more columns.
--
-- p_floor   not used any more, nor are p_floor_ids and p_stale_ms: where to start looking
-- others    as above
create or replace function bt_claim(
    p_runner    bigint,
    p_queue     text,
    p_limit     int,
    p_names     text[],
    p_floor     timestamptz[] default null,
    p_floor_ids bigint[] default null,
    p_stale_ms  int default null,
    p_begin     int default null
)
    returns table (
        claim      bigint,
        id         bigint,
        queue      text,
        name       text,
        args       json,
        priority   smallint,
        run_at     timestamptz,
        tries      int,
        crashes    int,
        max_tries  int,
        created_at timestamptz,
        scheduled_for timestamptz
    )
    language plpgsql
    volatile
    set search_path from current
as $$
#variable_conflict use_column
begin
    return query
        select claim, id, queue, name, args, priority, run_at, tries, crashes, max_tries, created_at, scheduled_for
        from bt_claim(p_runner, p_queue, p_limit, p_names, p_whole => false, p_begin => p_begin);
end;
$$;
comment on function bt_claim(bigint, text, int, text[], timestamptz[], bigint[], int, int)
    is 'Take due jobs, as a backtick.py of version 3 asks for them.';
