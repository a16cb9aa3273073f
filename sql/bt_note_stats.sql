-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_bounds: the upper bounds, in seconds, of the classes of run and wait times; what is longer is in one more class.
create or replace function bt_bounds()
    returns float8[]
    language sql
    immutable
    parallel safe
as $$ select '{0.001,0.005,0.025,0.1,0.5,1,5,15,60,300,1800,7200}'::float8[] $$;
comment on function bt_bounds is 'The upper bounds, in seconds, of the classes of run and wait times.';

-- bt_add: the sum of arrays of so many numbers as there are classes, place by place; a null is zeros. Said in full, for an
-- array that is put together from rows made bt_stats take over three times as long.
create or replace function bt_add(p_some bigint[], p_more bigint[])
    returns bigint[]
    language plpgsql
    immutable
    parallel safe
as $$
begin
    return case
        when p_some is null then p_more
        when p_more is null then p_some
        else array[
            coalesce(p_some[1], 0) + coalesce(p_more[1], 0),
            coalesce(p_some[2], 0) + coalesce(p_more[2], 0),
            coalesce(p_some[3], 0) + coalesce(p_more[3], 0),
            coalesce(p_some[4], 0) + coalesce(p_more[4], 0),
            coalesce(p_some[5], 0) + coalesce(p_more[5], 0),
            coalesce(p_some[6], 0) + coalesce(p_more[6], 0),
            coalesce(p_some[7], 0) + coalesce(p_more[7], 0),
            coalesce(p_some[8], 0) + coalesce(p_more[8], 0),
            coalesce(p_some[9], 0) + coalesce(p_more[9], 0),
            coalesce(p_some[10], 0) + coalesce(p_more[10], 0),
            coalesce(p_some[11], 0) + coalesce(p_more[11], 0),
            coalesce(p_some[12], 0) + coalesce(p_more[12], 0),
            coalesce(p_some[13], 0) + coalesce(p_more[13], 0)
        ]
    end;
end;
$$;
comment on function bt_add is 'The sum of arrays, place by place.';

do $$
begin
    if to_regprocedure(format('%I.bt_sum(bigint[])', current_schema())) is null then
        create aggregate bt_sum (bigint[]) (sfunc = bt_add, stype = bigint[], combinefunc = bt_add, parallel = safe);
    end if;
end;
$$;
comment on aggregate bt_sum (bigint[]) is 'The sum of arrays, place by place.';

-- bt_note_stats: a runner tells what became of its jobs since it last did, in one small call every few seconds.
--
-- Rows are only added: no two runners, nor two calls, write the same one. bt_fold_stats sums them up later. A call whose
-- answer got lost is made again with the same number, and then stores nothing twice within two minutes.
--
-- It commits asynchronously: what a crash of the server makes it forget are numbers, not jobs.
--
-- p_note        a number that the caller makes up, for this call
-- p_stats       a JSON array of objects: queue, worker, done, failed (tries), retried (failed, and queued again), exceeded,
--               canceled, snoozed; runs, how many have the times that follow; run_s, wait_s: sums, in seconds;
--               run_classes, wait_classes: how many fell into each class of bt_bounds
-- returns       the database's time, in seconds since 1970, by which the caller may tell how long a job waited
-- raises        22004 null_value_not_allowed
create or replace function bt_note_stats(p_note bigint, p_stats json)
    returns float8
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now timestamptz := bt_now();
begin
    if p_note is null or p_stats is null then
        raise exception 'bt_note_stats: p_note and p_stats must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass a number made up for this call, and an array of objects.';
    end if;

    perform set_config('synchronous_commit', 'off', true);
    insert into backtick_stat (
        span, at, note, noted_at, queue, worker, done, failed, retried, exceeded, canceled, snoozed, runs, run_s, wait_s,
        run_classes, wait_classes)
    select 'note', date_trunc('minute', v_now), p_note, v_now, stat.queue, stat.worker,
           coalesce(stat.done, 0), coalesce(stat.failed, 0), coalesce(stat.retried, 0), coalesce(stat.exceeded, 0),
           coalesce(stat.canceled, 0), coalesce(stat.snoozed, 0), coalesce(stat.runs, 0), coalesce(stat.run_s, 0),
           coalesce(stat.wait_s, 0), stat.run_classes, stat.wait_classes
    from json_to_recordset(p_stats) as stat (
        queue text, worker text, done bigint, failed bigint, retried bigint, exceeded bigint, canceled bigint,
        snoozed bigint, runs bigint, run_s float8, wait_s float8, run_classes bigint[], wait_classes bigint[])
    where not exists (select from backtick_stat as said where said.span = 'note' and said.note = p_note);
    return extract(epoch from bt_now());
end;
$$;
comment on function bt_note_stats is 'Note what became of a runner''s jobs since it last told; returns the database''s time.';

