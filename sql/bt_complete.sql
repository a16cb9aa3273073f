-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_complete: end jobs of a claim as done.
--
-- p_claim    the claim that bt_claim returned
-- p_ids      ids of jobs of that claim
-- p_results  what their workers returned, one a job, 16 MB at most each; null, or a null in it: nothing to keep
-- returns    the ids that this call ended; an id that the claim does not hold is not among them
-- raises     22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_complete(bigint, bigint[]);  -- of version 3
create or replace function bt_complete(p_claim bigint, p_ids bigint[], p_results json[] default null)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim   backtick_claim := bt_let_go(p_claim, p_ids, 'bt_complete');
    v_results jsonb;
begin
    if p_results is not null then
        if cardinality(p_results) <> cardinality(p_ids) or exists (
            select from unnest(p_results) as result (text) where octet_length(result.text::text) > 16777216
        ) then
            raise exception 'bt_complete: % ids, % results, of % bytes', cardinality(p_ids), cardinality(p_results),
                    (select max(octet_length(result.text::text)) from unnest(p_results) as result (text))
                using errcode = 'invalid_parameter_value',
                      hint = 'Pass one result for each id, of 16777216 bytes at most, or none at all.';
        end if;
        v_results := jsonb_object(p_ids::text[], p_results::text[]);
    end if;
    return query select unnest(bt_end(v_claim.jobs, 'done', 1, v_claim.runner, v_claim.claimed_at, null, 0, v_results));
end;
$$;
comment on function bt_complete is 'End jobs of a claim as done; returns the ids that it ended.';
