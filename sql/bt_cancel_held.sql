-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel_held: end jobs of a claim as canceled: the runner has stopped them because bt_cancel_asked
-- listed them, or their workers want it so.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- p_errors  why, an object a job: class, message; null, or a null in it: what is stored stays
-- returns   the ids that this call ended; an id that the claim does not hold is not among them
-- raises    22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_cancel_held(bigint, bigint[]);  -- of version 3
create or replace function bt_cancel_held(p_claim bigint, p_ids bigint[], p_errors jsonb[] default null)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim;
begin
    if cardinality(p_errors) <> cardinality(p_ids) then
        raise exception 'bt_cancel_held: % ids, % errors', cardinality(p_ids), cardinality(p_errors)
            using errcode = 'invalid_parameter_value', hint = 'Pass one error for each id, or none at all.';
    end if;
    v_claim := bt_let_go(p_claim, p_ids, 'bt_cancel_held');
    if p_errors is not null then
        p_errors := array(
            select p_errors[array_position(p_ids, held.id)] from unnest(v_claim.jobs) with ordinality as held (id, n) order by n);
    end if;
    return query select unnest(bt_end(v_claim.jobs, 'canceled', 1, v_claim.runner, v_claim.claimed_at, p_errors));
end;
$$;
comment on function bt_cancel_held is 'End jobs of a claim as canceled, which the runner has stopped; returns the ids that it ended.';
