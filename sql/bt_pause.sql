-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_pause: claim nothing from a queue until bt_resume; what runs goes on, what comes is queued.
--
-- p_queue   the queue
-- returns   whether it was not paused before
-- raises    22023 invalid_parameter_value
create or replace function bt_pause(p_queue text)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if not exists (select from backtick_queue where queue = p_queue) then  -- else it is there, whatever its name
        perform bt_check_queue('bt_pause', p_queue);
    end if;

    insert into backtick_setting as setting (queue, paused_at, paused_by)
    values (p_queue, bt_now(), bt_role())
    on conflict (queue) do update
        set paused_at = excluded.paused_at,
            paused_by = excluded.paused_by
        where setting.paused_at is null;
    return found;
end;
$$;
comment on function bt_pause is 'Claim nothing from a queue until bt_resume; false if it was paused already.';

-- bt_resume: claim from a paused queue again.
--
-- p_queue   the queue
-- returns   whether it was paused
-- raises    22023 invalid_parameter_value
create or replace function bt_resume(p_queue text)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    update backtick_setting set paused_at = null, paused_by = null where queue = p_queue and paused_at is not null;
    if found then
        perform bt_wake(p_queue, bt_now());
        return true;
    end if;
    perform bt_check_queue('bt_resume', p_queue);
    return false;
end;
$$;
comment on function bt_resume is 'Claim from a paused queue again; false if it was not paused.';

-- bt_paused: which of some queues are paused, for the runner that serves them to say so.
--
-- p_queues  the queues
-- returns   each that is paused, and since when
create or replace function bt_paused(p_queues text[])
    returns table (queue text, since timestamptz)
    language sql
    stable
    set search_path from current
as $$
    select setting.queue, date_trunc('second', setting.paused_at)
    from backtick_setting as setting
    where setting.queue = any (p_queues)
      and setting.paused_at is not null
    order by setting.queue
$$;
comment on function bt_paused is 'Those of some queues that are paused, and since when.';
