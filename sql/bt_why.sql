-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_why: why a job does not run, or what became of it, in one sentence.
--
-- Of several reasons the first of this list is told:
--
--   done, exceeded, canceled, expired  it has ended; expired: as canceled, since it had not begun in time
--   unknown     there is no such job, or not yet, or not any more
--   running     a runner holds it; whether it has begun there only the runner knows, unless the job told (progress)
--   lost        its runner is dead
--   stopping    somebody canceled it while it ran
--   expired     it had to begin by now
--   retry       it failed, or runners died with it, and is due again later
--   snoozed     its worker put it off
--   scheduled   it is for later
--   waiting     it comes after jobs that have not ended
--   paused      its queue, its worker or its group is
--   no_runner   no runner lives
--   no_queue    no living runner serves its queue
--   no_worker   none of those that do knows its worker
--   group       its group has its limit, or others of it come first
--   limited     its queue or its worker has its limit, or a rate holds it back
--   locked      some transaction has locked its row
--   behind      due jobs that these runners could run come before it in its queue
--   next        none does: it begins as soon as a runner has a slot for it
--
-- It reads one snapshot, and some rows by indexes: of what comes before the job, a thousand at most.
--
-- Who may not read errors is told their class alone. Who may see no jobs but his own (bt_own_jobs_only) is told of
-- others' what is told of a job that is not there.
--
-- p_id      the job
-- returns   one row: reason, a word of that list; sentence, for people; facts, for programs: id, state, queue, worker,
--           run_at, tries, and what the sentence says
-- raises    22004 null_value_not_allowed
create or replace function bt_why(p_id bigint)
    returns table (reason text, sentence text, facts jsonb)
    language plpgsql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
begin
    if p_id is null then
        raise exception 'bt_why: p_id must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the id that bt_enqueue returned.';
    end if;

    return query
        select found.reason, format('Job %s %s.', p_id, found.clause), jsonb_strip_nulls(found.facts)
        from bt_reason(p_id, bt_now(), false) as found;
end;
$$;
comment on function bt_why is 'Why a job does not run, or what became of it: a word, a sentence, and facts.';

-- bt_reason: the same, as what may stand behind "Job 17" or "job 17, which".
--
-- p_now     what time it is
-- p_is_other  of a job that another one waits for: it is not followed further
create or replace function bt_reason(
    p_id       bigint,
    p_now      timestamptz,
    p_is_other boolean,
    out reason text,
    out clause text,
    out facts  jsonb
)
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_job    backtick_queue;
    v_holder record;
    v_asked  timestamptz;
    v_last   text;
    v_other  record;
    v_after  bigint[];
