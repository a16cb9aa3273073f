-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_status: how things are, on one screen, what wants attention first.
--
-- returns   an object: attention, an array of what bt_check found, error or warning, and what is paused; the database; how many runners live, what they
--           hold, and their slots; how many jobs ended in the last hour (from 10000 on as runners noted); the eight queues in which
--           jobs have been due for longest; who holds the oldest snapshot, if it is older than a minute and may be seen; how full the queue of notifications is, in
--           percent, null: it is empty
create or replace function bt_status()
    returns json
    language plpgsql
    volatile
    set search_path from current
    set timezone to 'UTC'
    set jit to off
as $$
declare
    c_most constant int := 6;
    v_now constant timestamptz := bt_now();
    v_wants json;
    v_deep json;
    v_queues json;
    v_hour json;
    v_snapshot json;
    v_runners json;
begin
    select json_agg(one order by one.oldest, one.queue) into v_deep from bt_queues() as one;
    select json_agg(few.one) into v_queues from (select one from json_array_elements(v_deep) as one limit 8) as few;
    select json_build_object(
        'living', count(*) filter (where state <> 'dead'), 'dead', nullif(count(*) filter (where state = 'dead'), 0),
        'draining', nullif(count(*) filter (where state = 'draining'), 0), 'jobs', coalesce(sum(jobs), 0),
        'slots', sum(slots)) into v_runners
    from bt_runners();
    select json_object_agg(ended.state, case
               when counted.jobs < 10000 then counted.jobs
               else greatest(counted.jobs, (
                   select sum(case ended.state when 'done' then stat.done when 'exceeded' then stat.exceeded else stat.canceled end)
                   from backtick_stat as stat
                   where stat.span in ('note', 'minute', 'hour')
                     and stat.at > v_now - interval '1 h')::bigint)
           end) into v_hour
    from unnest('{done,exceeded,canceled}'::text[]) as ended (state)
    cross join lateral (
        select count(*) as jobs
        from (
            select
            from backtick_done as job
            where job.state = ended.state
              and job.finished_at > v_now - interval '1 h'
            limit 10000
        ) as few
    ) as counted;
    select json_build_object(
        'pid', holder.pid, 'user', holder.usename, 'program', holder.application_name, 'client', holder.client_addr,
        'since', holder.xact_start) into v_snapshot
    from pg_stat_activity as holder
    where holder.backend_xmin is not null
      and holder.xact_start < clock_timestamp() - interval '1 min'
    order by age(holder.backend_xmin) desc
    limit 1;
    select json_agg(json_build_object('what', wants.what, 'sentence', wants.sentence || case
               when wants.place = c_most and wants.of > c_most then format('; and %s more', wants.of - c_most) else '' end)
               order by wants.place)
    into v_wants
    from (
        select wanted.*, row_number() over () as place, count(*) over () as of
        from (
            select finding.severity as what, finding.text as sentence from bt_check(p_deep => v_deep) as finding
            union all
            select 'paused', format('the %s is paused for %s%s', case pause.kind
                       when 'queue' then 'queue ' || pause.queue
                       else pause.kind || ' ' || pause.name || coalesce(' of queue ' || pause.queue, '')
                   end, bt_age(v_now - pause.since), coalesce(': ' || pause.reason, ''))
            from bt_pauses() as pause
        ) as wanted
    ) as wants
    where wants.place <= c_most;

    return json_build_object(
        'attention', v_wants,
        'database', format(
            '%s, PostgreSQL %s, SQL of version %s', current_database(), split_part(current_setting('server_version'), ' ', 1),
            (select max(version) from generate_series(1, 99) as version where bt_serves(version))),
        'notify_queue', nullif(round((pg_notification_queue_usage() * 100)::numeric, 1), 0), 'runners', v_runners, 'last_hour', v_hour, 'snapshot', v_snapshot, 'queues', v_queues);
end;
$$;
comment on function bt_status is 'How things are, on one screen, what wants attention first.';
