-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_release_except: hand back what a runner holds besides the jobs that it knows of.
--
-- If a connection breaks while a claim is being answered, the claim may stand and the runner not
-- know. It asks this after each reconnect, and now and then, while no claim of its own is under way. Claims that
-- somebody has locked are left for the next time.
--
-- p_runner  what bt_register_runner returned
-- p_ids     ids of the jobs that it knows it holds
-- returns   the ids that were handed back
-- raises    22004 null_value_not_allowed
create or replace function bt_release_except(p_runner bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim;
begin
    if p_runner is null or p_ids is null or array_position(p_ids, null) is not null then
        raise exception 'bt_release_except: runner is %, ids are %',
                coalesce(p_runner::text, 'null'), coalesce(p_ids::text, 'null')
            using errcode = 'null_value_not_allowed', hint = 'Pass the runner and the ids that it holds, an empty array if none.';
    end if;

    for v_claim in
        select * from backtick_claim where runner = p_runner and not jobs <@ p_ids order by id for update skip locked
    loop
        return query
            select bt_release(v_claim.id, array(select held from unnest(v_claim.jobs) as held where held <> all (p_ids)));
    end loop;
end;
$$;
comment on function bt_release_except is 'Hand back what a runner holds besides the given jobs; returns their ids.';
