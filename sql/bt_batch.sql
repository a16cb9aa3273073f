-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_batch: make a batch, jobs with a common end: when all have ended, one more job is made, the callback.
--
-- Jobs come into it with p_batch of bt_enqueue and bt_enqueue_many, until it has ended; in a batch within (p_parent) stand
-- jobs of their own, and the one around it waits for its end, and for its callback.
--
-- It ends when none of its jobs, and no batch within, is left: at the earliest when the transaction that made it has
-- committed; or, if it was made open, once bt_close_batch was called. Then on_done is queued if all jobs are done, else
-- on_failed, for the role that made the batch, with one argument, an object: batch, total, done, exceeded, canceled.
--
-- p_on_done    the worker of the callback: its name, or an object as JSON, with name and, if wanted, queue, priority and
--              max_tries; null: none
-- p_on_failed  the same, if a job was exceeded or canceled, in a batch within too
-- p_queue      the queue of the callback that names none; null: the one that runners declare for its worker, else default
-- p_priority   likewise; null: what runners declare, else 5
-- p_parent     the batch that it is of; null: none
-- p_open       true: it does not end before bt_close_batch; for who adds to it in more than one transaction
-- returns      the batch
-- raises       22004 null_value_not_allowed, 22023 invalid_parameter_value
create or replace function bt_batch(
    p_on_done   text default null,
    p_on_failed text default null,
    p_queue     text default null,
    p_priority  int default null,
    p_parent    bigint default null,
    p_open      boolean default false
)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now constant timestamptz := bt_now();
    v_id  bigint;
begin
    if p_parent is not null then
        perform bt_join_batch(p_parent);
    end if;
    insert into backtick_batch (on_done, on_failed, parent, created_at, created_by, closed_at)
    values (
        bt_callback(p_on_done, p_queue, p_priority), bt_callback(p_on_failed, p_queue, p_priority), p_parent, v_now, bt_role(),
        case when p_open is not true then v_now end)
    returning id into v_id;
    if p_open is not true then
        insert into backtick_ending (batch, noted_at) values (v_id, v_now);  -- it may stay empty
    end if;
    return v_id;
end;
$$;
comment on function bt_batch is 'Make a batch, jobs with a common end and a callback; returns it.';

-- bt_callback: a callback as it is stored; parameters as of bt_batch.
--
-- raises   22004 null_value_not_allowed, 22023 invalid_parameter_value
create or replace function bt_callback(p_callback text, p_queue text, p_priority int)
    returns jsonb
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_callback jsonb;
begin
    if p_callback is null then
        return null;
    end if;
    begin
        v_callback := jsonb_strip_nulls(jsonb_build_object('queue', p_queue, 'priority', p_priority))
            || case when left(p_callback, 1) = '{' then p_callback::jsonb else jsonb_build_object('name', p_callback) end;
        if v_callback - '{name,queue,priority,max_tries}'::text[] <> '{}' then
            raise invalid_text_representation;
        end if;
        perform bt_check_job(
            v_callback ->> 'name', '[]', coalesce(v_callback ->> 'queue', 'default'), null,
            coalesce((v_callback ->> 'priority')::int, 5), (v_callback ->> 'max_tries')::int);
    exception when invalid_text_representation or numeric_value_out_of_range then
        raise exception 'bt_batch: the callback is %', left(p_callback, 200)
            using errcode = 'invalid_parameter_value',
                  hint = 'Pass the name of a worker, or an object as JSON, of name, queue, priority and max_tries.';
    end;
    return v_callback;
end;
$$;
comment on function bt_callback is 'A callback of a batch as it is stored.';

