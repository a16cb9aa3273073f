-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_release: hand jobs of a claim back as they were; no try is used. For what a runner claimed and
-- cannot run: it shuts down, or took more than it can do.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- returns   the ids that this call handed back
-- raises    22004 null_value_not_allowed
create or replace function bt_release(p_claim bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim := bt_let_go(p_claim, p_ids, 'bt_release');
begin
    if v_claim.id is null or v_claim.jobs = '{}' then
        return;
    end if;
    perform bt_freed(v_claim.jobs);
    if v_claim.groups is not null then  -- what was taken from the line of its group stands there again
        perform bt_tell_lines(v_claim.queue, v_claim.jobs);
    end if;
    perform bt_wake(v_claim.queue, bt_now());
    return query select unnest(v_claim.jobs);
end;
$$;
comment on function bt_release is 'Hand jobs of a claim back, no try used; returns the ids that it handed back.';
