-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_jobs: the jobs that a filter means, a page at a time: first those that have not ended, the newest first, then those
-- that have, the last to end first.
--
-- A page goes on where the last one ended, by key, so that each costs the same. Of jobs that are done only class, tag and
-- time are found by an index. By queue, worker, group or text alone 200 000 of them are looked at, and a notice tells, with the place
-- from which to look on.
--
-- p_queue to p_text  as of bt_matching
-- p_after   place of the last row of the page before; null: the first page
-- p_limit   how many at most
-- returns   a row for each job: at is when it is due, when it was claimed if it runs, when it ended if it has; ms how long
--           it ran; args, of which 200 characters, are null for who may not read them; place is what p_after takes
-- raises    22023 invalid_parameter_value
create or replace function bt_jobs(
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
    p_after       text default null,
    p_limit       int default 50
)
    returns table (
        id          bigint,
        state       text,
        queue       text,
        name        text,
        at          timestamptz,
        ms          bigint,
        tries       int,
        error_class text,
        args        text,
        tags        text[],
        place       text
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
    c_window  constant int := 200000;
    v_is_all  constant boolean := has_table_privilege(bt_role(), 'backtick_job', 'select');
    v_now     constant timestamptz := bt_now();
    v_at      timestamptz := nullif(split_part(p_after, '/', 2), '')::timestamptz;
    v_id      bigint := split_part(p_after, '/', 1)::bigint;
    v_left    int := p_limit;
    v_some    int;
    v_held    bigint[];
    v_state   text;
    v_bottom  timestamptz;
    v_ids     bigint[] := '{}';
    v_found   bigint[];
begin
    perform bt_check_filter(p_queue, p_name, p_state, p_error_class, p_tag, p_group, p_key, p_text, p_limit);

    if v_at is null and (p_state is null or p_state in ('queued', 'retrying', 'running')) then
        v_held := array(select unnest(claim.jobs) from backtick_claim as claim);
        return query
            select job.id,
                   case when held.claimed_at is null then 'queued' else 'running' end,
                   job.queue,
                   job.name,
                   coalesce(held.claimed_at, job.due_at, job.run_at),
                   (extract(epoch from v_now - held.claimed_at) * 1000)::bigint,
                   job.tries + (held.claimed_at is not null)::int,
                   job.error ->> 'class',
                   case when v_is_all then left(job.args::text, 200) end,
                   job.tags,
                   job.id || '/'
            from (
                select job.*
                from backtick_queue as job
                where (v_id is null or job.id < v_id)
                  and (p_queue is null or job.queue = p_queue)
                  and (p_name is null or job.name = p_name)
                  and (p_state is distinct from 'running' or job.id = any (v_held))
                  and (p_state is null or p_state = 'running' or job.id <> all (v_held))
                  and (p_state is distinct from 'retrying' or (job.tries > 0 or job.crashes > 0) and job.run_at > v_now)
                  and (p_error_class is null or job.error ->> 'class' = p_error_class)
                  and (p_since is null or case when p_state = 'retrying' then bt_happened_at(job) else job.created_at end >= p_since)
                  and (p_until is null or case when p_state = 'retrying' then bt_happened_at(job) else job.created_at end < p_until)
                  and (p_tag is null or job.tags @> array[p_tag])
                  and (p_group is null or job.group_key = p_group)
                  and (p_key is null or job.key = p_key)
                  and (p_batch is null or job.batch = p_batch)
                  and (p_text is null or strpos(lower(job.args::text), lower(p_text)) > 0)
                order by job.id desc
                limit p_limit
            ) as job
            left join lateral (
                select claim.claimed_at
                from backtick_claim as claim
                where hashtext(claim.queue) = hashtext(job.queue)
                  and claim.lowest <= job.id
                  and claim.highest >= job.id
                  and job.id = any (claim.jobs)
                limit 1
            ) as held on true
            order by job.id desc;
        get diagnostics v_some = row_count;
        v_left := v_left - v_some;
        v_id := null;
    end if;

    if v_left > 0 and (p_state is null or p_state not in ('queued', 'retrying', 'running')) then
        if num_nonnulls(p_queue, p_name, p_group, p_key, p_text) > 0 and num_nonnulls(p_error_class, p_tag, p_batch) = 0
            and (p_state is null or p_state in ('done', 'ended'))
        then
            select job.finished_at into v_bottom
            from backtick_done as job
            where job.state = 'done'
              and job.finished_at <= coalesce(v_at, 'infinity')
              and job.finished_at < coalesce(p_until, 'infinity')
            order by job.finished_at desc
            offset c_window
            limit 1;
        end if;
        foreach v_state in array case
            when p_state is null or p_state = 'ended' then '{done,exceeded,canceled}' else array[p_state]
        end loop
            v_found := array(
                select job.id
                from backtick_done as job
                where job.state = v_state
                  and (v_at is null or (job.finished_at, job.id) < (v_at, v_id))
                  and (v_bottom is null or job.finished_at >= v_bottom)
                  and (p_queue is null or job.queue = p_queue)
                  and (p_name is null or job.name = p_name)
                  and (p_error_class is null or job.error is not null and job.error ->> 'class' = p_error_class)
                  and (p_since is null or job.finished_at >= p_since)
                  and (p_until is null or job.finished_at < p_until)
                  and (p_tag is null or job.tags @> array[p_tag])
                  and (p_group is null or job.group_key = p_group)
                  and (p_key is null or job.key = p_key)
                  and (p_batch is null or job.batch = p_batch)
                  and (p_text is null or strpos(lower(job.args::text), lower(p_text)) > 0)
                order by job.finished_at desc, job.id desc
                limit v_left);
            v_ids := v_ids || v_found;
        end loop;
        return query
            select job.id,
                   job.state,
                   job.queue,
                   job.name,
                   job.finished_at,
                   (extract(epoch from job.finished_at - job.started_at) * 1000)::bigint,
                   job.tries,
                   job.error ->> 'class',
                   case when v_is_all then left(job.args::text, 200) end,
                   job.tags,
                   job.id || '/' || to_char(job.finished_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            from backtick_done as job
            where job.id = any (v_ids)
            order by job.finished_at desc, job.id desc
            limit v_left;
        get diagnostics v_some = row_count;
        if v_bottom is not null and v_some < v_left and v_bottom > coalesce(p_since, '-infinity') then
            raise notice 'what ended before % has not been looked at', v_bottom using hint = '0/' || to_char(v_bottom, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
        end if;
    end if;
end;
$$;
comment on function bt_jobs is 'The jobs that a filter means, a page at a time, the newest first.';