begin
    select job.* into v_job
    from backtick_queue as job
    where job.id = p_id
      and bt_may_see(job.enqueued_by);
    if not found then
        select * into reason, clause, facts from bt_reason_ended(p_id, p_now);
        return;
    end if;

    facts := jsonb_build_object(
        'id', v_job.id, 'state', 'queued', 'queue', v_job.queue, 'worker', v_job.name, 'run_at', v_job.run_at, 'key', v_job.key,
        'tries', v_job.tries, 'crashes', nullif(v_job.crashes, 0), 'snoozes', nullif(v_job.snoozes, 0),
        'expires_at', v_job.expires_at, 'batch', v_job.batch) || bt_error_facts(v_job.error);
    select asked.asked_at into v_asked from backtick_cancel as asked where asked.job = p_id;

    select claim.claimed_at, claim.runner as id, holder.host, holder.pid, bt_is_living(holder, p_now) is true as is_living,
           said.share, said.job is not null as has_begun
    into v_holder
    from backtick_claim as claim
    left join backtick_runner as holder on holder.id = claim.runner
    left join backtick_progress as said on said.job = p_id and said.noted_at >= claim.claimed_at
    where hashtext(claim.queue) = hashtext(v_job.queue)
      and claim.lowest <= p_id
      and claim.highest >= p_id
      and p_id = any (claim.jobs);
    if found then
        facts := facts || jsonb_build_object(
            'state', 'running', 'tries', v_job.tries + 1, 'runner', v_holder.id, 'claimed_at', v_holder.claimed_at,
            'host', v_holder.host, 'pid', v_holder.pid, 'share', v_holder.share, 'cancel_asked_at', v_asked);
        v_last := format('runner %s', v_holder.id) || coalesce(' on ' || v_holder.host || ':' || v_holder.pid, '');
        if not v_holder.is_living then
            reason := 'lost';
            clause := format('is held by %s, which is dead; %s', v_last, case
                when exists (
                    select from backtick_runner as runner where runner.id <> v_holder.id and bt_is_living(runner, p_now))
                then 'it is free again within about a second'
                else 'it is free again when the next runner starts, for none lives now'
            end);
        elsif v_asked is not null then
            reason := 'stopping';
            clause := format('was canceled at %s while %s held it, which stops it soon', bt_moment(v_asked, p_now), v_last);
        else
            reason := 'running';
            clause := case
                when v_holder.has_begun
                then format('runs on %s since %s', v_last, bt_moment(v_holder.claimed_at, p_now))
                    || coalesce(', and is ' || round(v_holder.share * 100) || ' % done', '')
                else format('is held by %s since %s: it runs there, or is about to', v_last, bt_moment(v_holder.claimed_at, p_now))
            end;
        end if;
        return;
    end if;

    v_after := array(
        select previous.id
        from (
            select v_job.after_job as id
            union
            select waiting.waits_for from backtick_after as waiting where waiting.job = p_id
        ) as before
        join backtick_queue as previous on previous.id = before.id
        order by previous.id
    );
    if v_asked is not null then
        reason := 'stopping';
        clause := format('was canceled at %s while it ran, and ends as canceled soon', bt_moment(v_asked, p_now));
        facts := facts || jsonb_build_object('cancel_asked_at', v_asked);
    elsif v_job.expires_at <= p_now then
        reason := 'expired';
        clause := format('had to begin by %s, and ends as canceled soon', bt_moment(v_job.expires_at, p_now));
    elsif v_job.gate = 0 and v_job.run_at > p_now and v_job.due_at <= p_now then
        reason := 'limited';
        clause := format('is due, but the rate of its group %s lets it begin at %s', bt_shown(v_job.group_key), bt_moment(v_job.run_at, p_now));
        facts := facts || jsonb_build_object('group', v_job.group_key);
    elsif v_job.run_at > p_now then
        v_last := v_job.attempts -> -1 ->> 'how';
        reason := case
            when v_last = 'snoozed' then 'snoozed'
            when v_job.tries > 0 or v_job.crashes > 0 then 'retry'
            else 'scheduled'
        end;
        clause := case reason
            when 'snoozed' then format('was put off by its worker, %s so far, and ', bt_times(v_job.snoozes))
            when 'retry' then format('%s, and ', concat_ws(' and ',
                'has failed ' || bt_times(nullif(v_job.tries, 0)) || coalesce(', with ' || bt_error_text(facts), ''),
                'lost its runner ' || bt_times(nullif(v_job.crashes, 0))))
            else ''
        end || format('is due at %s', bt_moment(v_job.run_at, p_now))
            || case when v_job.expires_at <= v_job.run_at then ', and expires before' else '' end;
    elsif v_after <> '{}' then
        reason := 'waiting';
        facts := facts || jsonb_build_object('after_job', v_after[1], 'after_jobs', cardinality(v_after));
        clause := case
            when v_job.key = (select previous.key from backtick_queue as previous where previous.id = v_job.after_job)
            then format('waits behind job %s, which has the same key', v_job.after_job)
            else format('waits for job %s', v_after[1]) || case cardinality(v_after)
                when 1 then '' when 2 then ' and one more' else format(' and %s more', cardinality(v_after) - 1) end
        end;
        if not p_is_other and cardinality(v_after) = 1 then
            select * into v_other from bt_reason(v_after[1], p_now, true);
            if v_other.reason <> 'unknown' then  -- it may be another's
                clause := clause || case when clause like '%key' then ' and ' else ', which ' end || v_other.clause;
                facts := facts || jsonb_build_object('after_reason', v_other.reason);
            end if;
        end if;
    else
        select due.reason, due.clause, bt_reason.facts || due.facts
        into reason, clause, facts
        from bt_reason_due(v_job, p_now) as due;
    end if;
