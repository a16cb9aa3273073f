-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_locked: which jobs of a claim cannot be reported now, because somebody else has locked their rows or the claim's.
--
-- A runner whose report had to wait too long asks this, keeps those back, and reports the others. Waits for nothing.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- returns   those of them that are locked
create or replace function bt_locked(p_claim bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_free bigint[];
begin
    perform from backtick_claim where id = p_claim for update skip locked;
    if not found and exists (select from backtick_claim where id = p_claim) then
        return query select unnest(p_ids);
        return;
    end if;

    v_free := array(select job.id from backtick_queue as job where job.id = any (p_ids) for update skip locked);
    return query
        select job.id from backtick_queue as job where job.id = any (p_ids)
        except
        select unnest(v_free);
end;
$$;
comment on function bt_locked is 'Which jobs of a claim cannot be reported now, because somebody else has locked them.';
