-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_take_free: lock those of the given jobs of a queue that are free, so that they are the caller's to move or end.
--
-- No claim may take a job that is locked here, though it reads neither what is not committed nor waits for the
-- caller's transaction, which may last for hours. Why that is so:
--
-- 1. The rows of the jobs are locked first. That marks them (xmax), for all to see who read them from then on.
-- 2. Then the lock that every claim of the queue holds, from before it looks at jobs until it has committed, is
--    taken for a moment. Claims that had it before have committed, and the next statement here, whose snapshot is
--    newer, sees what they hold. Claims that get it later look at the jobs later than 1: they see the mark, and
--    what bears it they pass over, unless they can lock it, which they cannot before the caller's transaction ends.
-- 3. So what no claim holds now, none will: it is the caller's.
--
-- What turns out to be held gets its lock back, lest its runner wait to report it. The moment's lock, and those
-- rows', are let go by going back to a savepoint, so no interruption, wherever it comes, leaves one behind.
--
-- p_queue    the queue of all these jobs
-- p_ids      their ids
-- p_wait_ms  milliseconds to wait for claims that are under way; null: as long as lock_timeout says
-- returns    the ids of those that are free, locked until the end of the transaction
-- raises     25000 invalid_transaction_state, 55P03 lock_not_available
create or replace function bt_take_free(p_queue text, p_ids bigint[], p_wait_ms int default null)
    returns bigint[]
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    c_back constant text := 'BT000';  -- to a savepoint
    v_ids  bigint[];
    v_held bigint[] := bt_held(p_queue, p_ids);
begin
    perform bt_check_isolation('bt_cancel');
    loop
        begin
            v_ids := array(
                select job.id
                from backtick_queue as job
                where job.id = any (p_ids)
                  and job.queue = p_queue
                  and job.id <> all (v_held)
                for update skip locked
            );
            if v_ids = '{}' then
                return v_ids;
            end if;

            begin
                if p_wait_ms is not null then
                    perform set_config('lock_timeout', p_wait_ms::text, true);
                end if;
                perform pg_advisory_xact_lock_shared('backtick_queue'::regclass::oid::int, hashtext(p_queue));
                v_held := v_held || bt_held(p_queue, v_ids);
                raise exception using errcode = c_back;
            exception when sqlstate 'BT000' then
                null;
            end;

            if v_ids && v_held then
                raise exception using errcode = c_back;
            end if;
            return v_ids;
        exception when sqlstate 'BT000' then
            null;
        end;
    end loop;
end;
$$;
comment on function bt_take_free is 'Lock free jobs of a queue, beside running claims, which pass them over; returns which were free.';

-- bt_withdraw: end those of the given jobs of a queue that are free as canceled.
--
-- parameters  as of bt_take_free
-- returns     how many were withdrawn
-- raises      25000 invalid_transaction_state, 55P03 lock_not_available
drop function if exists bt_withdraw(text, bigint[]);  -- of version 3
create or replace function bt_withdraw(p_queue text, p_ids bigint[], p_wait_ms int default null)
    returns bigint
    language sql
    volatile
    set search_path from current
as $$
    select cardinality(bt_end(bt_take_free(p_queue, p_ids, p_wait_ms), 'canceled', 0, null, null))
$$;
comment on function bt_withdraw is 'End free jobs of a queue as canceled, beside running claims; returns how many.';

-- bt_held: those of some jobs that claims of their queue hold; volatile, since each call must read anew.
create or replace function bt_held(p_queue text, p_ids bigint[])
    returns bigint[]
    language sql
    volatile
    set search_path from current
    set jit to off
as $$
    select array(
        select held.id
        from backtick_claim as claim
        cross join unnest(claim.jobs) as held (id)
        where claim.queue = p_queue
          and exists (select from unnest(p_ids) as given (id) where given.id = held.id)
    )
$$;
comment on function bt_held is 'Those of some jobs that claims of their queue hold.';

-- bt_withdraw_asked: end those jobs as canceled that somebody canceled while they ran, and that are
-- free again: their runner failed, died or handed them back before it could stop them. Claims pass
-- them over meanwhile. Also forgets what was asked of jobs that have ended.
--
-- A queue whose claims are under way for long is left for the next time; rows that are locked are left to others.
create or replace function bt_withdraw_asked()
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_queue text;
    v_ids   bigint[];
begin
    if not exists (select from backtick_cancel) then
        return;
    end if;

    for v_queue, v_ids in
        select job.queue, array_agg(job.id)
        from backtick_cancel as asked
        join backtick_queue as job on job.id = asked.job
        where not exists (select from backtick_claim as claim where job.id = any (claim.jobs))
        group by job.queue
    loop
        begin
            perform bt_withdraw(v_queue, v_ids, 200);
        exception when others then
            raise warning 'bt_withdraw_asked: jobs of % that were canceled while they ran cannot be ended: %', v_queue, sqlerrm;
        end;
    end loop;

    delete from backtick_cancel as forgotten
    using (
        select asked.job
        from backtick_cancel as asked
        where not exists (select from backtick_queue as job where job.id = asked.job)
        for update skip locked
    ) as ended
    where forgotten.job = ended.job;
end;
$$;
comment on function bt_withdraw_asked is 'End free jobs as canceled that somebody canceled while they ran.';