-- bt_fold_stats: sum up what runners noted: by the minute for a day, then by the hour for 30 days; and since ever.
--
-- One of all who call does it; the others pass. What counts since ever is moved on when a note is folded, so that its sum with
-- the notes that are left never goes back.
create or replace function bt_fold_stats()
    returns void
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
declare
    v_now timestamptz := bt_now();
begin
    if not pg_try_advisory_xact_lock(hashtext('backtick stats')) then
        return;
    end if;

    with folded as (
        delete from backtick_stat
        where span = 'note'
          and noted_at < v_now - interval '2 min'
        returning *
    ), placed as (
        select 'minute' as new_span, at as new_at, * from folded
        union all
        select 'ever', '-infinity', * from folded
    )
    insert into backtick_stat as kept (
        span, at, noted_at, queue, worker, done, failed, retried, exceeded, canceled, snoozed, crashed, runs, run_s, wait_s,
        run_classes, wait_classes)
    select new_span, new_at, v_now, queue, worker, sum(done), sum(failed), sum(retried), sum(exceeded), sum(canceled),
           sum(snoozed), sum(crashed), sum(runs), sum(run_s), sum(wait_s), bt_sum(run_classes), bt_sum(wait_classes)
    from placed
    group by new_span, new_at, queue, worker
    on conflict (span, at, queue, worker) where span <> 'note' do update
        set done = kept.done + excluded.done,
            failed = kept.failed + excluded.failed,
            retried = kept.retried + excluded.retried,
            exceeded = kept.exceeded + excluded.exceeded,
            canceled = kept.canceled + excluded.canceled,
            snoozed = kept.snoozed + excluded.snoozed,
            crashed = kept.crashed + excluded.crashed,
            runs = kept.runs + excluded.runs,
            run_s = kept.run_s + excluded.run_s,
            wait_s = kept.wait_s + excluded.wait_s,
            run_classes = bt_add(kept.run_classes, excluded.run_classes),
            wait_classes = bt_add(kept.wait_classes, excluded.wait_classes);

    with folded as (
        delete from backtick_stat
        where span = 'minute'
          and at < date_trunc('hour', v_now - interval '24 h')
        returning *
    )
    insert into backtick_stat as kept (
        span, at, noted_at, queue, worker, done, failed, retried, exceeded, canceled, snoozed, crashed, runs, run_s, wait_s,
        run_classes, wait_classes)
    select 'hour', date_trunc('hour', at), v_now, queue, worker, sum(done), sum(failed), sum(retried), sum(exceeded),
           sum(canceled), sum(snoozed), sum(crashed), sum(runs), sum(run_s), sum(wait_s), bt_sum(run_classes),
           bt_sum(wait_classes)
    from folded
    group by date_trunc('hour', at), queue, worker
    on conflict (span, at, queue, worker) where span <> 'note' do update
        set done = kept.done + excluded.done,
            failed = kept.failed + excluded.failed,
            retried = kept.retried + excluded.retried,
            exceeded = kept.exceeded + excluded.exceeded,
            canceled = kept.canceled + excluded.canceled,
            snoozed = kept.snoozed + excluded.snoozed,
            crashed = kept.crashed + excluded.crashed,
            runs = kept.runs + excluded.runs,
            run_s = kept.run_s + excluded.run_s,
            wait_s = kept.wait_s + excluded.wait_s,
            run_classes = bt_add(kept.run_classes, excluded.run_classes),
            wait_classes = bt_add(kept.wait_classes, excluded.wait_classes);

    delete from backtick_stat where span in ('hour', 'ids') and at < v_now - interval '30 d';
end;
$$;
comment on function bt_fold_stats is 'Sum up what runners noted, by the minute, by the hour and since ever.';

-- bt_note_ends: note ends and crashes that no living runner tells of; for bt_end and bt_revive_jobs.
--
-- p_ids       jobs that stand in backtick_done (p_state) or in backtick_queue (p_state null: crashed, and queued again)
-- p_state     exceeded or canceled, or null
-- p_crashes   crashes of each
create or replace function bt_note_ends(p_ids bigint[], p_state text, p_crashes int)
    returns void
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    insert into backtick_stat (span, at, noted_at, queue, worker, exceeded, canceled, crashed)
    select 'note', date_trunc('minute', clock.now), clock.now, job.queue, job.name,
           count(*) filter (where p_state = 'exceeded'), count(*) filter (where p_state = 'canceled'), count(*) * p_crashes
    from (select bt_now() as now) as clock
    cross join lateral (
        select done.queue, done.name from backtick_done as done where p_state is not null and done.id = any (p_ids)
        union all
        select queued.queue, queued.name from backtick_queue as queued where p_state is null and queued.id = any (p_ids)
    ) as job
    group by clock.now, job.queue, job.name
$$;
comment on function bt_note_ends is 'Note ends and crashes of jobs that no living runner tells of.';
