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
-- A fire is missed if it is more than ten seconds late, or a later one is due as well. Then catch_up
-- decides: 'once' fires one job for all that were missed, for the time of the first; 'all' fires each,
-- oldest first, at most a thousand at a go and a thousand for one outage; 'skip' fires only one that
-- is not missed.
--
-- returns   a row for each fire: the schedule, the time it was for, the job, and how many ms late;
--           job null: it was left out because the last job has not ended (overlap), or, with note,
--           the schedule was switched off for the reason given
create or replace function bt_run_due()
    returns table (schedule text, scheduled_for timestamptz, job bigint, late_ms bigint, note text)
    language plpgsql
    volatile
    set search_path from current
as $$
#variable_conflict use_column
declare
    c_most constant int := 1000;
    v_now  timestamptz := bt_now();
    v_due  backtick_schedule;
    v_time timestamptz;
    v_next timestamptz;
    v_job  bigint;
    v_busy boolean;
begin
    perform set_config('synchronous_commit', 'off', true);

    for v_due in
        select due.*
        from backtick_schedule as due
        where due.next_run_at <= v_now
        order by due.next_run_at
        for update skip locked
    loop
        begin
            v_time := v_due.next_run_at;
            if v_due.catch_up = 'skip' and v_time < v_now - interval '10 s' then
                v_time := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_time, v_now - interval '10 s');
            end if;

            for v_count in 1 .. c_most loop
                exit when v_time > v_now or v_time is null;
                v_next := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_time, v_time);
                if v_due.catch_up <> 'skip' or v_next > v_now or v_next is null then
                    v_busy := v_due.overlap <> 'allow'
                        and exists (select from backtick_queue as last where last.id = v_due.last_job);
                    v_job := null;
                    if v_busy and v_due.overlap = 'skip' then
                        v_due.skipped := v_due.skipped + 1;
                    else
                        insert into backtick_queue as fired (
                            queue, name, args, priority, run_at, max_tries, created_at, schedule, scheduled_for, after_job)
                        values (
                            v_due.queue, v_due.worker, v_due.args, v_due.priority, v_now, v_due.max_tries, v_now, v_due.name,
                            v_time, case when v_busy then v_due.last_job end)
                        returning fired.id into v_job;
                        perform bt_wake(v_due.queue, v_now);
                        v_due.last_job := v_job;
                        v_due.last_late := v_now - v_time;
                    end if;
                    return query
                        select v_due.name, v_time, v_job, (extract(epoch from v_now - v_time) * 1000)::bigint, null::text;
                end if;
                v_due.last_run_at := v_time;
                exit when v_due.catch_up = 'once';
                v_time := v_next;
            end loop;

            v_next := bt_next_fire(v_due.interval_ms, v_due.spec, v_due.tz, v_due.next_run_at, v_now);
            update backtick_schedule as fired
            set next_run_at = v_next,
                last_run_at = v_due.last_run_at,
                last_late = v_due.last_late,
                last_job = v_due.last_job,
                skipped = v_due.skipped,
                error = case when v_next is null then 'it never fires again' end
            where fired.name = v_due.name;
        exception when data_exception or integrity_constraint_violation then
            -- What is wrong with the schedule itself must not keep others from firing, nor be tried again
            -- and again. What may pass, a full disk say, is for the caller to try again.
            update backtick_schedule as failed
            set next_run_at = null,
                error = sqlerrm
            where failed.name = v_due.name;
            return query select v_due.name, v_due.next_run_at, null::bigint, null::bigint, sqlerrm;
        end;
    end loop;
end;
$$;
comment on function bt_run_due is 'Fire the schedules that are due, each time once; returns what was fired and what was left out.';
