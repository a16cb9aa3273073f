-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_floor: where a claim starts, and what it need not look at again; for bt_claim, which holds the queue's lock.
--
-- While some transaction holds a snapshot, the entries of jobs that have gone stay in the index, and whoever walks
-- it from the beginning walks over all of them. So a claim starts at a floor, a place for each priority: no job
-- below it could be taken, by a runner with the same workers, when it was passed. What can be free there later is
-- known:
--
-- - a job of a transaction that commits late. It is due when it was queued, or after that (who queues one for the
--   past tells: backtick_freed). So a look, which is a claim that goes back below the floor, goes back to when the
--   last one was, for whoever began after it, and, for each transaction that was open then and is not now, to when
--   the look before was
-- - a job that was held or ended its wait: released, revived, tried again, moved by hand. Whoever does it tells:
--   backtick_freed
-- - a job whose row somebody had locked, to cancel it say: once his transaction has ended, a look goes back to it
-- - a job that comes after another, once that has ended: found by an index that holds no others
-- - a job that its group lets in: see bt_let_in, which is called here. It is due from then on, so above the floor. So is
--   one that comes after jobs which have ended: see bt_open
--
-- A look is due a second after the last; and at once if somebody tells, such a lock is gone, or the last claim came
-- back short. Whatever nobody has thought of, rows written by hand say, a look from the beginning finds: a second
-- after the last one of those, or, where they take long, when fifty times as long has passed, a minute at most.
--
-- The floor is kept with each claim, for all runners with the same workers go on where the latest left off, and,
-- since a claim goes with its jobs, in the session too: a setting of its own, which is rolled back with the claim.
-- It is a hint that may be lost; an old one only costs a longer walk. After five minutes, or if the clock has gone
-- back, it is forgotten.
--
-- Callers pin the search_path.
--
-- p_queue   the queue
-- p_names   the workers
-- p_now     what time it is, asked before
-- p_whole   whether to look from the beginning now
-- p_room    of what waits in groups, so many may be taken: see bt_let_in; null: none
-- floor     the floor; looked_at is p_now if this is a look, and whole_at too if it is one from the beginning
-- ids       what may be taken of groups, and
-- hashes    their groups
create or replace function bt_floor(
    p_queue text,
    p_names text[],
    p_now   timestamptz,
    p_whole boolean,
    p_room  int,
    out floor  backtick_floor,
    out ids    bigint[],
    out hashes bigint[]
)
    language plpgsql
    volatile
as $$
declare
    c_keep  constant interval := '5 min';  -- bt_freed keeps what it was told for longer
    c_slack constant interval := '10 ms';  -- bt_note_moved and bt_put_job do not tell of less
    c_most_doubted constant int := 8;  -- of more not all are kept; then each look goes back to their jobs
    v_names constant int := hash_array(p_names);
    v_floor backtick_floor := nullif(current_setting(bt_floor_name(p_queue, v_names), true), '')::backtick_floor;
    v_latest record;
    v_whole boolean;
    v_seen  pg_snapshot;
    v_from  timestamptz;
    v_looked record;
    v_later_at timestamptz := p_now;
    v_is_open boolean;
