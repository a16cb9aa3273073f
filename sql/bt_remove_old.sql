-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_remove_old: delete jobs that ended long ago, oldest first, a batch a call.
--
-- What is of a batch stays until that has ended; batches go with what is kept of their jobs.
--
-- Also forgets what backtick_freed has told for long enough; what somebody else is about to forget is left to him.
-- And it sums up what runners noted: see bt_fold_stats.
--
-- p_max_completed_ms  milliseconds that done and canceled jobs are kept
-- p_max_exceeded_ms   milliseconds that exceeded jobs are kept
-- p_limit             how many to delete at most; call again while it returns as many
-- returns             how many were deleted
-- raises              22023 invalid_parameter_value
create or replace function bt_remove_old(
    p_max_completed_ms bigint default 604800000,
    p_max_exceeded_ms  bigint default 7776000000,
    p_limit            int default 1000
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now   timestamptz := bt_now();
    v_count bigint;
begin
    if p_max_completed_ms is null or p_max_completed_ms not between 0 and 3155760000000
        or p_max_exceeded_ms is null or p_max_exceeded_ms not between 0 and 3155760000000
        or p_limit is null or p_limit < 1
    then
        raise exception 'bt_remove_old: max_completed_ms %, max_exceeded_ms %, limit %',
                coalesce(p_max_completed_ms::text, 'null'), coalesce(p_max_exceeded_ms::text, 'null'), coalesce(p_limit::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Times are 0 milliseconds to a hundred years, the limit is at least 1.';
    end if;

    -- by the place where each lies, which the lock keeps: an id would have to be looked up again
    delete from backtick_done as done
    where done.ctid = any (array(
        select job.place
        from (values ('done', p_max_completed_ms), ('canceled', p_max_completed_ms), ('exceeded', p_max_exceeded_ms))
            as kept (state, ms)
        cross join lateral (
            select done.ctid as place
            from backtick_done as done
            where done.state = kept.state
              and done.finished_at < v_now - kept.ms * interval '1 ms'
              and (done.batch is null  -- one that has not ended counts them
                   or (select batch.id from backtick_batch as batch where batch.id = done.batch and batch.ended_at is null) is null)
            order by done.finished_at
            limit p_limit
            for update skip locked
        ) as job
        limit p_limit
    ));
    get diagnostics v_count = row_count;

    delete from backtick_freed as freed
    using (
        select old.id
        from backtick_freed as old
        where old.freed_at < v_now - interval '10 min'
        for update skip locked
    ) as old
    where freed.id = old.id;
    perform bt_fold_stats();

    delete from backtick_batch as batch
    using (
        select old.id
        from (values ('done', p_max_completed_ms), ('failed', greatest(p_max_completed_ms, p_max_exceeded_ms))) as kept (state, ms)
        cross join lateral (
            select ended.id
            from backtick_batch as ended
            where ended.state = kept.state
              and ended.ended_at < v_now - kept.ms * interval '1 ms'
              and (ended.parent is null  -- one that has not ended counts it
                   or (select around.id from backtick_batch as around where around.id = ended.parent and around.ended_at is null) is null)
            order by ended.ended_at
            limit p_limit
            for update skip locked
        ) as old
    ) as old
    where batch.id = old.id;
    return v_count;
end;
$$;
comment on function bt_remove_old is 'Delete a batch of jobs that ended long ago; returns how many.';