end;
$$;
comment on function bt_reason is 'Why a job does not run, for bt_why.';

-- bt_reason_ended: the same of a job that is not queued: how it ended, or that it is not there.
create or replace function bt_reason_ended(
    p_id  bigint,
    p_now timestamptz,
    out reason text,
    out clause text,
    out facts  jsonb
)
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_job  record;
    v_last bigint;
begin
    select job.id, job.queue, job.name, job.state, job.run_at, job.tries, job.crashes, job.error, job.runner,
           job.started_at, job.finished_at, job.expires_at
    into v_job
    from backtick_done as job
    where job.id = p_id
      and bt_may_see(job.enqueued_by);
    if not found then
        v_last := pg_sequence_last_value(pg_get_serial_sequence('backtick_queue', 'id'));
        reason := 'unknown';
        facts := jsonb_build_object('id', p_id, 'is_given', p_id between 1 and coalesce(v_last, 0));
        clause := case
            when (facts ->> 'is_given')::boolean
            then 'is not there: its transaction has not committed or was rolled back, or it has ended and was removed'
            else 'does not exist: no job has been given that id'
        end;
        return;
    end if;

    facts := jsonb_build_object(
        'id', v_job.id, 'state', v_job.state, 'queue', v_job.queue, 'worker', v_job.name, 'run_at', v_job.run_at,
        'tries', v_job.tries, 'crashes', nullif(v_job.crashes, 0), 'runner', v_job.runner, 'started_at', v_job.started_at,
        'finished_at', v_job.finished_at, 'expires_at', v_job.expires_at) || bt_error_facts(v_job.error);
    reason := case when v_job.state = 'canceled' and v_job.error ->> 'class' = 'Expired' then 'expired' else v_job.state end;
    clause := format('ended at %s as %s, because %s', bt_moment(v_job.finished_at, p_now), v_job.state, case
        when reason = 'done' then 'its worker returned' || coalesce(', on try ' || nullif(v_job.tries, 1), '')
        when reason = 'expired' then 'it had not begun in time'
        when reason = 'canceled' and v_job.error ->> 'class' = 'Cancel' then 'its worker said so: ' || bt_error_text(facts)
        when v_job.error ->> 'class' = 'DependencyFailed' then v_job.error ->> 'message'
        when reason = 'canceled' and v_job.runner is not null then 'somebody canceled it while it ran'
        when reason = 'canceled' then 'somebody canceled it before it ran'
        when v_job.error ->> 'class' = 'RunnerDied' then format('its runner died, %s in all', bt_times(v_job.crashes))
        when v_job.error ->> 'class' = 'GiveUp' then 'its worker gave up: ' || bt_error_text(facts)
        else format('try %s, its last, failed with %s', v_job.tries, coalesce(bt_error_text(facts), 'an error'))
    end);
end;
$$;
comment on function bt_reason_ended is 'How a job ended, or that it is not there, for bt_why.';

-- bt_reason_due: the same of a job that is due, and that nothing of its own holds back.
create or replace function bt_reason_due(
    p_job backtick_queue,
    p_now timestamptz,
    out reason text,
    out clause text,
    out facts  jsonb
)
    language plpgsql
    stable
    set search_path from current
as $$
declare
    c_most_before constant int := 1000;
    v_paused  record;
    v_runners record;
    v_names   text[];
    v_near    text;
    v_before  record;
    v_limit   record;
