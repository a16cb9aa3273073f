-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_let_go: take jobs out of a claim, whatever then becomes of them; the one place that checks
-- ownership.
--
-- A runner that hung may have been given up for dead and its jobs handed to another. The claim row
-- is the proof of ownership: bt_revive deletes it under the same lock, so a late runner finds none.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- p_caller  the function on whose behalf this is, for the error
-- returns   the claim, its jobs those that were let go here; null if it is not (or no longer) there
-- raises    22004 null_value_not_allowed
create or replace function bt_let_go(p_claim bigint, p_ids bigint[], p_caller text)
    returns backtick_claim
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_claim backtick_claim;
    v_left  bigint[];
    v_groups bigint[];
begin
    if p_claim is null or p_ids is null or array_position(p_ids, null) is not null then
        raise exception '%: claim is %, ids are %',
                p_caller, coalesce(p_claim::text, 'null'), coalesce(p_ids::text, 'null')
            using errcode = 'null_value_not_allowed', hint = 'Pass the claim and the ids that bt_claim returned.';
    end if;

    select * into v_claim from backtick_claim where id = p_claim for update;
    if not found then
        return null;
    end if;

    -- Joins, not `<> all`, which compares each with each.
    v_left := array(
        select held
        from unnest(v_claim.jobs) as held
        where not exists (select from unnest(p_ids) as let_go (id) where let_go.id = held)
    );
    if exists (select from backtick_setting as setting where setting.queue = v_claim.queue and setting.has_limits) then
        perform bt_wake_limited(v_claim.queue, p_ids);
    end if;
    if v_left = '{}' then
        delete from backtick_claim where id = p_claim;
        return v_claim;
    end if;
    if cardinality(v_left) < cardinality(v_claim.jobs) then
        v_groups := bt_groups_of(v_claim, v_left);
        update backtick_claim set jobs = v_left, groups = v_groups where id = p_claim;
    end if;

    v_claim.jobs := array(
        select held
        from unnest(v_claim.jobs) as held
        where exists (select from unnest(p_ids) as let_go (id) where let_go.id = held)
    );
    return v_claim;
end;
$$;
comment on function bt_let_go is 'Take jobs out of a claim; returns the claim with the jobs let go, null if it is gone.';

-- bt_groups_of: the groups of some jobs of a claim, in their order, as backtick_claim.groups has them.
create or replace function bt_groups_of(p_claim backtick_claim, p_ids bigint[])
    returns bigint[]
    language plpgsql
    immutable
    set search_path from current
as $$
begin
    if p_claim.groups is null then
        return null;
    end if;
    return array(
        select held.hash
        from unnest(p_ids) with ordinality as given (id, place)
        join unnest(p_claim.jobs, p_claim.groups) as held (id, hash) on held.id = given.id
        order by given.place
    );
end;
$$;
comment on function bt_groups_of is 'The groups of some jobs of a claim, in their order.';

-- bt_wake_limited: notify the sleeping runners of a queue if the jobs that are about to be let go kept it, or their worker,
-- at its limit: others may begin then, whom nobody else tells of it.
create or replace function bt_wake_limited(p_queue text, p_ids bigint[])
    returns void
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
begin
    if exists (
        select from backtick_runner as runner where runner.asleep_until > bt_now() and p_queue = any (runner.queues)
    ) and exists (
        select
        from backtick_limit as limits
        where limits.kind in ('queue', 'worker')
          and limits.queue = p_queue
          and limits.running <= (
              select count(*)
              from backtick_claim as claim
              cross join unnest(claim.jobs) as held (id)
              where hashtext(claim.queue) = hashtext(p_queue)
                and claim.queue = p_queue
                and (limits.kind = 'queue' or limits.name = (
                    select job.name from backtick_queue as job where job.id = held.id))
          )
          and (limits.kind = 'queue' or exists (
              select from backtick_queue as job where job.id = any (p_ids) and job.name = limits.name))
    ) then
        perform bt_wake(p_queue, bt_now());
    end if;
end;
$$;
comment on function bt_wake_limited is 'Notify sleeping runners if jobs that are about to be let go kept their queue, or worker, at its limit.';
