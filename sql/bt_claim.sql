-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_claim: take the jobs of a queue that are due and free, first ones first.
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
-- somebody canceled while it ran (backtick_cancel), for ever.
--
-- What dies with a runner need not have killed it: it may only have been claimed ahead. So a job
-- that has seen a runner die is taken only if it begins at once, and the next death counts against
-- jobs that were running. And no claim takes more than 32 MB of arguments beyond its first job. What is stored
-- compressed is not unpacked to be measured, but counted as the most that it can be: 255 times as much (lz4; pglz packs
-- less), up to the 16 MB that bt_check_job allows. So few jobs of long, dull arguments come at a time.
--
-- A job's row is read, not written. One that another transaction is about to withdraw (xmax is not
-- 0) is passed over, unless a look from the beginning proves that it is not locked after all.
--
-- Time per job is what counts here. In the usual case the first jobs from the floor on are all free, small and of
-- known workers, which one pass over them tells; else they are looked at one by one. Of the claims that there are only
-- those are read that may hold one of these jobs, by their lowest and highest id, or that are new: a held snapshot keeps
-- all that there ever were. `not in` makes a hash table whatever the planner guesses about the number of rows, and it
-- guesses wrong.
--
-- The plan must not change as tables grow from empty: hence the settings. Without jit = off the
-- cost that a forbidden scan is given has each claim compiled, which took 30 ms.
--
-- p_runner     what bt_register_runner returned
-- p_queue      the queue
-- p_limit      how many jobs at most
-- p_names      the workers that the runner knows; jobs of others are left to others
-- p_floor      ten times, for priorities 0 to 9: where to start looking, run_at of the last job claimed; it starts where
--              another runner with the same workers left off, if that one has claimed since.
--              A hint that spares a walk over jobs known to be gone; null looks from the beginning. Pass null when a
--              claim came back short: jobs that were retried, released, back-dated or committed late lie below the floor.
-- p_floor_ids  ten ids: those of the jobs whose run_at is in p_floor; null starts with the first of that time
-- p_stale_ms   looks from the beginning all the same, unless another runner with the same workers has done so within so
--              many milliseconds; null trusts the floor. Pass 1000 once a second, or both more if such a look takes long:
--              while some transaction holds a snapshot, the jobs that have gone must still be walked over
-- p_begin      how many of the jobs the runner will begin at once, the others being claimed ahead; null: all
-- returns      a row per job, in order; none if nothing is due, or the queue is paused. tries counts this
--              one. claim is the proof that bt_complete, bt_fail and bt_release ask for
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value, 25000 invalid_transaction_state,
--              P0002 no_data_found if the runner has been given up for dead: register anew
drop function if exists bt_claim(bigint, text, int, text[], timestamptz[]);  -- of version 1
drop function if exists bt_claim(bigint, text, int, text[], timestamptz[], int);  -- of version 2
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
    set plan_cache_mode to force_generic_plan
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    c_most_bytes constant int := 33554432;
    v_now       timestamptz;
    v_floor     timestamptz[] := p_floor;
    v_floor_ids bigint[] := p_floor_ids;
    v_looked_at timestamptz;
    v_newest    record;
    v_look      int;
    v_seen      int;
    v_free      bigint[];
    v_doubtful  bigint[];
    v_is_usual  boolean;
    v_by_worker boolean;
    v_is_enough boolean := false;
    v_is_plain  boolean;
    v_lowest    bigint;
    v_highest   bigint;
    v_claim     bigint;
