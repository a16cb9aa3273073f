-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_schedule_recurring: fire a job every so many milliseconds, first one interval from now.
-- bt_schedule_cron: fire a job by clock and calendar.
--
-- Asking again for what is stored leaves the next fire alone, so it may be asked at every start; a
-- changed interval, spec or zone computes it anew, and never for a time that has been fired. What somebody switched off
-- (next_run_at is null, and error too) stays off if it is code that asks.
--
-- p_name         the schedule's name; asking again under it changes the schedule
-- p_worker       the worker to call
-- p_interval_ms  milliseconds; less than 1000 is raised to it, 0 removes the schedule
-- p_spec, p_tz   by the rules of CRON.md
-- p_args, p_queue, p_priority, p_max_tries  as bt_enqueue; SQL cannot seal p_args
-- p_catch_up     of fires that nobody was there for: once, all, skip; see bt_run_due
-- p_overlap      while the last job has not ended: skip (and count) the fire; queue a job that waits for it; allow both
-- p_declared     true if code asks, which will ask again: see bt_declare
-- p_expires_in   how long after it fired a job may begin; then it ends as canceled. null: whenever it will
-- p_tags         the tags of its jobs, as bt_enqueue
-- p_key          the key of its jobs: while another job of the queue has it, a fire is left out, and counted as by overlap
--                skip. With overlap queue a job waits behind one that runs. null: none
-- p_group        the group of its jobs, as bt_enqueue; null: none
-- returns        when it fires next; null if it was removed
-- raises         22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_schedule_recurring(text, text, bigint, anycompatible, text, int, int, text, text, boolean);  -- of version 3
drop function if exists bt_schedule_recurring(text, text, bigint, anycompatible, text, int, int, text, text, boolean, interval, text[]);
drop function if exists bt_schedule_recurring(text, text, bigint, anycompatible, text, int, int, text, text, boolean, interval, text[], text);
create or replace function bt_schedule_recurring(
    p_name        text,
    p_worker      text,
    p_interval_ms bigint,
    p_args        anycompatible default '[]'::text,
    p_queue       text default 'default',
    p_priority    int default 5,
    p_max_tries   int default null,
    p_catch_up    text default 'once',
    p_overlap     text default 'skip',
    p_declared    boolean default false,
    p_expires_in  interval default null,
    p_tags        text[] default null,
    p_key         text default null,
    p_group       text default null
)
    returns timestamptz
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_interval_ms is null or p_interval_ms not between 0 and 3155760000000 then
        raise exception 'bt_schedule_recurring: the interval is % ms', coalesce(p_interval_ms::text, 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'An interval is 1000 ms to a hundred years; 0 removes the schedule.';
    end if;
    return bt_put_schedule(
        p_name, p_worker, p_interval_ms, null, null, p_args::text, p_queue, p_priority, p_max_tries,
        p_catch_up, p_overlap, p_declared, p_expires_in, p_tags, p_key, p_group);
end;
$$;
comment on function bt_schedule_recurring is 'Fire a job every so many milliseconds; returns when next. 0 removes the schedule.';

drop function if exists bt_schedule_cron(text, text, text, text, anycompatible, text, int, int, text, text, boolean);  -- of version 3
drop function if exists bt_schedule_cron(text, text, text, text, anycompatible, text, int, int, text, text, boolean, interval, text[]);
drop function if exists bt_schedule_cron(text, text, text, text, anycompatible, text, int, int, text, text, boolean, interval, text[], text);
create or replace function bt_schedule_cron(
    p_name      text,
    p_worker    text,
    p_spec      text,
    p_tz        text default 'UTC',
    p_args      anycompatible default '[]'::text,
    p_queue     text default 'default',
    p_priority  int default 5,
    p_max_tries int default null,
    p_catch_up  text default 'once',
    p_overlap   text default 'skip',
    p_declared  boolean default false,
    p_expires_in interval default null,
    p_tags      text[] default null,
    p_key       text default null,
    p_group     text default null
)
    returns timestamptz
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    return bt_put_schedule(
        p_name, p_worker, null, p_spec, p_tz, p_args::text, p_queue, p_priority, p_max_tries, p_catch_up, p_overlap, p_declared,
        p_expires_in, p_tags, p_key, p_group);
end;
$$;
comment on function bt_schedule_cron is 'Fire a job by clock and calendar; returns when next.';

-- bt_put_schedule: store a schedule, for the two above; parameters as theirs. Apart for safety: see bt_put_job.
drop function if exists bt_put_schedule(text, text, bigint, text, text, text, text, int, int, text, text, boolean);  -- of version 3
drop function if exists bt_put_schedule(text, text, bigint, text, text, text, text, int, int, text, text, boolean, interval, text[]);
drop function if exists bt_put_schedule(text, text, bigint, text, text, text, text, int, int, text, text, boolean, interval, text[], text);
create or replace function bt_put_schedule(
    p_name        text,
    p_worker      text,
    p_interval_ms bigint,
    p_spec        text,
    p_tz          text,
    p_args        text,
    p_queue       text,
    p_priority    int,
    p_max_tries   int,
    p_catch_up    text,
    p_overlap     text,
    p_declared    boolean,
    p_expires_in  interval,
    p_tags        text[],
    p_key         text,
    p_group       text
)
    returns timestamptz
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_interval_ms constant bigint := case when p_interval_ms is not null then greatest(1000, p_interval_ms) end;
    v_now   timestamptz := bt_now();
    v_args  json;
    v_next  timestamptz;
    v_wrong text;
begin
    if p_interval_ms = 0 then
        perform bt_unschedule(p_name);
        return null;
    end if;
    if p_interval_ms is null
        and not exists (select from backtick_schedule where name = p_name and spec = p_spec and tz = p_tz)
    then
        v_wrong := bt_check_cron(p_spec, p_tz);
    end if;
    if v_wrong is not null then
        raise exception 'bt_schedule_cron: %', v_wrong
            using errcode = 'invalid_parameter_value', hint = 'The rules are in sql/CRON.md; bt_cron_times shows when a spec fires.';
    end if;
    begin
        v_args := p_args::json;
    exception when invalid_text_representation then
        raise exception 'bt_schedule: args are not JSON: %', left(p_args, 60)
            using errcode = 'invalid_parameter_value', hint = 'Pass text that is JSON, or json or jsonb.';
    end;
    if p_queue is null or p_priority is null then
        select coalesce(p_queue, home.queue, 'default'), coalesce(p_priority, home.priority, 5)
        into p_queue, p_priority
        from (select) as one
        left join backtick_worker as home on home.name = p_worker;
    end if;
    perform bt_check_job(
        p_worker, v_args, p_queue, null, p_priority, p_max_tries,
        case when p_expires_in is not null then bt_expiry(null, null, p_expires_in) end, p_tags);
    if char_length(p_key) not between 1 and 200 then
        raise exception 'bt_schedule: the key "%" has % characters', left(p_key, 60), char_length(p_key)
            using errcode = 'invalid_parameter_value', hint = 'A key has 1 to 200 characters.';
    end if;
    if char_length(p_group) not between 1 and 200 then
        raise exception 'bt_schedule: the group "%" has % characters', left(p_group, 60), char_length(p_group)
            using errcode = 'invalid_parameter_value', hint = 'A group has 1 to 200 characters.';
    end if;
    if p_name is null or char_length(p_name) not between 1 and 200 then
        raise exception 'bt_schedule: the schedule''s name is %', coalesce('"' || left(p_name, 60) || '"', 'null')
            using errcode = 'invalid_parameter_value', hint = 'A schedule''s name has 1 to 200 characters.';
    end if;
    if p_catch_up is null or p_catch_up not in ('once', 'all', 'skip') then
        raise exception 'bt_schedule: catch_up is %', coalesce('"' || left(p_catch_up, 60) || '"', 'null')
            using errcode = 'invalid_parameter_value', hint = 'catch_up is once, all or skip.';
    end if;
    if p_overlap is null or p_overlap not in ('skip', 'queue', 'allow') then
        raise exception 'bt_schedule: overlap is %', coalesce('"' || left(p_overlap, 60) || '"', 'null')
            using errcode = 'invalid_parameter_value', hint = 'overlap is skip, queue or allow.';
    end if;

    -- As it is stored, most likely: code asks at each start.
    select stored.next_run_at into v_next
    from backtick_schedule as stored
    where stored.name = p_name
      and stored.next_run_at is not null
      and stored.error is null
      and (stored.declared_at is not null) = p_declared
      and (stored.worker, stored.interval_ms, stored.spec, stored.tz, stored.args::text, stored.queue, stored.priority, stored.max_tries,
           stored.catch_up, stored.overlap, stored.expires_in, stored.tags, stored.key, stored.group_key)
          is not distinct from (p_worker, v_interval_ms, p_spec, p_tz, v_args::text, p_queue, p_priority::smallint, p_max_tries,
           p_catch_up, p_overlap, p_expires_in, nullif(p_tags, '{}'), p_key, p_group);
    if found then
        return v_next;
    end if;

    insert into backtick_schedule as stored (
        name, worker, interval_ms, spec, tz, args, queue, priority, max_tries, catch_up, overlap, next_run_at, declared_at,
        expires_in, tags, key, group_key)
    values (
        p_name, p_worker, v_interval_ms, p_spec, p_tz, v_args, p_queue, p_priority, p_max_tries, p_catch_up, p_overlap,
        bt_next_fire(v_interval_ms, p_spec, p_tz, v_now, v_now), case when p_declared then v_now end, p_expires_in,
        nullif(p_tags, '{}'), p_key, p_group)
    on conflict (name) do update
        set worker = excluded.worker,
            interval_ms = excluded.interval_ms,
            spec = excluded.spec,
            tz = excluded.tz,
            args = excluded.args,
            queue = excluded.queue,
            priority = excluded.priority,
            max_tries = excluded.max_tries,
            catch_up = excluded.catch_up,
            overlap = excluded.overlap,
            declared_at = excluded.declared_at,
            expires_in = excluded.expires_in,
            tags = excluded.tags,
            key = excluded.key,
            group_key = excluded.group_key,
            error = null,
            next_run_at = case
                when p_declared and stored.next_run_at is null and stored.error is null  -- somebody switched it off
                then null
                when stored.next_run_at is not null
                    and (stored.interval_ms, stored.spec, stored.tz)
                        is not distinct from (excluded.interval_ms, excluded.spec, excluded.tz)
                then stored.next_run_at
                when excluded.next_run_at > stored.last_run_at or stored.last_run_at is null
                then excluded.next_run_at
                else bt_next_fire(v_interval_ms, p_spec, p_tz, stored.last_run_at, stored.last_run_at)
            end
    returning next_run_at into v_next;

    perform bt_wake(p_queue, v_next);
    return v_next;
end;
$$;
comment on function bt_put_schedule is 'Store a schedule; returns when it fires next.';
