-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_sleep: a runner lies down; who enqueues a job that is due before it wakes notifies it.
--
-- After this has committed the runner must claim once more, and only then wait: a job may have come
-- between its last look and now. It stays down until bt_claim finds it busy.
--
-- Its row is written rarely, for a held snapshot keeps each version, and whoever enqueues reads them: the row says
-- asleep for all of p_poll_ms, though the runner may look sooner, and what it says is let stand while half of that is
-- left. So it may be notified when it need not be. It never waits longer than its row says.
--
-- Where somebody has locked its row it stays awake for others, and looks by itself.
--
-- It commits asynchronously, for what a crash of the server makes it forget is soon said again.
--
-- p_runner   what bt_register_runner returned
-- p_poll_ms  milliseconds to sleep at most
-- returns    sleep_ms, milliseconds to sleep: less than p_poll_ms if a job of its queues is due sooner; and fire_ms:
--            see bt_until_fire
-- raises     22023 invalid_parameter_value,
--            P0002 no_data_found if the runner has been given up for dead: register anew
create or replace function bt_sleep(p_runner bigint, p_poll_ms int)
    returns table (sleep_ms int, fire_ms int)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    c_few    constant int := 20;
    v_now    timestamptz := bt_now();
    v_until  timestamptz := v_now + p_poll_ms * interval '1 ms';
    v_stands timestamptz;
begin
    if p_runner is null or p_poll_ms is null or p_poll_ms < 1 then
        raise exception 'bt_sleep: runner %, poll_ms %',
                coalesce(p_runner::text, 'null'), coalesce(p_poll_ms::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Pass a runner''s id and a positive number of milliseconds.';
    end if;

    perform set_config('synchronous_commit', 'off', true);
    select runner.asleep_until into v_stands from backtick_runner as runner where runner.id = p_runner;
    if not found then
        raise exception 'bt_sleep: there is no runner %', p_runner
            using errcode = 'no_data_found', hint = 'It has been given up for dead or signed out; register anew.';
    end if;
    if v_stands >= v_now + p_poll_ms * interval '0.5 ms' then
        v_until := least(v_until, v_stands);
    else
        update backtick_runner as runner
        set asleep_until = v_until
        from (select id from backtick_runner where id = p_runner for no key update skip locked) as free
        where runner.id = free.id;
    end if;

    select least(v_until, min(next.run_at), min(later.run_at)) into v_until
    from backtick_runner as runner
    cross join unnest(runner.queues) as served (queue)
    left join lateral (  -- of groups
        select job.run_at
        from backtick_queue as job
        where hashtext(job.queue) = hashtext(served.queue)
          and job.gate + 0 = 1
          and job.run_at > job.created_at
          and job.run_at > v_now
        order by job.run_at
        limit 1
    ) as later on true
    cross join generate_series(0, 9) as lane (priority)
    left join lateral (
        select job.run_at
        from backtick_queue as job
        where job.queue = served.queue
          and job.gate = 0
          and job.priority = lane.priority
          and job.run_at > v_now
        order by job.run_at
        limit 1
    ) as next on true
    where runner.id = p_runner
      and (cardinality(runner.queues) <= c_few
           -- Of so many most are empty. This may walk over what is dead, so it is not asked of a few.
           or (select job.queue from backtick_queue as job where job.queue = served.queue limit 1) is not null);

    if exists (select from backtick_limit as limits where limits.kind = 'queue' and limits.rate is not null) then
        select least(v_until, min(bt_may_begin(limits.queue, '', limits.rate, limits.period, v_now))) into v_until
        from backtick_runner as runner
        cross join unnest(runner.queues) as served (queue)
        join backtick_limit as limits on limits.kind = 'queue' and limits.queue = served.queue and limits.rate is not null
        where runner.id = p_runner;
    end if;

    return query select greatest(1, ceil(extract(epoch from v_until - v_now) * 1000))::int, bt_until_fire();
end;
$$;
comment on function bt_sleep is 'Mark a runner asleep; returns the milliseconds until it should look again, and until a schedule fires.';
