-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_result: what a job's worker returned.
--
-- Who may not read backtick_done sees what his own role enqueued, and no more: results may name people.
--
-- p_id      the job
-- returns   what it returned, encoded as arguments are, {"$sealed": text} if it is sealed; null if that was None, or
--           is not kept
-- raises    P0002 no_data_found if it is not there (any more), or is another role's; 55000
--           object_not_in_prerequisite_state if it has not ended, or not as done: then the detail is its error
create or replace function bt_result(p_id bigint)
    returns json
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_job record;
begin
    select * into v_job from bt_ended(array[p_id]) as ended where ended.state is not null;
    if not found then
        raise exception 'bt_result: there is no job %', coalesce(p_id::text, 'null')
            using errcode = 'no_data_found', hint = 'It was removed, its transaction has not committed, or it is another role''s.';
    end if;
    if v_job.state in ('exceeded', 'canceled') then
        raise exception 'bt_result: job % is %: %', p_id, v_job.state,
                coalesce(v_job.error ->> 'class', 'nobody said why') || coalesce(': ' || (v_job.error ->> 'message'), '')
            using errcode = 'object_not_in_prerequisite_state', detail = coalesce(v_job.error::text, '');
    end if;
    if v_job.state <> 'done' then
        raise exception 'bt_result: job % has not ended, it is %', p_id, v_job.state
            using errcode = 'object_not_in_prerequisite_state', hint = 'bt_state says when it has.';
    end if;
    return v_job.result;
end;
$$;
comment on function bt_result is 'What a job''s worker returned; an error with its failure if it did not end as done.';

-- bt_ended: what has become of some jobs, for who waits for them.
--
-- p_ids     the jobs
-- returns   a row for each: state (null: it is not there, or another role's; unended: it waits or runs), queue and
--           name, result and error if it has ended
create or replace function bt_ended(p_ids bigint[])
    returns table (id bigint, state text, queue text, name text, result json, error jsonb)
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select given.id,
           case when job.id is not null then 'unended' else ended.state end,
           coalesce(job.queue, ended.queue),
           coalesce(job.name, ended.name),
           case when job.id is null then ended.result end,
           case when job.id is null then ended.error end
    from unnest(p_ids) as given (id)
    cross join (select bt_role() as role, has_column_privilege(bt_role(), 'backtick_done', 'result', 'select') as sees_all) as caller
    left join lateral (
        select * from backtick_queue as job where job.id = given.id and (caller.sees_all or job.enqueued_by = caller.role) offset 0
    ) as job on true
    left join lateral (
        select * from backtick_done as job where job.id = given.id and (caller.sees_all or job.enqueued_by = caller.role) offset 0
    ) as ended on true
$$;
comment on function bt_ended is 'What has become of some jobs: state, unended if they wait or run, result and error.';

-- bt_wait_for: have the end of some jobs notified, in the channel backtick_result, with the job's id.
--
-- What ends while this is not committed is not notified: so ask bt_ended after that, and now and then besides.
--
-- p_ids     the jobs
-- p_ms      for how many milliseconds
-- returns   true
-- raises    22023 invalid_parameter_value
create or replace function bt_wait_for(p_ids bigint[], p_ms int)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_until timestamptz := bt_now() + p_ms * interval '1 ms';
begin
    if p_ids is null or (p_ms between 0 and 3600000) is not true then
        raise exception 'bt_wait_for: ids %, % ms', coalesce(p_ids::text, 'null'), coalesce(p_ms::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Pass ids, and milliseconds up to an hour; ask again before they are over.';
    end if;
    perform set_config('synchronous_commit', 'off', true);
    insert into backtick_waiter as waiter (job, waits_until)
    select distinct given.id, v_until
    from unnest(p_ids) as given (id)
    where exists (select from backtick_queue as job where job.id = given.id)
    order by given.id
    on conflict (job) do update set waits_until = greatest(waiter.waits_until, excluded.waits_until);
    return true;
end;
$$;
comment on function bt_wait_for is 'Have the end of some jobs notified, in the channel backtick_result.';
