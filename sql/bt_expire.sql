-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_expire: end jobs as canceled that have not begun in time; no try of theirs begins after expires_at.
--
-- Claims pass them over. Runners call this once a second; what is locked, or whose queue has claims under way for long, is
-- left for the next time.
--
-- p_limit   how many at most
-- returns   a row for each: id, name
-- raises    22023 invalid_parameter_value
create or replace function bt_expire(p_limit int default 1000)
    returns table (id bigint, name text)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now    timestamptz := bt_now();
    v_queue  text;
    v_ids    bigint[];
    v_names  text[];
    v_errors jsonb[];
begin
    if p_limit is null or p_limit < 1 then
        raise exception 'bt_expire: limit is %', coalesce(p_limit::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'The limit is at least 1.';
    end if;
    if not exists (select from backtick_queue as job where job.expires_at <= v_now) then
        return;
    end if;

    for v_queue, v_ids in
        select late.queue, array_agg(late.id)
        from (
            select job.queue, job.id
            from backtick_queue as job
            where job.expires_at <= v_now
              and job.id not in (select unnest(claim.jobs) from backtick_claim as claim)
              and job.id not in (select asked.job from backtick_cancel as asked)  -- bt_withdraw_asked ends these
            order by job.expires_at
            limit p_limit
        ) as late
        group by late.queue
    loop
        begin
            v_ids := bt_take_free(v_queue, v_ids, 200);
            select array_agg(job.id), array_agg(job.name),
                   array_agg(bt_expired_error(job.expires_at))
            into v_ids, v_names, v_errors
            from backtick_queue as job
            where job.id = any (v_ids)
              and job.expires_at <= v_now;
            return query
                select ended.id, v_names[array_position(v_ids, ended.id)]
                from unnest(bt_end(v_ids, 'canceled', 0, null, null, v_errors)) as ended (id);
        exception when others then
            raise warning 'bt_expire: jobs of % that have expired cannot be ended: %', v_queue, sqlerrm;
        end;
    end loop;
end;
$$;
comment on function bt_expire is 'End jobs as canceled that have not begun in time; returns which.';
