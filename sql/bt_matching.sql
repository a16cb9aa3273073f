-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_matching: which jobs people mean; the one place that knows the filter which all have who act on many jobs.
--
-- Each call is planned for what it is given. Of jobs that are done only class, tag, batch, time, and a key with its queue, are
-- found by an index, since each completion would pay for more; of the other ended ones queue and worker are, too.
--
-- p_queue        the queue
-- p_name         the worker
-- p_state        queued, running, done, exceeded or canceled; ended: any of the last three; retrying: queued after a try
--                that failed or a crash, and not due yet
-- p_error_class  class of the last error, or of the reason why it was canceled: ValueError, Expired
-- p_since        those that ended then or later; of what has not ended: that were enqueued, or, if retrying, failed last
-- p_until        and before
-- p_tag          one of its tags
-- p_group        its group
-- p_key          its key
-- p_batch        the batch that it is of
-- p_text         what stands in the arguments, in small letters or large; only for who may read them
-- p_limit        how many at most, of what has ended the oldest first; null: all
-- returns        a row for each job
-- raises         22023 invalid_parameter_value
create or replace function bt_matching(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default null,
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
    returns table (id bigint, queue text)
    language plpgsql
    volatile
    set search_path from current
    set plan_cache_mode to force_custom_plan
    set jit to off
as $$
#variable_conflict use_column
declare
    v_left bigint := p_limit;
    v_some bigint;
begin
    perform bt_check_filter(p_queue, p_name, p_state, p_error_class, p_tag, p_group, p_key, p_text, p_limit);

    if p_state is null or p_state in ('queued', 'retrying', 'running') then
        return query
            select job.id, job.queue
            from backtick_queue as job
            where (p_queue is null or job.queue = p_queue)
              and (p_name is null or job.name = p_name)
              and (p_state is null or (p_state = 'running') = (job.id in (select unnest(claim.jobs) from backtick_claim as claim)))
              and (p_state is distinct from 'retrying' or (job.tries > 0 or job.crashes > 0) and job.run_at > bt_now())
              and (p_error_class is null or job.error ->> 'class' = p_error_class)
              and (p_since is null or case when p_state = 'retrying' then bt_happened_at(job) else job.created_at end >= p_since)
              and (p_until is null or case when p_state = 'retrying' then bt_happened_at(job) else job.created_at end < p_until)
              and (p_tag is null or job.tags @> array[p_tag])
              and (p_group is null or job.group_key = p_group)
              and (p_key is null or job.key = p_key)
              and (p_batch is null or job.batch = p_batch)
              and (p_text is null or strpos(lower(job.args::text), lower(p_text)) > 0)
            limit v_left;
        get diagnostics v_some = row_count;
        v_left := v_left - v_some;
    end if;
    if p_state is null or p_state not in ('queued', 'retrying', 'running') then
        return query
            select job.id, job.queue
            from backtick_done as job
            where (p_queue is null or job.queue = p_queue)
              and (p_name is null or job.name = p_name)
              and (p_state is null or p_state = 'ended' or job.state = p_state)
              and (p_error_class is null or job.error ->> 'class' = p_error_class)
              and (p_since is null or job.finished_at >= p_since)
              and (p_until is null or job.finished_at < p_until)
              and (p_tag is null or job.tags @> array[p_tag])
              and (p_group is null or job.group_key = p_group)
              and (p_key is null or job.key = p_key)
              and (p_batch is null or job.batch = p_batch)
              and (p_text is null or strpos(lower(job.args::text), lower(p_text)) > 0)
            order by case when p_limit is not null then job.finished_at end
            limit v_left;
    end if;
end;
$$;
comment on function bt_matching is 'Which jobs a filter means; null is no matter.';

-- bt_check_filter: that a filter can mean jobs; parameters as of bt_matching.
--
-- raises    22023 invalid_parameter_value; 42501 insufficient_privilege: a role that may not read arguments would look for text in them
create or replace function bt_check_filter(
    p_queue       text,
    p_name        text,
    p_state       text,
    p_error_class text,
    p_tag         text,
    p_group       text,
    p_key         text,
    p_text        text,
    p_limit       bigint
)
    returns void
    language plpgsql
    stable
    set search_path from current
as $$
begin
    if p_state not in ('queued', 'retrying', 'running', 'ended', 'done', 'exceeded', 'canceled') then
        raise exception 'there are no jobs in the state "%"', p_state
            using errcode = 'invalid_parameter_value',
                  hint = 'It must be queued, retrying, running, done, exceeded or canceled, or ended for any of the last three.';
    end if;
    if p_text is not null and not has_table_privilege(bt_role(), 'backtick_job', 'select') then
        raise exception 'permission denied for arguments: "%" may not look for text in them', bt_role()
            using errcode = 'insufficient_privilege', hint = 'An admin may.';
    end if;
    if '' in (p_queue, p_name, p_error_class, p_tag, p_group, p_key, p_text) or p_limit < 1 then
        raise exception 'a filter of jobs: %', concat_ws(', ', 'limit is ' || p_limit, (
                select string_agg(format('%s is ""', part.name), ', ')
                from unnest('{queue,worker,error_class,tag,group,key,text}'::text[],
                    array[p_queue, p_name, p_error_class, p_tag, p_group, p_key, p_text]) as part (name, value)
                where part.value = ''))
            using errcode = 'invalid_parameter_value', hint = 'Texts are not empty; null means every one. A limit is at least 1.';
    end if;
end;
$$;
comment on function bt_check_filter is 'That a filter can mean jobs.';

-- bt_count: how many jobs a filter means, before somebody acts on them; parameters as of bt_matching.
--
-- p_limit   it counts no further
-- raises    22023 invalid_parameter_value
create or replace function bt_count(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default null,
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
    language sql
    volatile
    set search_path from current
as $$
    select count(*) from bt_matching(p_queue, p_name, p_state, p_error_class, p_since, p_until, p_tag, p_group, p_key, p_batch, p_text, p_limit)
$$;
comment on function bt_count is 'How many jobs a filter means.';

-- bt_about: how many jobs a filter means, about, where to count them takes long: done ones of a queue or a worker among
-- more than 100 000. Of the history 3000 pages by chance are looked at. Parameters as of bt_matching.
--
-- p_limit   it says no more than this
-- returns   at least 1; null: bt_count is quick
create or replace function bt_about(
    p_queue       text default null,
    p_name        text default null,
    p_state       text default null,
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
    set plan_cache_mode to force_custom_plan
    set jit to off
as $$
declare
    v_share constant float8 := least(1.0, 3000 * current_setting('block_size')::float8 / greatest(pg_relation_size('backtick_done'), 1));
    v_some  bigint;
    v_held  bigint := 0;
begin
    if num_nonnulls(p_queue, p_name) = 0
        or num_nonnulls(p_error_class, p_tag, p_group, p_key, p_batch, p_text) > 0
        or p_state not in ('done', 'ended')
        or not exists (
            select
            from backtick_done as job
            where job.state = 'done'
              and job.finished_at >= coalesce(p_since, '-infinity')
              and job.finished_at < coalesce(p_until, 'infinity')
            order by job.finished_at
            offset 100000
            limit 1)
    then
        return null;
    end if;
    select count(*) into v_some
    from backtick_done as job tablesample system (100 * v_share)
    where (p_queue is null or job.queue = p_queue)
      and (p_name is null or job.name = p_name)
      and (p_state is distinct from 'done' or job.state = 'done')
      and (p_since is null or job.finished_at >= p_since)
      and (p_until is null or job.finished_at < p_until);
    if p_state is null then
        select count(*) into v_held
        from unnest('{queued,running}'::text[]) as held (state)
        cross join lateral bt_matching(p_queue, p_name, held.state, p_since => p_since, p_until => p_until, p_limit => p_limit);
    end if;
    return least(p_limit, greatest(1, round(v_some / v_share)::bigint + v_held));
end;
$$;
comment on function bt_about is 'How many jobs a filter means, about, where to count them takes long; else null.';

-- bt_happened_at: when something became of a job last that has not ended; else when it was enqueued.
create or replace function bt_happened_at(p_job backtick_queue)
    returns timestamptz
    language sql
    stable
as $$
    select coalesce((p_job.attempts -> -1 ->> 'at')::timestamptz, p_job.created_at)
$$;
comment on function bt_happened_at is 'When something became of a job last that has not ended.';

-- bt_take_ended: lock jobs that have ended, so that they are the caller's to bring back or delete; what others have locked
-- is left to them, and what has come back and ended anew is not meant.
--
-- Apart, for only the primary key may serve it, whatever statistics say: any other plan compares each with each.
--
-- p_ids    the jobs
-- p_until  when they had ended
-- returns  the ids of those that are locked now
create or replace function bt_take_ended(p_ids bigint[], p_until timestamptz)
    returns bigint[]
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select array(
        select job.id
        from backtick_done as job
        where job.id = any (p_ids)
          and job.finished_at + interval '0 s' <= p_until
        order by job.id
        for update skip locked
    )
$$;
comment on function bt_take_ended is 'Lock jobs that have ended, but for those that others have locked; returns their ids.';
