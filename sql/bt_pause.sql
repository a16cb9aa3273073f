-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_pause: claim nothing of a queue, a worker or a group until bt_resume; what runs goes on, what comes is queued. Or let a
-- schedule fire no more until then, whatever code declares.
--
-- p_queue     the queue; with p_worker: in this queue only, null: in all; with p_group null: default
-- p_worker    pause this worker
-- p_group     pause this group
-- p_schedule  pause this schedule
-- p_reason    why, for people, 1 to 500 characters; null: not said
-- returns     whether it was not paused before; a new reason is kept if it was
-- raises      22023 invalid_parameter_value
drop function if exists bt_pause(text);  -- of version 3, which had no more parameters
create or replace function bt_pause(
    p_queue    text default null,
    p_worker   text default null,
    p_group    text default null,
    p_schedule text default null,
    p_reason   text default null
)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_kind constant text := bt_pause_kind('bt_pause', p_queue, p_worker, p_group, p_schedule);
    v_was  boolean;
begin
    if char_length(p_reason) not between 1 and 500 then
        raise exception 'bt_pause: the reason is "%"', left(p_reason, 60)
            using errcode = 'invalid_parameter_value', hint = 'A reason has 1 to 500 characters.';
    end if;

    perform bt_tell_near(p_queue, p_worker);
    if v_kind = 'queue' then
        insert into backtick_setting as setting (queue, paused_at, paused_by, paused_why)
        values (p_queue, bt_now(), bt_role(), p_reason)
        on conflict (queue) do update
            set paused_at = excluded.paused_at,
                paused_by = excluded.paused_by,
                paused_why = excluded.paused_why
            where setting.paused_at is null;
        v_was := not found;
        if v_was and p_reason is not null then
            update backtick_setting set paused_why = p_reason where queue = p_queue;
        end if;
        return not v_was;
    end if;

    if v_kind = 'schedule' and not exists (select from backtick_schedule where name = p_schedule) then
        raise exception 'bt_pause: there is no schedule "%"', left(p_schedule, 200)
            using errcode = 'invalid_parameter_value',
                  hint = coalesce('The nearest one is ' || bt_nearest(
                      p_schedule, array(select name from backtick_schedule order by name)) || '.', 'There is none at all.');
    end if;
    insert into backtick_pause as pause (queue, kind, name, paused_at, paused_by, reason)
    values (
        case v_kind when 'group' then coalesce(p_queue, 'default') else coalesce(p_queue, '') end, v_kind,
        coalesce(p_worker, p_group, p_schedule), bt_now(), bt_role(), p_reason)
    on conflict do nothing;
    v_was := not found;
    if v_was and p_reason is not null then
        update backtick_pause
        set reason = p_reason
        where queue = case v_kind when 'group' then coalesce(p_queue, 'default') else coalesce(p_queue, '') end
          and kind = v_kind
          and name = coalesce(p_worker, p_group, p_schedule);
    end if;
    return not v_was;
end;
$$;
comment on function bt_pause is 'Claim nothing of a queue, a worker or a group, or let a schedule not fire, until bt_resume; false if it was paused already.';

-- bt_resume: claim from a paused queue, worker or group again, or let a schedule fire again.
--
-- What a schedule would have fired meanwhile is left out: next it fires for a time that is to come.
--
-- parameters  as of bt_pause
-- returns     whether it was paused
-- raises      22023 invalid_parameter_value
drop function if exists bt_resume(text);  -- of version 3
create or replace function bt_resume(
    p_queue    text default null,
    p_worker   text default null,
    p_group    text default null,
    p_schedule text default null
)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_now   timestamptz := bt_now();
    v_kind  constant text := bt_pause_kind('bt_resume', p_queue, p_worker, p_group, p_schedule);
    v_queue constant text := case v_kind when 'group' then coalesce(p_queue, 'default') else coalesce(p_queue, '') end;