begin
    if p_runner is null or p_queue is null or p_limit is null or p_names is null then
        raise exception 'bt_claim: runner %, queue %, limit %, names %', p_runner, p_queue, p_limit, p_names
            using errcode = 'null_value_not_allowed',
                  hint = 'p_runner, p_queue, p_limit and p_names must be given.';
    end if;
    if p_limit not between 1 and 100000
        or coalesce(cardinality(p_floor), 10) <> 10
        or coalesce(cardinality(p_floor_ids), 10) <> 10
    then
        raise exception 'bt_claim: limit is %, floor has % elements and % ids',
                p_limit, cardinality(p_floor), cardinality(p_floor_ids)
            using errcode = 'invalid_parameter_value', hint = 'A limit is 1 to 100000; a floor has ten elements or is null.';
    end if;
    perform bt_check_isolation('bt_claim');

    perform set_config('synchronous_commit', 'off', true);
    perform pg_advisory_xact_lock('backtick_queue'::regclass::oid::int, hashtext(p_queue));
    v_now := bt_now();

    if not exists (select from backtick_runner as runner where runner.id = p_runner) then
        raise exception 'bt_claim: there is no runner %', p_runner
            using errcode = 'no_data_found', hint = 'It has been given up for dead or signed out; register anew.';
    end if;
    if exists (select from backtick_setting as setting where setting.queue = p_queue and setting.paused_at is not null) then
        return;
    end if;

    if v_floor is not null then
        with alike as materialized (
            select claim.runner, claim.claimed_at, claim.looked_at, claim.last_priority, claim.last_run_at, claim.last_job
            from backtick_claim as claim
            join backtick_runner as runner on runner.id = claim.runner
            where claim.queue = p_queue
              and claim.claimed_at > v_now - greatest(1000, p_stale_ms) * interval '1 ms'
              and runner.names = p_names
        )
        select newest.runner, newest.last_priority + 1 as lane, newest.last_run_at, newest.last_job,
               (select max(alike.looked_at) from alike where alike.runner <> p_runner) as looked_at,
               exists (select from alike where alike.runner = p_runner) as has_own
        into v_newest
        from alike as newest
        order by newest.claimed_at desc
        limit 1;

        v_looked_at := v_newest.looked_at;
        if p_stale_ms is not null
            and coalesce(v_looked_at, '-infinity') < v_now - p_stale_ms * interval '1 ms'
        then
            v_floor := null;
        elsif v_newest.runner <> p_runner  -- if none of its own is left, only the place tells which came last
            and (v_newest.has_own or (v_newest.last_run_at, v_newest.last_job) > (
                coalesce(v_floor[v_newest.lane], '-infinity'), coalesce(v_floor_ids[v_newest.lane], 0)))
        then
            v_floor[v_newest.lane] := v_newest.last_run_at;
            v_floor_ids[v_newest.lane] := v_newest.last_job;
        end if;
    end if;
    if v_floor is null then
        v_floor_ids := null;
        v_looked_at := v_now;
    end if;

    -- The usual case: whatever comes first is free.
    with seen as materialized (
        select count(*) as n,
               array_agg(due.id order by due.priority, due.run_at, due.id) as free,
               min(due.id) as lowest,
               max(due.id) as highest,
               count(*) filter (where not due.name = any (p_names)) * 2 > p_limit as are_strangers,
               bool_and(due.name = any (p_names) and due.untouched and due.after_job is null and due.crashes = 0)
                   and sum(due.bytes) <= c_most_bytes as is_plain
        from bt_due(p_queue, v_floor, v_floor_ids, v_now, p_limit) as due
    )
    select seen.n, seen.free, seen.lowest, seen.highest, seen.are_strangers,
           seen.is_plain
           and not exists (
               select from backtick_claim as claim
               where claim.queue = p_queue
                 and claim.lowest <= seen.highest
                 and claim.highest >= seen.lowest
           )
           and not exists (select from backtick_cancel as asked where asked.job between seen.lowest and seen.highest)
    into v_seen, v_free, v_lowest, v_highest, v_by_worker, v_is_usual
    from seen;
    if v_seen = 0 then
        return;
    end if;

    -- Else look at more of them; then at so many that enough of them must be free, if all are of known workers; at last,
    -- or at once if most are not, worker by worker.
    if not v_is_usual then
        v_look := case when v_by_worker then p_limit else 2 * p_limit + 100 end;
        loop
            with due as materialized (
                select due.*
                from bt_due(p_queue, v_floor, v_floor_ids, v_now, v_look) as due
                where not v_by_worker
                union all
                select due.*
                from bt_due_by_worker(p_queue, p_names, v_floor, v_floor_ids, v_now, v_look) as due
                where v_by_worker
            ), held as (
                select unnest(claim.jobs) as id
                from backtick_claim as claim
                where claim.queue = p_queue
                  and claim.lowest <= (select max(due.id) from due)
                  and claim.highest >= (select min(due.id) from due)
                union all
                select asked.job from backtick_cancel as asked
            )
            select count(*),
                   array_agg(due.id order by due.priority, due.run_at, due.id) filter (where due.is_free and due.untouched),
                   array_agg(due.id) filter (where due.is_free and not due.untouched and v_floor is null),
                   sum(due.bytes) <= c_most_bytes and max(due.crashes) = 0
            into v_seen, v_free, v_doubtful, v_is_plain
            from (
                select due.*,
                       due.name = any (p_names)
                       and due.id not in (select held.id from held)
                       and (due.after_job is null
                            or not exists (select from backtick_queue as previous where previous.id = due.after_job))
                       as is_free
                from due
            ) as due;

            exit when v_seen < v_look or cardinality(v_free) >= p_limit;
            if not v_is_enough then
                v_is_enough := true;
                v_look := v_look + 100
                    + (select coalesce(sum(cardinality(claim.jobs)), 0) from backtick_claim as claim where claim.queue = p_queue)
                    + (select count(*) from backtick_cancel);
            else
                exit when v_by_worker;
                v_by_worker := true;
            end if;
        end loop;

        if v_doubtful is not null then
            v_free := v_free || array(
                select job.id
                from backtick_queue as job
                where job.id = any (v_doubtful)
                for no key update skip locked
            );
            v_free := array(
                select job.id
                from backtick_queue as job
                where job.id = any (v_free)
                order by job.priority, job.run_at, job.id
            );
        end if;
    end if;

    v_free := v_free[1:p_limit];
    if not (v_is_usual or v_is_plain) then
        v_free := array(
            select listed.id
            from (
                select free.place, job.id, job.crashes, sum(bt_bytes(job.args)) over (order by free.place) as bytes
                from unnest(v_free) with ordinality as free (id, place)
                join backtick_queue as job on job.id = free.id
            ) as listed
            where (listed.bytes <= c_most_bytes or listed.place = 1)
              and (listed.crashes = 0 or listed.place <= coalesce(p_begin, p_limit))
            order by listed.place
        );
    end if;
    if coalesce(cardinality(v_free), 0) = 0 then
        return;
    end if;
    if not v_is_usual then
        select min(free), max(free) into v_lowest, v_highest from unnest(v_free) as free;
    end if;

    -- From here to the commit the runner cannot be given up for dead: its jobs may have become free just so.
    perform from backtick_runner as runner where runner.id = p_runner for key share skip locked;
    if not found then
        return;
    end if;

    insert into backtick_claim (
        id, queue, runner, claimed_at, looked_at, jobs, lowest, highest, last_priority, last_run_at, last_job)
    select ('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint, p_queue, p_runner, v_now, v_looked_at, v_free,
           v_lowest, v_highest, job.priority, job.run_at, job.id
    from backtick_queue as job
    where job.id = v_free[cardinality(v_free)]
    returning backtick_claim.id into v_claim;

    update backtick_runner as runner
    set asleep_until = null
    where runner.id = p_runner
      and runner.asleep_until is not null;

    return query
        select v_claim, job.id, job.queue, job.name, job.args, job.priority, job.run_at,
               job.tries + 1, job.crashes, job.max_tries, job.created_at, job.scheduled_for
        from unnest(v_free) with ordinality as free (id, place)
        join backtick_queue as job on job.id = free.id
        order by free.place;
end;
$$;
comment on function bt_claim is 'Take due jobs of a queue, first ones first; a row per job, all in one claim.';