-- bt_join_batch: hold a batch open until the transaction ends, for who adds to it.
--
-- Who adds is waited for by none, nor waits, but for who is about to end it: that takes a stronger lock, and leaves it to
-- bt_end_batches where somebody adds. What became of it is asked in a statement after the one that got the lock.
--
-- raises    22023 invalid_parameter_value if it has ended, or there is none
create or replace function bt_join_batch(p_batch bigint)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_batch record;
begin
    perform from backtick_batch as batch where batch.id = p_batch for key share;
    select batch.ended_at into v_batch
    from backtick_batch as batch
    where batch.id = p_batch
      and bt_may_see(batch.created_by);
    if not found then
        raise exception 'bt_enqueue: there is no batch %', coalesce(p_batch::text, 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'Its transaction has not committed or was rolled back, or it ended long ago and was removed.';
    end if;
    if v_batch.ended_at is not null then
        raise exception 'bt_enqueue: batch % has ended, at %', p_batch, v_batch.ended_at
            using errcode = 'invalid_parameter_value',
                  hint = 'Its jobs may add to it while they run; for others make a new one.';
    end if;
end;
$$;
comment on function bt_join_batch is 'Hold a batch open until the transaction ends, for who adds to it.';

-- bt_close_batch: let a batch end that was made open; if none of its jobs is left, it ends at once.
--
-- returns   true if it has ended; null if it is not there
-- raises    22004 null_value_not_allowed
create or replace function bt_close_batch(p_batch bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_batch is null then
        raise exception 'bt_close_batch: p_batch must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass what bt_batch returned.';
    end if;
    update backtick_batch as batch
    set closed_at = bt_now()
    where batch.id = p_batch
      and batch.closed_at is null
      and bt_may_see(batch.created_by);
    if found then
        perform bt_end_batch(p_batch, true, true);
    end if;
    return (select batch.ended_at is not null from backtick_batch as batch where batch.id = p_batch);
end;
$$;
comment on function bt_close_batch is 'Let a batch end that was made open; true if it has ended.';

-- bt_end_batch: end a batch if none of its jobs, and no batch within, is left, and queue its callback; once, by its row.
--
-- Two transactions that end the last two jobs beside each other each see the other's: neither ends the batch. So who does
-- not end it leaves a note, and never waits for a lock: bt_end_batches reads the note of the one that commits last, by
-- when both are gone.
--
-- What is left is asked anew once the lock is held, for who had added has committed by then. That takes a snapshot a
-- statement: at other isolation levels the note is all that is left.
--
-- p_note    whether to leave a note if it did not end
-- p_closes  whether the caller is who made it, at the end of that
-- returns   false if somebody has locked it, so that it must be looked at again
create or replace function bt_end_batch(p_batch bigint, p_note boolean, p_closes boolean default false)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_now    timestamptz;
    v_batch  backtick_batch;
    v_is_free boolean := current_setting('transaction_isolation') = 'read committed';
    v_count  record;
    v_call   jsonb;
    v_home   record;
begin
    select * into v_batch from backtick_batch as batch where batch.id = p_batch;
    if not found or v_batch.ended_at is not null then
        return true;
    end if;
    if v_is_free and v_batch.closed_at is not null and (p_closes or v_batch.made_by <> pg_current_xact_id())
        and not bt_has_left(p_batch)
    then
        select * into v_batch from backtick_batch as batch where batch.id = p_batch for update skip locked;
        v_is_free := found;
        if v_is_free and v_batch.ended_at is not null then
            return true;
        end if;
        if v_is_free and not bt_has_left(p_batch) then
            v_now := bt_now();
            select * into v_count from bt_progress_of(p_batch);
            v_call := case when v_count.exceeded + v_count.canceled > 0 then v_batch.on_failed else v_batch.on_done end;
            if v_call is not null then
                select coalesce(v_call ->> 'queue', home.queue, 'default') as queue,
                       coalesce((v_call ->> 'priority')::int, home.priority, 5) as priority
                into v_home
                from (select) as one
                left join backtick_worker as home on home.name = v_call ->> 'name';
                insert into backtick_queue (queue, name, args, priority, run_at, max_tries, created_at, enqueued_by, batch)
                values (
                    v_home.queue, v_call ->> 'name', json_build_array(json_build_object(
                        'batch', p_batch, 'total', v_count.done + v_count.exceeded + v_count.canceled,
                        'done', v_count.done, 'exceeded', v_count.exceeded, 'canceled', v_count.canceled)),
                    v_home.priority, v_now, (v_call ->> 'max_tries')::int, v_now, v_batch.created_by, v_batch.parent)
                returning id into v_batch.callback;
                perform bt_wake(v_home.queue, v_now);
            end if;
            update backtick_batch as batch
            set ended_at = v_now,
                state = case when v_count.exceeded + v_count.canceled > 0 then 'failed' else 'done' end,
                callback = v_batch.callback,
                done = v_count.done,
                exceeded = v_count.exceeded,
                canceled = v_count.canceled
            where batch.id = p_batch;
            if v_batch.parent is not null and v_batch.callback is null then
                perform bt_end_batch(v_batch.parent, true);
            elsif v_batch.parent is not null then
                insert into backtick_ending (batch, noted_at) values (v_batch.parent, v_now);
            end if;
            return true;
        end if;
    end if;
    if p_note then
        insert into backtick_ending (batch, noted_at) values (p_batch, bt_now());
    end if;
    return v_is_free;
end;
$$;
comment on function bt_end_batch is 'End a batch of which nothing is left, and queue its callback; false if somebody has locked it.';

-- bt_has_left: whether a batch has jobs that have not ended, or batches within; volatile, since each call must read anew.
--
-- Looks from the end: jobs end in order, about, and what a held snapshot keeps of them is at the beginning.
create or replace function bt_has_left(p_batch bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
    set plan_cache_mode to force_generic_plan
    set enable_seqscan to off
    set enable_bitmapscan to off
    set enable_sort to off
    set jit to off
as $$
begin
    perform from backtick_queue as job where job.batch = p_batch order by job.id + 0 desc limit 1;
    return found or exists (
        select from backtick_batch as part where part.parent = p_batch and (part.ended_at is null)
    );
end;
$$;
comment on function bt_has_left is 'Whether a batch has jobs, or batches within, that have not ended.';

-- bt_end_batches: end those batches of which a note was left; for bt_revive.
--
-- Of a batch that somebody has locked one note stays for the next time.
create or replace function bt_end_batches()
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    c_most  constant int := 10000;
    v_batch bigint;
    v_notes tid[];
begin
    for v_batch, v_notes in
        select note.batch, array_agg(note.ctid)
        from (
            select noted.batch, noted.ctid
            from backtick_ending as noted
            order by noted.id
            limit c_most
            for update skip locked
        ) as note
        group by note.batch
    loop
        begin
            if not bt_end_batch(v_batch, false) then
                v_notes := v_notes[2:];
            end if;
        exception when others then
            v_notes := v_notes[2:];
            raise warning 'bt_end_batches: batch % cannot be ended: %', v_batch, sqlerrm;
        end;
        delete from backtick_ending as noted where noted.ctid = any (v_notes);
    end loop;
end;
$$;
comment on function bt_end_batches is 'End those batches of which a note was left.';

-- bt_progress_of: the counts of bt_progress, for whoever asks; it reads the jobs of batches that have not ended.
create or replace function bt_progress_of(
    p_batch bigint,
    out queued   bigint,
    out running  bigint,
    out done     bigint,
    out exceeded bigint,
    out canceled bigint
)
    language sql
    volatile
    set search_path from current
    set jit to off
as $$
    with recursive part as (
        select batch.id, batch.ended_at, batch.done, batch.exceeded, batch.canceled
        from backtick_batch as batch
        where batch.id = p_batch
        union all
        select batch.id, batch.ended_at, batch.done, batch.exceeded, batch.canceled
        from part
        join backtick_batch as batch on batch.parent = part.id
        where part.ended_at is null
    ), live as materialized (
        select job.id, job.queue
        from part
        join backtick_queue as job on job.batch = part.id
        where part.ended_at is null
    ), held as (
        select live.id
        from (select unnest(claim.jobs) as id from backtick_claim as claim where exists (select from live)) as running
        join live on live.id = running.id
    ), past as (
        select job.state, count(*) as n
        from part
        join backtick_done as job on job.batch = part.id
        where part.ended_at is null
        group by job.state
        union all
        select ended.state, ended.n
        from part
        cross join lateral (
            values ('done', part.done), ('exceeded', part.exceeded), ('canceled', part.canceled)) as ended (state, n)
        where part.ended_at is not null
    )
    select (select count(*) from live) - (select count(*) from held),
           (select count(*) from held),
           coalesce(sum(past.n) filter (where past.state = 'done'), 0)::bigint,
           coalesce(sum(past.n) filter (where past.state = 'exceeded'), 0)::bigint,
           coalesce(sum(past.n) filter (where past.state = 'canceled'), 0)::bigint
    from past
$$;
comment on function bt_progress_of is 'How many jobs of a batch, and of batches within, are in each state.';

-- bt_batch_of: the batch that a job is of; null: none, or the job is not there.
create or replace function bt_batch_of(p_id bigint)
    returns bigint
    language sql
    stable
    set search_path from current
as $$
    select batch from backtick_job where id = p_id and bt_may_see(enqueued_by)
$$;
comment on function bt_batch_of is 'The batch that a job is of.';

-- bt_cancel_batch: withdraw what is queued of a batch and of batches within, and have stopped what runs.
--
-- When the last of it has ended, on_failed is queued, which is no part of it. A thousand at a time, so that claims go on in
-- between. What is added meanwhile is not canceled.
--
-- returns   how many are canceled now, or were asked for
-- raises    22004 null_value_not_allowed, 25000 invalid_transaction_state,
--           42501 insufficient_privilege if another role made the batch
create or replace function bt_cancel_batch(p_batch bigint)
    returns bigint
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
declare
    v_by    text;
    v_queue text;
    v_ids   bigint[];
    v_some  bigint;
    v_count bigint := 0;
begin
    if p_batch is null then
        raise exception 'bt_cancel_batch: p_batch must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass what bt_batch returned.';
    end if;
    select batch.created_by into v_by from backtick_batch as batch where batch.id = p_batch;
    if not found then
        return 0;
    end if;
    if v_by <> bt_role() and not has_function_privilege(bt_role(), 'bt_delete(bigint)', 'execute') then
        raise exception 'bt_cancel_batch: batch % was made by %, not by %', p_batch, v_by, bt_role()
            using errcode = 'insufficient_privilege', hint = 'A producer acts on its own batches, an admin on any.';
    end if;

    for v_queue, v_ids in
        with recursive part as (
            select p_batch as id
            union all
            select batch.id
            from part
            join backtick_batch as batch on batch.parent = part.id and (batch.ended_at is null)
        )
        select listed.queue, array_agg(listed.id)
        from (
            select job.queue, job.id, row_number() over (partition by job.queue order by job.id) / 1000 as page
            from part
            join backtick_queue as job on job.batch = part.id
        ) as listed
        group by listed.queue, listed.page
    loop
        v_count := v_count + bt_withdraw(v_queue, v_ids);
        with asked as (
            insert into backtick_cancel (job, asked_at)
            select job.id, bt_now()
            from backtick_queue as job
            where job.id = any (v_ids)
            on conflict do nothing
            returning job
        )
        select count(*) into v_some from asked;
        v_count := v_count + v_some;
    end loop;
    return v_count;
end;
$$;
comment on function bt_cancel_batch is 'Withdraw what is queued of a batch, and have stopped what runs; returns how many.';
