-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_job_of: everything there is to know of a job, and how it came about: its timeline from enqueue to end, oldest first.
--
-- Who may not read all of backtick_job gets it without arguments, headers, result, note and the texts of errors. Times are in UTC.
--
-- p_id      the job
-- p_cut     arguments and result as text, so many characters of each, and how many they have (args_length, result_length);
--           null: as they are
-- returns   an object: what backtick_job shows, why (bt_why) and timeline, an array of objects: at, what (enqueued, due, claimed, said,
--           cancel asked, failed, crashed, snoozed, retried, done, exceeded, canceled), and what is known of it; null if
--           the job is not there
create or replace function bt_job_of(p_id bigint, p_cut int default null)
    returns json
    language plpgsql
    stable
    set search_path from current
    set timezone to 'UTC'
as $$
declare
    v_is_all constant boolean := has_table_privilege(bt_role(), 'backtick_job', 'select');
    v_job   backtick_job;
    v_host  text;
    v_error jsonb;
    v_line  json;
begin
    select * into v_job from backtick_job where id = p_id;
    if not found then
        return null;
    end if;
    select runner.host into v_host from backtick_runner as runner where runner.id = v_job.runner;
    if not v_is_all and v_job.error is not null then
        v_job.error := jsonb_build_object('class', v_job.error -> 'class');
    end if;
    v_error := v_job.error - 'traceback';

    select json_agg(jsonb_strip_nulls(happened.facts) order by happened.at, happened.place) into v_line
    from (
        select v_job.created_at, 1, jsonb_build_object(
            'at', v_job.created_at, 'what', 'enqueued', 'by', v_job.enqueued_by, 'schedule', v_job.schedule,
            'scheduled_for', v_job.scheduled_for)
        union all
        select (past.entry ->> 'at')::timestamptz, 1 + past.place,
               past.entry - 'how' - case when v_is_all then '{}' else '{message,traceback}'::text[] end
                   || jsonb_build_object('what', past.entry -> 'how')
        from jsonb_array_elements(v_job.attempts) with ordinality as past (entry, place)
        union all
        select v_job.started_at, 100, jsonb_build_object(
            'at', v_job.started_at, 'what', 'claimed', 'try', v_job.tries, 'runner', v_job.runner, 'host', v_host)
        where v_job.started_at is not null
        union all
        select said.noted_at, 101, jsonb_build_object(
            'at', said.noted_at, 'what', 'said', 'share', said.share, 'note', case when v_is_all then said.note end)
        from backtick_progress as said
        where said.job = p_id
          and v_job.state = 'running'
        union all
        select v_job.cancel_asked_at, 102, jsonb_build_object('at', v_job.cancel_asked_at, 'what', 'cancel asked')
        where v_job.cancel_asked_at is not null
        union all
        select v_job.finished_at, 103, jsonb_build_object('at', v_job.finished_at, 'what', v_job.state, 'runner', v_job.runner)
                   || case when v_job.state = 'done' or v_error is null then '{}' else v_error end
        where v_job.finished_at is not null
        union all
        select v_job.run_at, 104, jsonb_build_object('at', v_job.run_at, 'what', 'due')
        where v_job.state = 'queued'
    ) as happened (at, place, facts);

    return json_build_object(
        'id', v_job.id, 'state', v_job.state, 'why', (select told.sentence from bt_why(p_id) as told), 'queue', v_job.queue, 'name', v_job.name, 'priority', v_job.priority,
        'tags', v_job.tags, 'args', case when v_is_all then bt_cut(v_job.args, p_cut) end,
        'result', case when v_is_all then bt_cut(v_job.result, p_cut) end,
        'args_length', case when v_is_all and p_cut is not null then char_length(v_job.args::text) end,
        'result_length', case when v_is_all and p_cut is not null then char_length(v_job.result::text) end,
        'error', v_job.error,
        'key', v_job.key, 'group_key', v_job.group_key, 'batch', v_job.batch,
        'tries', v_job.tries, 'max_tries', v_job.max_tries, 'crashes', v_job.crashes, 'snoozes', v_job.snoozes,
        'run_at', v_job.run_at, 'expires_at', v_job.expires_at, 'created_at', v_job.created_at,
        'started_at', v_job.started_at, 'finished_at', v_job.finished_at, 'enqueued_by', v_job.enqueued_by,
        'headers', case when v_is_all then v_job.headers end,
        'schedule', v_job.schedule, 'scheduled_for', v_job.scheduled_for, 'runner', v_job.runner, 'host', v_host,
        'progress', v_job.progress, 'note', case when v_is_all then v_job.note end, 'cancel_asked_at', v_job.cancel_asked_at,
        'waits_for', (
            select array_agg(few.waits_for)
            from (select after.waits_for from backtick_after as after where after.job = p_id order by 1 limit 100) as few),
        'awaited_by', (
            select array_agg(few.job)
            from (select after.job from backtick_after as after where after.waits_for = p_id order by 1 limit 100) as few),
        'timeline', v_line);
end;
$$;
comment on function bt_job_of is 'Everything there is to know of a job, with its timeline from enqueue to end; null if it is not there.';

-- bt_cut: JSON as it is; or the first characters of its text.
create or replace function bt_cut(p_value json, p_cut int)
    returns json
    language sql
    immutable
    parallel safe
as $$ select case when p_cut is null then p_value else to_json(left(p_value::text, p_cut)) end $$;
comment on function bt_cut is 'JSON as it is, or the first characters of its text.';
