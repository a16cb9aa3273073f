-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_end: end jobs of a claim, whose run is the last thing that happens to them.
--
-- Jobs are found by their ids whatever the table's statistics say: a plan that was made while it was
-- small must not read all of it when it has grown.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- p_state   done or canceled
-- p_caller  the function on whose behalf this is, for the error
-- returns   the ids that this call ended; an id that the claim does not hold is not among them
-- raises    22004 null_value_not_allowed
create or replace function bt_end(p_claim bigint, p_ids bigint[], p_state text, p_caller text)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_claim backtick_claim := bt_let_go(p_claim, p_ids, p_caller);
    v_now   timestamptz := bt_now();
begin
    return query
        with ended as (
            delete from backtick_queue as job
            where job.id = any (v_claim.jobs)
            returning job.*
        )
        insert into backtick_done (
            id, queue, name, args, priority, run_at, state, tries, crashes, max_tries,
            error, runner, created_at, started_at, finished_at, schedule, scheduled_for, enqueued_by)
        select id, queue, name, args, priority, run_at, p_state, tries + 1, crashes, max_tries,
               error, v_claim.runner, created_at, v_claim.claimed_at, v_now, schedule, scheduled_for, enqueued_by
        from ended
        returning id;
end;
$$;
comment on function bt_end is 'End jobs of a claim in the given state; returns the ids that it ended.';