begin
    if v_kind = 'queue' then
        update backtick_setting
        set paused_at = null, paused_by = null, paused_why = null
        where queue = p_queue and paused_at is not null;
        if found then
            perform bt_wake(p_queue, v_now);
            return true;
        end if;
        perform bt_check_queue('bt_resume', p_queue);
        return false;
    end if;

    delete from backtick_pause as pause
    where pause.queue = v_queue
      and pause.kind = v_kind
      and pause.name = coalesce(p_worker, p_group, p_schedule);
    if not found then
        return false;
    end if;
    if v_kind = 'schedule' then
        update backtick_schedule as schedule
        set next_run_at = bt_next_fire(schedule.interval_ms, schedule.spec, schedule.tz, schedule.next_run_at, v_now),
            caught_up = 0
        where schedule.name = p_schedule
          and schedule.next_run_at <= v_now;
        perform bt_wake(schedule.queue, v_now) from backtick_schedule as schedule where schedule.name = p_schedule;
    elsif v_kind = 'group' then
        insert into backtick_opening (queue, group_keys, noted_at) values (v_queue, array[p_group], v_now);
        perform bt_freed(array(
            select job.id
            from backtick_queue as job
            where hashtext(job.queue) = hashtext(v_queue)
              and job.group_key = p_group
              and job.gate = 0
              and job.queue || '' = v_queue));
        perform bt_wake(v_queue, v_now);
    else
        perform bt_wake(served.queue, v_now)
        from (
            select distinct served.queue
            from backtick_runner as runner
            cross join unnest(runner.queues) as served (queue)
            where v_queue in ('', served.queue)
        ) as served;
    end if;
    return true;
end;
$$;
comment on function bt_resume is 'Claim from a paused queue, worker or group again, or let a schedule fire again; false if it was not paused.';

-- bt_pause_kind: what is meant: queue, worker, group or schedule.
--
-- raises    22023 invalid_parameter_value
create or replace function bt_pause_kind(p_function text, p_queue text, p_worker text, p_group text, p_schedule text)
    returns text
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if num_nonnulls(p_queue, p_worker, p_group, p_schedule) = 0 then
        raise exception '%: given none of queue, worker, group and schedule', p_function
            using errcode = 'invalid_parameter_value',
                  hint = 'Give a queue, a worker, in a queue or in all, a group, which needs its queue, or a schedule.';
    end if;
    if num_nonnulls(p_worker, p_group, p_schedule) > 1
        or num_nonnulls(p_queue, p_schedule) = 2
        or char_length(coalesce(p_worker, p_group, p_schedule)) not between 1 and 200
    then
        raise exception '%: given %', p_function, concat_ws(', ', 'queue "' || left(p_queue, 60) || '"',
                'worker "' || left(p_worker, 60) || '"', 'group "' || left(p_group, 60) || '"',
                'schedule "' || left(p_schedule, 60) || '"')
            using errcode = 'invalid_parameter_value',
                  hint = 'Give a queue, a worker, in a queue or in all, a group in a queue, or a schedule; names have 1 to 200 characters.';
    end if;
    if p_queue is not null and not exists (select from backtick_queue where queue = p_queue)  -- else it is there, whatever its name
        and p_function = 'bt_pause'
    then
        perform bt_check_queue(p_function, p_queue);
    end if;
    return case
        when p_worker is not null then 'worker'
        when p_group is not null then 'group'
        when p_schedule is not null then 'schedule'
        else 'queue'
    end;
end;
$$;
comment on function bt_pause_kind is 'What is to be paused or resumed: queue, worker, group or schedule.';

-- bt_paused: which of some queues are paused, as a runner of version 3 asks.
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

-- bt_pauses: all that is paused, for people, and for a runner to say so.
--
-- p_queues  of these queues, and schedules; null: of all
-- returns   a row each: kind (queue, worker, group, schedule), queue (null: all), name (null: it is the queue itself), since
--           when, who paused it, and why
create or replace function bt_pauses(p_queues text[] default null)
    returns table (kind text, queue text, name text, since timestamptz, by text, reason text)
    language sql
    stable
    set search_path from current
as $$
    select all_paused.*
    from (
        select 'queue' as kind, setting.queue, null as name, date_trunc('second', setting.paused_at) as since,
               setting.paused_by, setting.paused_why
        from backtick_setting as setting
        where setting.paused_at is not null
        union all
        select pause.kind, nullif(pause.queue, ''), pause.name, date_trunc('second', pause.paused_at), pause.paused_by,
               pause.reason
        from backtick_pause as pause
    ) as all_paused
    where p_queues is null
       or all_paused.queue is null
       or all_paused.queue = any (p_queues)
    order by all_paused.kind, all_paused.queue, all_paused.name
$$;
comment on function bt_pauses is 'All that is paused: what, since when, by whom, why.';
