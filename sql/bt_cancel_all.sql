-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel_all: withdraw all queued jobs, of one queue or one worker if named; running ones go on.
--
-- Takes the jobs that are there when it starts, a thousand at a time, so that claims go on in between.
--
-- p_queue   the queue; null: every queue
-- p_name    the worker; null: every worker
-- returns   how many jobs are canceled now
-- raises    22023 invalid_parameter_value, 25000 invalid_transaction_state
create or replace function bt_cancel_all(p_queue text default null, p_name text default null)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_queue text;
    v_ids   bigint[];
    v_count bigint := 0;
begin
    if p_queue = '' or p_name = '' then
        raise exception 'bt_cancel_all: queue is "%", name is "%"', p_queue, p_name
            using errcode = 'invalid_parameter_value', hint = 'Names are never empty; null means every one.';
    end if;

    for v_queue, v_ids in
        select listed.queue, array_agg(listed.id)
        from (
            select job.queue, job.id, row_number() over (partition by job.queue order by job.id) / 1000 as batch
            from backtick_queue as job
            where (p_queue is null or job.queue = p_queue)
              and (p_name is null or job.name = p_name)
        ) as listed
        group by listed.queue, listed.batch
    loop
        v_count := v_count + bt_withdraw(v_queue, v_ids);
    end loop;
    return v_count;
end;
$$;
comment on function bt_cancel_all is 'Withdraw all queued jobs, of a queue or a worker if named; returns how many.';
