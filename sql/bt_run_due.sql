-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_run_due: fire the schedules that are due; the one place that does.
--
-- In one transaction a schedule's job is enqueued and its next_run_at moved on, under a lock on its
-- row; another caller meanwhile passes it over. Fire times only grow, so none is fired twice, whoever
-- is killed when. Any number of runners may call this; one is enough.
--
-- It commits asynchronously: a fire that the server forgets in a crash was told to nobody, and is
-- due again afterwards. So call it in a transaction of its own.
--
-- What is paused fires nothing: see bt_pause.
--
-- A fire is missed if it is more than ten seconds late, or a later one is due as well. Then catch_up
-- decides: 'once' fires one job for all that were missed, for the time of the first; 'all' fires each,
-- oldest first, at most a thousand for one outage; 'skip' fires only one that is not missed.
--
-- If a schedule has a key, a fire is left out while another job has it. One that somebody is about to enqueue, in a
-- transaction that has not ended, is waited for so short a time that others fire all the same; it is due still.
--
-- A call fires so many and no more, and goes on for half a second, about; call again while it returns any: what is due
-- waits, oldest first.
--
-- p_limit   how many fires at most
-- returns   a row for each fire: the schedule, the time it was for, the job, and how many ms late;
--           job null: it was left out because the last job has not ended (overlap), or, with note,
--           the schedule was switched off for the reason given
drop function if exists bt_run_due();  -- of version 3
create or replace function bt_run_due(p_limit int default 100)
    returns table (schedule text, scheduled_for timestamptz, job bigint, late_ms bigint, note text)
    language plpgsql
    volatile
    set search_path from current
as $$
#variable_conflict use_column
declare
    c_most  constant int := 1000;
    v_now   timestamptz := bt_now();
    v_left  int := p_limit;
    v_due   backtick_schedule;
    v_time  timestamptz;
    v_next  timestamptz;
    v_last  backtick_schedule;  -- the one whose next time was asked for last, and that: many have the same
    v_then  timestamptz;
    v_job   bigint;
    v_busy  boolean;
    v_woken text[] := '{}';
    v_times timestamptz[];
    v_jobs  bigint[];
    v_fired backtick_queue;
begin
    if p_limit is null or p_limit < 1 then
        raise exception 'bt_run_due: limit is %', coalesce(p_limit::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'The limit is at least 1.';
    end if;
    perform set_config('synchronous_commit', 'off', true);

    for v_due in
        select due.*
        from backtick_schedule as due
        where due.next_run_at <= v_now
          and not exists (
              select from backtick_pause as pause where (pause.queue, pause.kind, pause.name) = ('', 'schedule', due.name))
        order by due.next_run_at
        limit p_limit
        for update skip locked
    loop
        exit when v_left <= 0 or bt_now() > v_now + interval '500 ms';
        v_times := '{}';
        v_jobs := '{}';
        begin
            v_time := v_due.next_run_at;
            if v_due.catch_up = 'skip' and v_time < v_now - interval '10 s' then
                v_time := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_time, v_now - interval '10 s');
            end if;

            loop
                exit when v_time > v_now or v_time is null;
                if (v_due.spec, v_due.tz, v_time) is distinct from (v_last.spec, v_last.tz, v_last.next_run_at) or v_due.spec is null then
                    v_then := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_time, v_time);
                    v_last := v_due;
                    v_last.next_run_at := v_time;
                end if;
                v_next := v_then;
                if v_due.catch_up <> 'skip' or v_next > v_now or v_next is null then
                    v_busy := v_due.overlap <> 'allow'
                        and exists (select from backtick_queue as last where last.id = v_due.last_job);
                    v_job := null;
                    if not v_busy or v_due.overlap <> 'skip' then
                        -- for its words; the queue has been through it, if it was ever asked
                        perform bt_check_job(v_due.worker, v_due.args, 'default', v_now, v_due.priority, v_due.max_tries);
                        v_fired := null;
                        v_fired.queue := v_due.queue;
                        v_fired.name := v_due.worker;
                        v_fired.args := v_due.args;
                        v_fired.priority := v_due.priority;
                        v_fired.run_at := v_now;
                        v_fired.max_tries := v_due.max_tries;
                        v_fired.created_at := v_now;
                        v_fired.schedule := v_due.name;
                        v_fired.scheduled_for := v_time;
                        v_fired.after_job := case when v_busy then v_due.last_job end;
                        v_fired.expires_at := v_now + v_due.expires_in;
                        v_fired.tags := v_due.tags;
                        v_fired.key := v_due.key;
                        v_fired.group_key := v_due.group_key;
                        v_job := bt_put_fire(v_fired, v_due.overlap);
                    end if;
                    if v_job is not null then
                        v_due.last_job := v_job;
                        v_due.last_late := v_now - v_time;
                    else
                        v_due.skipped := v_due.skipped + 1;
                    end if;
                    v_times := v_times || v_time;
                    v_jobs := v_jobs || v_job;
                end if;
                v_due.last_run_at := v_time;
                v_due.caught_up := v_due.caught_up + 1;
                v_time := v_next;
                exit when v_due.catch_up <> 'all' or v_due.caught_up >= c_most or cardinality(v_times) >= v_left;
            end loop;

            -- What is due still is the next call's; of others, and of more than a thousand, the rest is left out.
            if v_time <= v_now and (v_due.catch_up <> 'all' or v_due.caught_up >= c_most) then
                v_time := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_due.next_run_at, v_now);
            end if;
            if v_time > v_now or v_time is null then
                v_due.caught_up := 0;
            end if;
            update backtick_schedule as fired
            set next_run_at = v_time,
                last_run_at = v_due.last_run_at,
                last_late = v_due.last_late,
                last_job = v_due.last_job,
                skipped = v_due.skipped,
                caught_up = v_due.caught_up,
                error = case when v_time is null then 'it never fires again' end
            where fired.name = v_due.name;
            if v_due.queue <> all (v_woken) and exists (select from unnest(v_jobs) as fired (id) where fired.id is not null) then
                v_woken := v_woken || v_due.queue;
                perform bt_wake(v_due.queue, v_now);
            end if;
        exception when lock_not_available then
            if v_due.key is null then
                raise;
            end if;
            continue;
        when data_exception or integrity_constraint_violation then
            -- What is wrong with the schedule itself must not keep others from firing, nor be tried again
            -- and again. What may pass, a full disk say, is for the caller to try again.
            update backtick_schedule as failed
            set next_run_at = null,
                error = sqlerrm
            where failed.name = v_due.name;
            v_left := v_left - 1;
            return query select v_due.name, v_due.next_run_at, null::bigint, null::bigint, sqlerrm;
            continue;
        end;

        v_left := v_left - cardinality(v_times);
        return query
            select v_due.name, fired.time, fired.job, (extract(epoch from v_now - fired.time) * 1000)::bigint, null::text
            from unnest(v_times, v_jobs) as fired (time, job);
    end loop;