begin
    select paused.* into v_paused
    from (
        select 1 as place, 'queue ' || setting.queue as what, setting.paused_at, setting.paused_by, setting.paused_why as reason
        from backtick_setting as setting
        where setting.queue = p_job.queue
          and setting.paused_at is not null
        union all
        select 2, pause.kind || ' ' || bt_shown(pause.name), pause.paused_at, pause.paused_by, pause.reason
        from backtick_pause as pause
        where pause.queue in ('', p_job.queue)
          and (pause.kind, pause.name) in (('worker', p_job.name), ('group', p_job.group_key))
    ) as paused
    order by paused.place, paused.paused_at
    limit 1;
    if found then
        reason := 'paused';
        clause := format('is due, but its %s is paused since %s', v_paused.what, bt_moment(v_paused.paused_at, p_now))
            || coalesce(' by ' || v_paused.paused_by, '') || coalesce(': ' || v_paused.reason, '');
        facts := jsonb_build_object(
            'paused_at', v_paused.paused_at, 'paused_by', v_paused.paused_by, 'paused_why', v_paused.reason);
        return;
    end if;

    select count(*) as living,
           count(*) filter (where runner.serves) as serving,
           count(*) filter (where runner.serves and runner.knows) as able,
           count(*) filter (where runner.serves and runner.knows and runner.asleep_until is not null) as asleep,
           count(*) filter (where runner.knows and not runner.serves) as knowing
    into v_runners
    from (
        select alive.asleep_until, p_job.queue = any (alive.queues) as serves, p_job.name = any (alive.names) as knows
        from backtick_runner as alive
        where bt_is_living(alive, p_now)
    ) as runner;
    facts := jsonb_build_object('runners', v_runners.able);

    if v_runners.living = 0 then
        reason := 'no_runner';
        clause := 'is due, but no runner lives';
    elsif v_runners.serving = 0 then
        v_near := bt_nearest(p_job.queue, bt_known_queues(p_now));
        reason := 'no_queue';
        clause := format('is due, but no living runner serves its queue %s', p_job.queue)
            || coalesce('; the nearest one served is ' || v_near, '');
        facts := facts || jsonb_build_object('nearest', v_near);
    elsif v_runners.able = 0 then
        v_near := bt_nearest(p_job.name, bt_known_workers(p_job.queue, p_now));
        reason := 'no_worker';
        clause := format('is due, but no living runner that serves its queue %s knows its worker %s', p_job.queue, p_job.name)
            || case
                when v_runners.knowing > 0 then format('; %s', case v_runners.knowing
                    when 1 then '1 that does not serve it does' else v_runners.knowing || ' that do not serve it do' end)
                else coalesce('; the nearest one known is ' || v_near, '')
            end;
        facts := facts || jsonb_build_object('nearest', v_near, 'knowing', v_runners.knowing);
    elsif p_job.gate = 1 then
        reason := 'group';
        select its.running, its.rate, its.period, (
                   select array_agg(job.id)
                   from (
                       select job.id
                       from backtick_queue as job
                       where hashtext(job.queue) = hashtext(p_job.queue)
                         and job.group_key = p_job.group_key
                         and job.gate = 0
                         and job.queue || '' = p_job.queue
                       order by job.gate desc, job.priority desc, job.run_at desc, job.id + 0 desc
                       limit least(its.running, 1000)
                   ) as job
               ) || array(
                   select taken.id from bt_taken(p_job.queue, array[hashtextextended(p_job.group_key, 0)]) as taken
               ) as jobs
        into v_limit
        from bt_limit_of(p_job.queue, p_job.group_key) as its;
        facts := facts || jsonb_build_object(
            'group', p_job.group_key, 'limit', v_limit.running, 'rate', v_limit.rate, 'inside', cardinality(v_limit.jobs));
        clause := format('is due, but its group %s ', bt_shown(p_job.group_key)) || case
            when v_limit.running = 0 then 'has a limit of 0'
            when cardinality(v_limit.jobs) >= v_limit.running
            then format('has its limit of %s (%s)', v_limit.running, case
                when v_limit.running <= 3 then 'job ' || array_to_string(v_limit.jobs, ', ')
                else format('job %s and %s more', v_limit.jobs[1], cardinality(v_limit.jobs) - 1) end)
            when v_limit.rate is not null then format('has a rate of %s in %s, and waits for its turn', v_limit.rate, v_limit.period)
            else 'has others before it, or a turn to wait for'
        end;
    elsif (select limited.reason from bt_reason_limited(p_job, p_now) as limited) is not null then
        select limited.reason, limited.clause, bt_reason_due.facts || limited.facts
        into reason, clause, facts
        from bt_reason_limited(p_job, p_now) as limited;
    elsif exists (
        select from backtick_queue as job
        where job.id = p_job.id
          and job.xmax not in (0, job.xmin)
          and pg_xact_status(bt_locker(job.xmax)) = 'in progress'
    ) then
        reason := 'locked';
        clause := 'is due, but a transaction that has not ended has locked its row, to cancel it, say';
    else
        v_names := bt_known_workers(p_job.queue, p_now);
        with before as materialized (
            select * from bt_before(p_job, p_now, c_most_before + 1)
        ), held as (
            select unnest(claim.jobs) as id
            from backtick_claim as claim
            where hashtext(claim.queue) = hashtext(p_job.queue)
              and claim.lowest <= (select max(before.id) from before)
              and claim.highest >= (select min(before.id) from before)
        )
        select count(*) as n,
               count(*) filter (where before.name = any (v_names) and not before.waits) as ready,
               count(*) filter (where before.id in (select held.id from held)) as running,
               count(*) > c_most_before as is_more
        into v_before
        from before;
        v_before.n := least(v_before.n, c_most_before);
        v_before.ready := least(case when v_before.is_more then v_before.n else v_before.ready end, c_most_before);
        facts := facts || jsonb_build_object(
            'before', v_before.ready, 'before_is_more', nullif(v_before.is_more, false), 'running', v_before.running,
            'asleep', v_runners.asleep);
        reason := case when v_before.ready > 0 then 'behind' else 'next' end;
        clause := case
            when v_before.is_more
            then format('is due, but more than %s jobs are before it in its queue, of which %s or more run',
                        c_most_before, v_before.running)
            when v_before.ready > 0
            then format('is due, but %s before it in its queue, of which %s', case v_before.ready
                            when 1 then '1 job is' else format('%s jobs are', v_before.ready) end,
                        case v_before.running when 0 then 'none runs' when 1 then '1 runs' else v_before.running || ' run' end)
            when v_runners.asleep > 0
            then 'is due and next in its queue: a runner for it is idle, so it should begin within a second'
            else 'is due and next in its queue: it begins as soon as a runner has a slot for it'
        end;
    end if;
