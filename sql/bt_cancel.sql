-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel: withdraw a job that is queued, or have one that runs stopped.
--
-- Part of the caller's transaction: if it rolls back, the job is as it was. Until it ends, claims
-- pass the job over, and are not held up. A running job is asked for in backtick_cancel: its runner
-- looks there about once a second, stops it as far as it can be stopped, and ends it as canceled. If
-- it ends by itself before that, it ends as it does; if it fails or its runner dies, it is not tried again.
--
-- Who may not act on all jobs cancels his own only, those that his role enqueued: see bt_may_touch.
--
-- p_id      the job
-- returns   true if it is canceled now, or runs and was asked for; false if it has ended, or is not there
-- raises    22004 null_value_not_allowed, 25000 invalid_transaction_state,
--           42501 insufficient_privilege if another role enqueued the job; where bt_own_jobs_only, it is as if not there
create or replace function bt_cancel(p_id bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_queue text;
    v_by    text;
begin
    if p_id is null then
        raise exception 'bt_cancel: p_id must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the id that bt_enqueue returned.';
    end if;

    select queue, enqueued_by into v_queue, v_by from backtick_queue where id = p_id;
    if not found then
        return false;
    end if;
    if not bt_may_touch('bt_cancel', p_id, v_by) then
        return false;
    end if;
    if bt_withdraw(v_queue, array[p_id]) = 1 then
        return true;
    end if;

    insert into backtick_cancel (job, asked_at)
    select id, bt_now()
    from backtick_queue
    where id = p_id
    on conflict do nothing;
    return exists (select from backtick_queue where id = p_id);
end;
$$;
comment on function bt_cancel is 'Withdraw a queued job, or have a running one stopped; false if it has ended.';

-- bt_may_touch: whether the caller may act on a job: who may not act on many acts on those only that his role enqueued.
--
-- p_caller  the function on whose behalf this is, for the error
-- p_id      the job
-- p_by      the role that enqueued it
-- returns   false if it is to be for him as if it were not there: see bt_own_jobs_only
-- raises    42501 insufficient_privilege
create or replace function bt_may_touch(p_caller text, p_id bigint, p_by text)
    returns boolean
    language plpgsql
    stable
    set search_path from current
as $$
begin
    if p_by = bt_role() or has_function_privilege(bt_role(), 'bt_delete(bigint)', 'execute') then
        return true;
    end if;
    if not bt_own_jobs_only() then
        raise exception '%: job % was enqueued by %, not by %', p_caller, p_id, coalesce(p_by, 'nobody known'), bt_role()
            using errcode = 'insufficient_privilege', hint = 'A producer acts on its own jobs, an admin on any.';
    end if;
    return false;
end;
$$;
comment on function bt_may_touch is 'Whether the caller may act on a job, which is its own, or it is an admin.';
