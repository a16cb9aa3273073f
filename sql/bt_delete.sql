-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_delete: delete a job that has ended, and all that is kept of it: arguments, result, errors, what it said of itself.
--
-- For personal data. What has not ended is canceled first (bt_cancel). Backups and logs of the server have it still.
--
-- p_id      the job
-- returns   true if it is gone now; false if it has not ended, or is not there
-- raises    22004 null_value_not_allowed
create or replace function bt_delete(p_id bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_id is null then
        raise exception 'bt_delete: p_id must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the id that bt_enqueue returned.';
    end if;
    return bt_forget(array[p_id]) = 1;
end;
$$;
comment on function bt_delete is 'Delete a job that has ended, with all that is kept of it; false if it has not, or is not there.';

-- bt_delete_all: the same for all ended jobs that a filter means, a batch a call; call again while it returns some.
--
-- p_state   done, exceeded, canceled, or ended: any of these
-- p_limit   how many at most
-- others    as of bt_matching
-- returns   how many are gone now; what somebody has locked is left
-- raises    22004 null_value_not_allowed if the filter means all jobs, 22023 invalid_parameter_value
create or replace function bt_delete_all(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default 'ended',
    p_error_class text default null,
    p_since       timestamptz default null,
    p_until       timestamptz default null,
    p_tag         text default null,
    p_group       text default null,
    p_key         text default null,
    p_batch       bigint default null,
    p_text        text default null,
    p_limit       bigint default 1000
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now timestamptz := bt_now();
    v_ids bigint[];
begin
    if coalesce(p_state, '') not in ('done', 'exceeded', 'canceled', 'ended') then
        raise exception 'bt_delete_all: the state is %', coalesce(p_state, 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'Jobs are deleted that are done, exceeded or canceled, or ended: any of these.';
    end if;
    if p_state = 'ended' and num_nonnulls(p_queue, p_name, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text) = 0 then
        raise exception 'bt_delete_all: no filter is given'
            using errcode = 'null_value_not_allowed', hint = 'Say which jobs, by p_name or p_tag, say, or by p_state => ''done''.';
    end if;

    v_ids := array(
        select job.id from bt_matching(p_queue, p_name, p_state, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text, p_limit) as job);
    return bt_forget(bt_take_ended(v_ids, v_now));
end;
$$;
comment on function bt_delete_all is 'Delete a batch of the ended jobs that a filter means; returns how many.';

-- bt_forget: delete jobs that have ended from all tables; the one place that knows where something is kept of them.
--
-- p_ids     the jobs
-- returns   how many had ended
create or replace function bt_forget(p_ids bigint[])
    returns bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_ids bigint[];
begin
    with gone as (
        delete from backtick_done as job where job.id = any (p_ids) returning job.id
    )
    select array_agg(gone.id) into v_ids from gone;
    delete from backtick_progress where job = any (v_ids);
    delete from backtick_waiter where job = any (v_ids);
    delete from backtick_cancel where job = any (v_ids);
    return coalesce(cardinality(v_ids), 0);
end;
$$;
comment on function bt_forget is 'Delete jobs that have ended from all tables; returns how many.';
