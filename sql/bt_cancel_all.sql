-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel_all: withdraw all queued jobs that a filter means; running ones go on.
--
-- Takes the jobs that are there when it starts, a thousand at a time, so that claims go on in between.
--
-- p_state   queued, or retrying: those that wait for another try
-- p_limit   how many at most; null: all
-- others    as of bt_matching; null: no matter
-- returns   how many jobs are canceled now
-- raises    22023 invalid_parameter_value, 25000 invalid_transaction_state
drop function if exists bt_cancel_all(text, text);  -- of version 3
create or replace function bt_cancel_all(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default 'queued',
    p_error_class text default null,
    p_since       timestamptz default null,
    p_until       timestamptz default null,
    p_tag         text default null,
    p_group       text default null,
    p_key         text default null,
    p_batch       bigint default null,
    p_text        text default null,
    p_limit       bigint default null
)
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
    if coalesce(p_state, '') not in ('queued', 'retrying') then
        raise exception 'bt_cancel_all: the state is %', coalesce(p_state, 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'What is queued can be withdrawn, or retrying, which is part of it; bt_cancel stops a running job.';
    end if;

    for v_queue, v_ids in
        select listed.queue, array_agg(listed.id)
        from (
            select job.queue, job.id, row_number() over (partition by job.queue order by job.id) / 1000 as batch
            from bt_matching(p_queue, p_name, p_state, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text, p_limit) as job
        ) as listed
        group by listed.queue, listed.batch
    loop
        v_count := v_count + bt_withdraw(v_queue, v_ids);
    end loop;
    return v_count;
end;
$$;
comment on function bt_cancel_all is 'Withdraw all queued jobs that a filter means; returns how many.';
