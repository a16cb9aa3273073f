-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel_held: end jobs of a claim as canceled: the runner has stopped them because bt_cancel_asked
-- listed them.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- returns   the ids that this call ended; an id that the claim does not hold is not among them
-- raises    22004 null_value_not_allowed
create or replace function bt_cancel_held(p_claim bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim := bt_let_go(p_claim, p_ids, 'bt_cancel_held');
begin
    return query select unnest(bt_end(v_claim.jobs, 'canceled', 1, v_claim.runner, v_claim.claimed_at));
end;
$$;
comment on function bt_cancel_held is 'End jobs of a claim as canceled, which the runner has stopped; returns the ids that it ended.';
