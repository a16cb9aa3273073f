-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_complete: end jobs of a claim as done.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- returns   the ids that this call ended; an id that the claim does not hold is not among them
-- raises    22004 null_value_not_allowed
create or replace function bt_complete(p_claim bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim := bt_let_go(p_claim, p_ids, 'bt_complete');
begin
    return query select unnest(bt_end(v_claim.jobs, 'done', 1, v_claim.runner, v_claim.claimed_at));
end;
$$;
comment on function bt_complete is 'End jobs of a claim as done; returns the ids that it ended.';
