-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_put_special: queue jobs that have anything special, a key, a group, others that they wait for, a batch; for
-- bt_enqueue and bt_enqueue_many. Plain jobs never come here.
--
-- One way in for one and for many. Its steps, each a function of its own below:
--
--   1. what holds for all jobs is checked as bt_put_jobs does, and bt_check_special checks the rest; bt_unended tells
--      which of p_after have not ended, bt_join_batch holds the batch open until this transaction ends
--   2. the rows are inserted, all in one statement, in the order of their keys, with ids in the order of p_args; which
--      gate they get says bt_first_gate
--   3. of what is there now, bt_put_after stores what it waits for, bt_put_groups tells claims of the groups
--
-- p_args ... p_expires_at  as bt_put_jobs, an element of p_args a job
-- p_group         the group of these jobs; null: none
-- p_keys          the key of each job, one an element, null where one has none; null: none has
-- p_on_conflict   keep, replace, error; null: keep
-- p_successor     true: if the one with its key runs, the job waits behind it; null: false
-- p_max_wait      by replace a job is put off so long at most, counted from when it was first enqueued; null: without end
-- p_unique_for    a key counts as taken by a job that has ended, too, if it was enqueued so long ago or less
-- p_after         ids of the jobs that these wait for; null: none
-- p_after_failure if one of them is exceeded or canceled: cancel, run; null: cancel
-- p_batch         the batch that they are of; null: none
-- returns         a row for each of p_args, in order: its place, from 1; the id of the job that was made, or of the one that
--                 is there instead, null if there is none (the queue is full, and drops); whether it was made
-- raises          22004 null_value_not_allowed, 22023 invalid_parameter_value
create or replace function bt_put_special(
    p_name      text,
    p_args      text[],
    p_queue     text,
    p_run_at    timestamptz,
    p_priority  int,
    p_max_tries int,
    p_wake      boolean,
    p_tags      text[],
    p_expires_at timestamptz,
    p_group     text,
    p_keys      text[],
    p_on_conflict text,
    p_successor boolean,
    p_max_wait  interval,
    p_unique_for interval,
    p_after     bigint[],
    p_after_failure text,
    p_batch     bigint
)
    returns table (place int, id bigint, made boolean)
    language plpgsql
    volatile
    set search_path from current
as $$
#variable_conflict use_column
declare
    v_now    timestamptz := bt_now();
    v_run_at timestamptz := coalesce(p_run_at, v_now);
    v_args   json[];
    v_ids    bigint[];
    v_failed bigint;
begin
    v_args := bt_check_args(p_args);
    if p_queue is null or p_priority is null then
        select coalesce(p_queue, home.queue, 'default'), coalesce(p_priority, home.priority, 5)
        into p_queue, p_priority
        from (select) as one
        left join backtick_worker as home on home.name = p_name;
    end if;
    perform bt_check_job(p_name, '[]', p_queue, p_run_at, p_priority, p_max_tries, p_expires_at, p_tags);
    if p_after is not null or p_after_failure is not null then
        select needed.unended, needed.failed into p_after, v_failed
        from bt_unended(p_after, p_after_failure) as needed;
    end if;
    if p_batch is not null then
        perform bt_join_batch(p_batch);
    end if;

    with made as (
        insert into backtick_queue (
            queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, gate, group_key, key, batch)
        select p_queue, p_name, item.args, p_priority, v_run_at, p_max_tries, v_now, p_expires_at, nullif(p_tags, '{}'),
               bt_first_gate(p_group, p_after), p_group, p_keys[item.place], p_batch
        from unnest(v_args) with ordinality as item (args, place)
        order by item.place
        returning backtick_queue.id
    )
    select array_agg(made.id order by made.id) into v_ids from made;

    if v_ids is not null then
        perform bt_put_after(p_queue, v_ids, p_after, p_after_failure, v_failed);
        perform bt_put_group(p_queue, p_group);
        if v_run_at < bt_now() - interval '10 ms' then  -- below floors: see bt_floor
            insert into backtick_freed (queue, priority, run_at, job, freed_at)
            values (p_queue, p_priority, v_run_at, 0, v_now);
        end if;
        if p_wake then
            perform bt_wake(p_queue, v_run_at);
        end if;
    end if;

    return query
        select made.place::int, made.id, true
        from unnest(v_ids) with ordinality as made (id, place)
        order by made.place;
end;
$$;
comment on function bt_put_special is 'Queue jobs with a key, a group, others before them or a batch; for each its id, and whether it was made.';

-- bt_first_gate: the gate that new jobs stand before: see backtick_queue.gate.
--
-- p_group   their group
-- p_after   what bt_unended returned
create or replace function bt_first_gate(p_group text, p_after bigint[])
    returns smallint
    language sql
    immutable
as $$
    select (case when p_after <> '{}' then 2 when p_group is null then 0 else 1 end)::smallint
$$;
comment on function bt_first_gate is 'The gate that new jobs stand before.';

-- bt_put_group: tell claims that a group has new jobs. Called once a call that made some; p_group null: they have none.
--
-- Only adds a row, and locks nothing: a transaction of a user, however long, holds up nobody. See bt_let_in.
create or replace function bt_put_group(p_queue text, p_group text)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_group is not null then
        insert into backtick_opening (queue, group_key, noted_at) values (p_queue, p_group, bt_now());
    end if;
end;
$$;
comment on function bt_put_group is 'Tell claims that a group has new jobs.';