end;
$$;
comment on function bt_reason_due is 'Why a due job does not run, for bt_why.';

-- bt_reason_limited: the same of a job that a limit of its queue or worker, or a rate of its queue, holds back; else nothing.
create or replace function bt_reason_limited(
    p_job backtick_queue,
    p_now timestamptz,
    out reason text,
    out clause text,
    out facts  jsonb
)
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_limit record;
    v_at    timestamptz;
begin
    for v_limit in
        select limits.*
        from bt_limits(p_job.queue) as limits
        where limits.kind = 'queue' or limits.kind = 'worker' and limits.name = p_job.name
    loop
        if v_limit.runs >= v_limit.running then
            reason := 'limited';
            clause := format('is due, but its %s has its limit of %s, and %s run%s', v_limit.kind || ' ' || coalesce(v_limit.name, v_limit.queue),
                             v_limit.running, v_limit.runs, case v_limit.runs when 1 then 's' else '' end);
            facts := jsonb_build_object('limit', v_limit.running, 'runs', v_limit.runs);
            return;
        end if;
        v_at := case when v_limit.rate is not null then bt_may_begin(p_job.queue, '', v_limit.rate, v_limit.period, p_now) end;
        if v_at > p_now then
            reason := 'limited';
            clause := format('is due, but of its queue %s no more than %s begin in %s: one may at %s', p_job.queue, v_limit.rate,
                             v_limit.period, bt_moment(v_at, p_now));
            facts := jsonb_build_object('rate', v_limit.rate, 'may_begin_at', v_at);
            return;
        end if;
    end loop;
end;
$$;
comment on function bt_reason_limited is 'Which limit of its queue or worker holds a job back, for bt_why.';

-- bt_shown: a name in a sentence: in quotes if it is not one word.
create or replace function bt_shown(p_name text)
    returns text
    language sql
    immutable
    strict
    parallel safe
