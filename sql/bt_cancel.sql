-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel: withdraw a job that is queued, or have one that runs stopped.
--
-- Part of the caller's transaction: if it rolls back, the job is as it was. Until it ends, claims
-- pass the job over, and are not held up. A running job is asked for in backtick_cancel: its runner
-- looks there about once a second, stops it as far as it can be stopped, and ends it as canceled. If
-- it ends by itself before that, it ends as it does; if it fails or its runner dies, it is not tried again.
--
-- Who may not call bt_cancel_all cancels jobs of his own only: those that his role enqueued.
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
    if v_by is distinct from bt_role()
        and not has_function_privilege(bt_role(), 'bt_cancel_all(text, text)', 'execute')
    then
        if bt_own_jobs_only() then
            return false;
        end if;
        raise exception 'bt_cancel: job % was enqueued by %, not by %', p_id, coalesce(v_by, 'nobody known'), bt_role()
            using errcode = 'insufficient_privilege', hint = 'A producer cancels its own jobs, an admin any.';
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