begin
    if (v_floor.queue, v_floor.names) is distinct from (p_queue, v_names)
        or v_floor.made_at not between p_now - c_keep and p_now
    then
        v_floor := null;
    end if;
    select latest.floor, exists (
               select from backtick_freed as freed
               where freed.queue = p_queue
                 and freed.xid >= pg_snapshot_xmin((latest.floor).seen)
                 and not pg_visible_in_snapshot(freed.xid, (latest.floor).seen)
           ) as is_told, (
               select bool_or(pg_xact_status(locker.xid) is distinct from 'in progress')
               from unnest((latest.floor).doubted) as locker (xid)
           ) is true as is_cleared, exists (
               select from backtick_opening as opening
               where opening.queue = p_queue
                 and opening.xid >= pg_snapshot_xmin((latest.floor).seen)
                 and not opening.can_wait
           ) as is_opening, exists (
               select from backtick_opening as opening
               where opening.queue = p_queue
                 and opening.xid >= pg_snapshot_xmin((latest.floor).seen)
                 and opening.can_wait
           ) or exists (
               select from backtick_queue as job
               where hashtext(job.queue) = hashtext(p_queue)
                 and job.gate + 0 = 1
                 and job.run_at > job.created_at
                 and job.run_at > (latest.floor).looked_at - c_slack
                 and job.run_at <= p_now
           ) as is_later
    into v_latest
    from (
        select coalesce((
            select claim.floor
            from backtick_claim as claim
            where claim.queue = p_queue
              and claim.claimed_at > coalesce(v_floor.made_at, p_now - c_keep)
              and claim.claimed_at <= p_now
              and (claim.floor).names = v_names
            order by claim.claimed_at desc
            limit 1
        ), v_floor) as floor
        offset 0
    ) as latest;
    v_floor := v_latest.floor;
    if v_floor.queue is null then
        v_floor := row(
            p_queue, v_names, p_now, true, false, array_fill('-infinity'::timestamptz, '{10}'), array_fill(0::bigint, '{10}'),
            '-infinity', '1:1:', '{}', '{}', '{}', 'infinity', '-infinity', 0);
        v_latest.is_opening := true;
    end if;

    v_whole := p_whole or p_now >= v_floor.whole_at
        + greatest(interval '1 s', least(interval '1 min', 50 * v_floor.whole_ms * interval '1 ms'));
    if not p_whole and (v_floor.is_paging or not (
        v_floor.is_short or v_latest.is_told or v_latest.is_cleared or p_now >= v_floor.looked_at + interval '1 s'
    )) then
        if v_latest.is_opening then
            perform bt_open(p_queue, v_floor.seen, p_now, false);
            select its.* into v_looked  -- what is let in is due now, so above the floor
            from bt_let_in(p_queue, v_floor.seen, null, p_now, p_names, p_room) as its;
            ids := v_looked.ids;
            hashes := v_looked.hashes;
        end if;
        floor := v_floor;
        return;
    end if;

    v_latest.is_cleared := v_whole or v_latest.is_cleared or cardinality(v_floor.doubted) > c_most_doubted;
    v_seen := pg_current_snapshot();  -- after p_now: who is not in it yet will read a later time
    v_is_open := not (v_whole or v_latest.is_opening) or bt_open(p_queue, v_floor.seen, p_now, v_whole);
    if v_latest.is_opening or v_latest.is_later then
        select its.* into v_looked
        from bt_let_in(p_queue, v_floor.seen, v_floor.looked_at - c_slack, p_now, p_names, p_room) as its;
        v_later_at := v_looked.looked_until;
        ids := v_looked.ids;
        hashes := v_looked.hashes;
    end if;
    if v_whole then
        v_from := '-infinity';
        v_floor.whole_at := p_now;
    else
        v_from := least(v_floor.looked_at, case when v_latest.is_cleared then v_floor.doubt_from end, (
            select min(open.since)
            from unnest(v_floor.open, v_floor.open_since) as open (xid, since)
            where pg_visible_in_snapshot(open.xid, v_seen)
        )) - c_slack;
    end if;

    select array_agg(start.run_at order by lane.priority), array_agg(start.job order by lane.priority)
    into v_floor.times, v_floor.ids
    from generate_series(0, 9) as lane (priority)
    cross join lateral (
        select place.run_at, place.job
        from (
            select v_floor.times[lane.priority + 1] as run_at, v_floor.ids[lane.priority + 1] as job
            union all
            select v_from, 0
            union all
            select freed.run_at, freed.job - 1
            from backtick_freed as freed
            where freed.queue = p_queue
              and freed.xid >= pg_snapshot_xmin(v_floor.seen)
              and freed.priority = lane.priority
              and not pg_visible_in_snapshot(freed.xid, v_floor.seen)
            union all
            select waiting.run_at, waiting.id - 1
            from backtick_queue as waiting
            where waiting.queue = p_queue
              and waiting.priority = lane.priority
              and waiting.after_job is not null
              and waiting.run_at <= p_now
              and (select previous.id from backtick_queue as previous where previous.id = waiting.after_job) is null
        ) as place
        order by place.run_at, place.job
        limit 1
    ) as start;

    select coalesce(array_agg(running.xid), '{}'), coalesce(array_agg(coalesce(known.since, v_floor.looked_at)), '{}')
    into v_floor.open, v_floor.open_since
    from pg_snapshot_xip(v_seen) as running (xid)
    left join unnest(v_floor.open, v_floor.open_since) as known (xid, since) on known.xid = running.xid;

    v_floor.looked_at := coalesce(v_later_at, v_floor.looked_at);
    if v_later_at is not null and v_is_open then  -- else the next one reads on
        v_floor.seen := v_seen;
    end if;
    if v_latest.is_cleared then
        v_floor.doubted := '{}';
        v_floor.doubt_from := 'infinity';
    end if;
    floor := v_floor;
end;
$$;
comment on function bt_floor is 'Where a claim of a queue starts, for runners that know the given workers.';

-- bt_floor_name: the name of the setting that keeps the floor in a session. A floor of another make needs another name.
-- Where a worker has a limit, claims without it take turns with others, so these have one of their own.
create or replace function bt_floor_name(p_queue text, p_names int)
    returns text
    language sql
    stable
as $$
    select format('backtick.floor_%s_%s_%s', 'backtick_queue'::regclass::oid, to_hex(hashtext(p_queue)), to_hex(p_names))
$$;
comment on function bt_floor_name is 'The name of the setting that keeps the floor of a queue in a session.';

-- bt_xid8: the transaction of this number that began last, of those that the current snapshot knows.
create or replace function bt_xid8(p_xid xid)
    returns xid8
    language sql
    stable
as $$
    select greatest(0, next.xid - (next.xid - p_xid::text::bigint & 4294967295))::text::xid8
    from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) as next (xid)
$$;
comment on function bt_xid8 is 'The transaction of this number that began last.';

-- bt_locker: the transaction that has locked a row, by its xmax; null: which one cannot be told.
--
-- Parts of one transaction that lock a row one after the other (bt_withdraw does) leave a number of another kind there,
-- which names no transaction.
create or replace function bt_locker(p_xmax xid)
    returns xid8
    language sql
    stable
as $$
    select case
        when pg_xact_status(bt_xid8(p_xmax)) is distinct from 'in progress' and pg_snapshot_xmin(now.seen) < pg_snapshot_xmax(now.seen)
        then null
        else bt_xid8(p_xmax)
    end
    from (select pg_current_snapshot()) as now (seen)
$$;
comment on function bt_locker is 'The transaction that has locked a row; null: it cannot be told.';
