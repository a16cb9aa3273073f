-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_end: end jobs, whatever brought them there; the one place that moves a job from the queue to the history.
--
-- Callers have made sure that nobody else moves these jobs: by bt_let_go, by the lock on a dead runner's claim,
-- or as bt_withdraw does.
--
-- The history cannot refuse an id: what has succeeded would be run again. If the sequence of ids has gone back (a
-- restore, logical replication, a failover), it may hold an older job of the same id. Then the older one keeps all
-- that is recorded of it, under a negative id, and the id means the job that had it last.
--
-- Who waits for the end of one of them is notified, in the channel backtick_result: see bt_wait_for. Claims are told of
-- jobs that come after one of them (see bt_open), and a batch ends of which this was the last (see bt_end_batch). Of plain
-- jobs that costs one look into an index.
--
-- What had a group leaves room in it: claims are told, who open its gate for the next one (see bt_let_in).
--
-- Jobs are found by their ids whatever the table's statistics say: a plan that was made while it was
-- small must not read all of it when it has grown.
--
-- p_ids         the jobs
-- p_state       done, exceeded or canceled
-- p_tries       tries to be added
-- p_runner      who ends them; null: no runner does
-- p_started_at  when they were claimed; null: they were not
-- p_errors      what went wrong, one for each of p_ids; null, or a null in it: what is stored stays
-- p_crashes     crashes to be added
-- p_results     what the workers returned, JSON as text, by id; null: nothing is kept
-- returns       the ids of those that were there
drop function if exists bt_end(bigint, bigint[], text, text);  -- of version 3
create or replace function bt_end(
    p_ids        bigint[],
    p_state      text,
    p_tries      int,
    p_runner     bigint,
    p_started_at timestamptz,
    p_errors     jsonb[] default null,
    p_crashes    int default 0,
    p_results    jsonb default null
)
    returns bigint[]
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_now     timestamptz := bt_now();
    v_count   bigint;
    v_queues  text[];
    v_batches bigint[];
    v_waited  bigint[];
    v_batch   bigint;
begin
    loop
        begin
            with ended as (
                delete from backtick_queue as job
                where job.id = any (p_ids)
                returning job.*
            ), noted as (
                insert into backtick_opening (queue, group_keys, noted_at)
                select ended.queue, array_agg(distinct ended.group_key), v_now
                from ended
                where ended.group_key is not null
                group by ended.queue
                returning queue, group_keys
            ), kept as (
                insert into backtick_done (
                    id, queue, name, args, priority, run_at, state, tries, crashes, max_tries,
                    error, runner, created_at, started_at, finished_at, schedule, scheduled_for, enqueued_by,
                    expires_at, tags, snoozes, attempts, group_key, key, batch, headers, result)
                select id, queue, name, args, priority, coalesce(due_at, run_at), p_state, tries + p_tries, crashes + p_crashes, max_tries,
                       case when p_errors is null then error else coalesce(p_errors[array_position(p_ids, id)], error) end,
                       p_runner, created_at, p_started_at, v_now, schedule, scheduled_for, enqueued_by,
                       expires_at, tags, snoozes, attempts, group_key, key, batch, headers,
                       case when p_results is not null then (p_results ->> id::text)::json end
                from ended
            )
            select (select count(*) from ended), (
                select array_agg(distinct noted.queue)
                from noted
                where exists (select from backtick_runner as runner where runner.asleep_until > v_now)
                  and exists (
                    select
                    from unnest(noted.group_keys) as known (name)
                    cross join lateral (
                        select
                        from backtick_queue as waiting
                        where hashtext(waiting.queue) = hashtext(noted.queue)
                          and waiting.group_key = known.name
                          and waiting.gate = 1
                          and waiting.id not in (select ended.id from ended)
                        limit 1
                    ) as waiting
                )
            ), (select array_agg(distinct ended.batch) from ended where ended.batch is not null),
               (select array_agg(ended.id) from ended where ended.gate = 2)
            into v_count, v_queues, v_batches, v_waited;
            exit;
        exception when unique_violation then
            update backtick_done as older
            set id = -1 - ('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint
            where older.id = any (p_ids)
              and exists (select from backtick_queue as job where job.id = older.id);
            if not found then
                raise;
            end if;
            raise warning 'bt_end: ids of % had been given before; what ended under them has negative ids now', p_ids;
        end;
    end loop;
    if v_count > 0 and (p_runner is null or p_crashes > 0) then  -- else a runner tells of it
        perform bt_note_ends(p_ids, p_state, p_crashes);
    end if;
    if exists (select from backtick_waiter as waiter where waiter.job = any (p_ids))
        and pg_notification_queue_usage() < 0.5  -- see bt_wake
    then
        perform pg_notify('backtick_result', waiter.job::text)
        from backtick_waiter as waiter
        where waiter.job = any (p_ids);
    end if;
    if v_queues is not null then
        perform bt_wake(woken.queue, v_now) from unnest(v_queues) as woken (queue);
    end if;
    if v_waited is not null then
        delete from backtick_after where job = any (v_waited);
    end if;
    if exists (select from backtick_after as waiting where waiting.waits_for = any (p_ids)) then
        perform bt_note_ended(p_ids, p_state <> 'done');
    end if;
    if v_batches is not null then
        foreach v_batch in array v_batches loop
            perform bt_end_batch(v_batch, true);
        end loop;
    end if;
    if v_count = cardinality(p_ids) then
        return p_ids;
    end if;
    return array(select job.id from backtick_done as job where job.id = any (p_ids) and job.finished_at = v_now);
end;
$$;
comment on function bt_end is 'End jobs in the given state, whatever the history holds; returns the ids of those that were there.';