as $$ select case when p_name ~ '^[[:alnum:]_.:/-]+$' then p_name else quote_literal(p_name) end $$;
comment on function bt_shown is 'A name in a sentence: in quotes if it is not one word.';

-- bt_before: the due jobs that come before a job in its queue, the first ones first; whether each waits for another.
--
-- p_look    how many at most
create or replace function bt_before(p_job backtick_queue, p_now timestamptz, p_look int)
    returns table (id bigint, name text, waits boolean)
    language sql
    stable
    set search_path from current
as $$
    select before.id, before.name,
           (select previous.id from backtick_queue as previous where previous.id = before.after_job) is not null
    from generate_series(0, p_job.priority) with ordinality as lane (priority, place)
    cross join lateral (
        select job.id, job.name, job.after_job
        from backtick_queue as job
        where job.queue = p_job.queue
          and job.gate = 0
          and job.priority = lane.priority
          and (job.run_at, job.id + 0) < (  -- one bound: with a second one the index was read from the beginning on
              case when lane.priority = p_job.priority then p_job.run_at else p_now end,
              case when lane.priority = p_job.priority then p_job.id else 9223372036854775807 end)
        order by job.run_at, job.id + 0
        limit p_look
    ) as before
    order by lane.place
    limit p_look
$$;
comment on function bt_before is 'The due jobs that come before a job in its queue.';

-- bt_is_living: whether a runner is alive, as far as others have noticed. For whole statements: it becomes part of them.
create or replace function bt_is_living(p_runner backtick_runner, p_now timestamptz)
    returns boolean
    language sql
    stable
as $$
    select p_runner.heartbeat_at >= p_now - p_runner.lease_ms * interval '1 ms' and p_runner.unlocked_at is null
$$;
comment on function bt_is_living is 'Whether a runner is alive, as far as others have noticed.';

-- bt_known_queues: the queues that living runners serve.
create or replace function bt_known_queues(p_now timestamptz)
    returns text[]
    language sql
    stable
    set search_path from current
as $$
    select array(
        select distinct served.queue
        from backtick_runner as runner
        cross join unnest(runner.queues) as served (queue)
        where bt_is_living(runner, p_now)
        order by served.queue
    )
$$;
comment on function bt_known_queues is 'The queues that living runners serve.';

-- bt_known_workers: the workers that living runners of a queue know.
create or replace function bt_known_workers(p_queue text, p_now timestamptz)
    returns text[]
    language sql
    stable
    set search_path from current
as $$
    select array(
        select distinct known.name
        from backtick_runner as runner
        cross join unnest(runner.names) as known (name)
        where bt_is_living(runner, p_now)
          and p_queue = any (runner.queues)
        order by known.name
    )
$$;
comment on function bt_known_workers is 'The workers that living runners of a queue know.';

-- bt_error_facts: of a job's last failure its class, and for who may read errors its message.
create or replace function bt_error_facts(p_error jsonb)
    returns jsonb
    language sql
    stable
    set search_path from current
as $$
    select jsonb_build_object(
        'error_class', p_error ->> 'class',
        'error_message', case
            when has_column_privilege(bt_role(), 'backtick_job', 'error', 'select') then left(p_error ->> 'message', 500)
        end)
$$;
comment on function bt_error_facts is 'Of a failure its class, and for who may read errors its message.';

-- bt_error_text: the same in one line, of facts.
create or replace function bt_error_text(p_facts jsonb)
    returns text
    language sql
    immutable
    strict
    parallel safe
as $$
    select concat_ws(': ', p_facts ->> 'error_class', nullif(regexp_replace(left(p_facts ->> 'error_message', 200), '\s+', ' ', 'g'), ''))
    where p_facts ? 'error_class'
      and p_facts -> 'error_class' <> 'null'
$$;
comment on function bt_error_text is 'A failure in one line.';

-- bt_times: a number of times in words.
create or replace function bt_times(p_count int)
    returns text
    language sql
    immutable
    strict
    parallel safe
as $$ select case p_count when 1 then 'once' when 2 then 'twice' else format('%s times', p_count) end $$;
comment on function bt_times is 'A number of times in words.';