end;
$$;
comment on function bt_run_due is 'Fire the schedules that are due, each time once, so many a call; returns what was fired and what was left out.';

-- bt_put_fire: queue the job of a fire.
--
-- returns   its id; null: another job has its key
-- raises    55P03 lock_not_available if somebody is about to enqueue one with its key
create or replace function bt_put_fire(p_job backtick_queue, p_overlap text)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_id   bigint;
    v_made boolean;
    v_wait constant text := current_setting('lock_timeout');
begin
    p_job.gate := bt_first_gate(p_job.group_key, null);
    if p_job.key is null then
        insert into backtick_queue (
            queue, name, args, priority, run_at, max_tries, created_at, schedule, scheduled_for, after_job, expires_at, tags,
            gate, group_key)
        values (
            p_job.queue, p_job.name, p_job.args, p_job.priority, p_job.run_at, p_job.max_tries, p_job.created_at,
            p_job.schedule, p_job.scheduled_for, p_job.after_job, p_job.expires_at, p_job.tags, p_job.gate, p_job.group_key)
        returning id into v_id;
        perform bt_put_group(p_job.queue, p_job.group_key);
        return v_id;
    end if;
    p_job.after_job := null;  -- only behind the one that has the key
    perform set_config('lock_timeout', '20ms', true);
    select put.id, put.made into v_id, v_made
    from bt_put_keyed(p_job, 'keep', p_overlap = 'queue', null, null, true) as put;
    perform set_config('lock_timeout', v_wait, true);
    if not v_made then
        return null;
    end if;
    perform bt_put_group(p_job.queue, p_job.group_key);
    return v_id;
end;
$$;
comment on function bt_put_fire is 'Queue the job of a fire; returns its id, or null if another has its key.';

-- bt_until_fire: when bt_run_due is to be called.
--
-- returns   milliseconds until the next schedule fires, a day at most; null: none does; below 0: it should have
create or replace function bt_until_fire()
    returns int
    language sql
    volatile
    set search_path from current
as $$
    select greatest(-86400000, least(86400000, ceil(extract(epoch from min(schedule.next_run_at) - bt_now()) * 1000)))::int
    from backtick_schedule as schedule
    where not exists (
        select from backtick_pause as pause where (pause.queue, pause.kind, pause.name) = ('', 'schedule', schedule.name))
    having min(schedule.next_run_at) is not null
$$;
comment on function bt_until_fire is 'Milliseconds until the next schedule fires; null: none does.';

-- bt_chores: what a runner has to do beside running jobs; asked once a second, in one transaction with bt_revive.
--
-- returns   fire_ms as bt_until_fire; is_late: bt_expire may find something
create or replace function bt_chores()
    returns table (fire_ms int, is_late boolean)
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select bt_until_fire(), exists (select from backtick_queue as job where job.expires_at <= bt_now())
$$;
comment on function bt_chores is 'What a runner has to do beside running jobs.';
