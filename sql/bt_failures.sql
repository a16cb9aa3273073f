-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_failures: what failed or was canceled, by worker and class of the error, what happens most first.
--
-- It looks at 10 000 jobs at most, those that ended last; where these are not all, a notice tells.
--
-- p_queue, p_name  of this queue, this worker; null: no matter
-- p_since   since when; null: the last day
-- returns   a row for each: how many jobs, when the first and the last ended, the id of that one, and its message for who
--           may read it; past: how many in each of 24 parts of the time that was looked at, the oldest first
create or replace function bt_failures(
    p_queue text default null,
    p_name  text default null,
    p_since timestamptz default null
)
    returns table (
        name        text,
        error_class text,
        jobs        bigint,
        first_at    timestamptz,
        last_at     timestamptz,
        last_id     bigint,
        message     text,
        past        bigint[]
    )
    language plpgsql
    volatile
    set search_path from current
    set plan_cache_mode to force_custom_plan
    set timezone to 'UTC'
    set jit to off
as $$
#variable_conflict use_column
declare
    c_most   constant int := 10000;
    v_is_all constant boolean := has_table_privilege(bt_role(), 'backtick_job', 'select');
    v_since  timestamptz := coalesce(p_since, bt_now() - interval '1 day');
    v_state  text;
    v_bottom timestamptz;
begin
    foreach v_state in array '{exceeded,canceled}'::text[] loop
        select job.finished_at into v_bottom
        from backtick_done as job
        where job.state = v_state
          and job.finished_at > v_since
        order by job.finished_at desc
        offset c_most / 2
        limit 1;
        v_since := coalesce(v_bottom, v_since);
    end loop;
    if v_since > coalesce(p_since, bt_now() - interval '1 day') then
        raise notice 'of so many failures only those since % are counted', v_since;
    end if;

    return query
        select failed.name,
               failed.class,
               failed.jobs,
               failed.first_at,
               failed.last_at,
               failed.last_id,
               case when v_is_all then left(last.error ->> 'message', 500) end,
               array(
                   select count(*) filter (where place = step)
                   from generate_series(1, 24) as step
                   cross join unnest(failed.places) as place
                   group by step
                   order by step)
        from (
            select job.name,
                   job.error ->> 'class' as class,
                   count(*) as jobs,
                   min(job.finished_at) as first_at,
                   max(job.finished_at) as last_at,
                   (array_agg(job.id order by job.finished_at desc))[1] as last_id,
                   array_agg(width_bucket(
                       extract(epoch from job.finished_at), extract(epoch from v_since), extract(epoch from bt_now()) + 1, 24)) as places
            from backtick_done as job
            where job.state in ('exceeded', 'canceled')
              and job.finished_at >= v_since
              and (p_queue is null or job.queue = p_queue)
              and (p_name is null or job.name = p_name)
            group by job.name, job.error ->> 'class'
        ) as failed
        join backtick_done as last on last.id = failed.last_id
        order by failed.jobs desc, failed.last_at desc;
end;
$$;
comment on function bt_failures is 'What failed or was canceled, by worker and class of the error.';
