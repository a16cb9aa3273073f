-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_put_special: queue jobs that have anything special, a key, a group, others that they wait for, a batch; for
-- bt_enqueue, bt_enqueue_many and backtick.py. Plain jobs never come here, but for those of a queue that has a max_depth.
--
-- One way in for one and for many. Its steps, most of them a function of its own below:
--
--   1. everything is checked, as bt_put_jobs does, and by bt_check_special; bt_unended tells which of p_after have not
--      ended, bt_join_batch holds the batch open until the transaction ends
--   2. how many fit says bt_depth_left
--   3. rows are inserted: without keys, all at once; with keys one job as said below, many first all at once, in the order of
--      their keys, lest two such calls wait for each other, and what then is left one by one
--   4. bt_put_after stores what the new ones wait for, bt_put_group tells claims of the group, bt_wake tells runners
--
-- Keys. That two jobs cannot have one key rests on the unique index backtick_queue_keys alone: an insert waits there for
-- whoever is about to insert the same one, and goes on if he rolls back. No lock is held that another key's job could
-- want, and no row of a job that runs is written, so nobody's completion waits for a user's transaction.
--
-- The index has two places a key (is_second), since a job may wait behind one that runs (after_job). Who waits has the
-- place that the other one has not, whichever that is: it cannot be changed later. So who inserts in one place must
-- also know of the other, where a successor may stand that has not committed, while the job that it is to wait for has
-- ended. Hence one who inserts a successor first takes a lock on the key, until his transaction ends, and then looks which job
-- runs; and who has inserted anything else takes that lock, shared and for a moment, and then looks what there is: whom
-- he would not see then has looked later, and has seen him, or waits for him at the index. What should not have been
-- inserted is taken back.
--
-- The job that is there may begin before the caller's transaction has committed, and not see what that changed. Not so
-- with replace or a successor: then a job that waits is locked until the caller's transaction ends, and begins afterwards.
--
-- p_args ... p_expires_at  as bt_put_jobs, an element of p_args a job
-- p_group         the group of these jobs; null: none
-- p_keys          the key of each job, one an element, null where one has none; null: none has
-- p_on_conflict   if a job that has not ended has the key:
--                   keep     it stays as it is (null means this, too)
--                   replace  if it waits, it becomes what is given here, with no try used; key, created_at, batch and what
--                            it waits for stay. If it runs, it stays as it is
--                   error    23505 unique_violation
-- p_successor     true: if that one runs, and none waits behind it yet, this one does; null: false
-- p_max_wait      by replace a job is put off so long at most, counted from created_at; null: without end
-- p_unique_for    a job that has ended has its key still, if it was enqueued so long ago or less, and not canceled
-- p_after         ids of the jobs that these wait for; null: none
-- p_after_failure if one of them is exceeded or canceled: cancel, run; null: cancel
-- p_batch         the batch that they are of; null: none
-- p_expires_in, p_headers  as bt_enqueue
-- returns         a row for each of p_args, in order: its place, from 1; the id of the job that was made, or of the one that
--                 has its key; null if there is none, for the queue is full and drops the rest; whether it was made. Of
--                 several with one key the first is made, by replace the last
-- raises          22004 null_value_not_allowed, 22023 invalid_parameter_value, 23505 unique_violation,
--                 25000 invalid_transaction_state if there are keys and what others commit is not seen,
--                 42501 insufficient_privilege if the job to be replaced is another role's: see bt_may_touch,
--                 53400 configuration_limit_exceeded if the queue is full
create or replace function bt_put_special(
    p_name      text,
    p_args      text[],
    p_queue     text default 'default',
    p_run_at    timestamptz default null,
    p_priority  int default 5,
    p_max_tries int default null,
    p_wake      boolean default true,
    p_tags      text[] default null,
    p_expires_at timestamptz default null,
    p_group     text default null,
    p_keys      text[] default null,
    p_on_conflict text default null,
    p_successor boolean default null,
    p_max_wait  interval default null,
    p_unique_for interval default null,
    p_after     bigint[] default null,
    p_after_failure text default null,
    p_batch     bigint default null,
    p_expires_in interval default null,
    p_headers   jsonb default null
)
    returns table (place int, id bigint, made boolean)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now    constant timestamptz := bt_now();
    v_args   json[] := bt_check_args(p_args);
    v_is_last constant boolean := coalesce(p_on_conflict = 'replace', false);
    v_is_simple constant boolean := cardinality(p_keys) > 1 and coalesce(p_on_conflict, 'keep') = 'keep' and p_successor is not true;
    v_job    backtick_queue;
    v_sequence constant regclass := pg_get_serial_sequence('backtick_queue', 'id');
    v_room   int;
    v_ids    bigint[];
    v_made   boolean[];
    v_leads  boolean[];  -- of those with one key one; and all without
    v_back   bigint[];
    v_new    bigint[];
    v_left   record;
    v_one    record;
    v_failed bigint;
begin
    if p_expires_in is not null then
        p_expires_at := bt_expiry(p_run_at, p_expires_at, p_expires_in);
    end if;
    if p_queue is null or p_priority is null then
        select coalesce(p_queue, home.queue, 'default'), coalesce(p_priority, home.priority, 5)
        into p_queue, p_priority
        from (select) as one
        left join backtick_worker as home on home.name = p_name;
    end if;
    perform bt_check_job(p_name, '[]', p_queue, p_run_at, p_priority, p_max_tries, p_expires_at, p_tags);
    perform bt_check_special(
        cardinality(v_args), p_group, p_keys, p_on_conflict, p_successor, p_max_wait, p_unique_for, p_after, p_after_failure,
        p_batch);
    if p_after is not null then
        select needed.unended, needed.failed into p_after, v_failed
        from bt_unended(p_after, p_after_failure) as needed;
    end if;
    if p_batch is not null then
        perform bt_join_batch(p_batch);
    end if;
    v_room := bt_depth_left(p_queue, cardinality(v_args));

    -- What is the same for all of them
    v_job.queue := p_queue;
    v_job.name := p_name;
    v_job.priority := p_priority;
    v_job.run_at := least(coalesce(p_run_at, v_now), v_now + p_max_wait);
    v_job.max_tries := p_max_tries;
    v_job.created_at := v_now;
    v_job.expires_at := p_expires_at;
    v_job.tags := nullif(p_tags, '{}');
    v_job.gate := bt_first_gate(p_group, p_after);
    v_job.group_key := p_group;
    v_job.batch := p_batch;
    v_job.headers := bt_check_headers(p_headers);

    if p_keys is null then
        with new as (
            insert into backtick_queue (
                queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, gate, group_key, batch,
                headers)
            select v_job.queue, v_job.name, item.args, v_job.priority, v_job.run_at, v_job.max_tries, v_job.created_at,
                   v_job.expires_at, v_job.tags, v_job.gate, v_job.group_key, v_job.batch, v_job.headers
            from unnest(v_args) with ordinality as item (args, place)
            where item.place <= v_room
            order by item.place
            returning backtick_queue.id
        )
        select array_agg(new.id order by new.id) into v_ids from new;
        v_new := coalesce(v_ids, '{}');
    elsif cardinality(v_args) = 1 then
        v_leads := array[v_room = 1];
        v_ids := array[null::bigint];
        v_made := array[false];
        v_new := '{}';
    else
        -- Ids are given in the order of p_args, though the rows are inserted in the order of the keys. No joins: these arrays
        -- are long or short, and no plan is right for both.
        with lead as materialized (
            select distinct on (item.key, case when item.key is null then item.place end) item.place, item.args, item.key
            from unnest(v_args, p_keys) with ordinality as item (args, key, place)
            where item.place <= v_room
            order by item.key, case when item.key is null then item.place end,
                     case when v_is_last then -item.place else item.place end
        ), numbered as materialized (
            select placed.*,
                   case when placed.key is null
                             or (select other.id from backtick_queue as other
                                 where other.queue = p_queue and other.key = placed.key limit 1) is null
                                and (p_unique_for is null or bt_ended_with(p_queue, placed.key, v_now - p_unique_for) is null)
                        then nextval(v_sequence)
                   end as id
            from (select lead.* from lead order by lead.place) as placed
        ), new as (
            insert into backtick_queue (
                id, queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, gate, group_key, batch, key,
                headers)
            overriding system value
            select numbered.id, v_job.queue, v_job.name, numbered.args, v_job.priority, v_job.run_at, v_job.max_tries,
                   v_job.created_at, v_job.expires_at, v_job.tags, v_job.gate, v_job.group_key, v_job.batch, numbered.key,
                   v_job.headers
            from numbered
            where numbered.id is not null
            order by numbered.key, numbered.place
            on conflict (queue, key, (is_second is null)) where key is not null do nothing
            returning backtick_queue.id
        ), led as (
            select max(known.place) as place, case when bool_or(known.is_new) then known.id end as id
            from (
                select numbered.id, numbered.place, false as is_new from numbered
                union all
                select new.id, null, true from new
            ) as known
            group by known.id, case when known.id is null then known.place end
        ), every as (
            select each.place, max(each.id) as id, bool_or(each.is_lead) as is_lead
            from (
                select led.place, led.id, true as is_lead from led
                union all
                select place, null, false from generate_series(1, cardinality(v_args)) as place
            ) as each
            group by each.place
        )
        select array_agg(every.id order by every.place), array_agg(every.is_lead order by every.place)
        into v_ids, v_leads
        from every;

        v_back := bt_rivaled(p_queue, v_ids, v_now - p_unique_for);
        if v_back <> '{}' then
            delete from backtick_queue as mine where mine.id = any (v_back);
        end if;
        select array_agg(mine.id order by mine.place), array_agg(mine.id is not null order by mine.place),
               coalesce(array_agg(mine.id order by mine.place) filter (where mine.id is not null), '{}')
        into v_ids, v_made, v_new
        from (
            select case when put.id <> all (v_back) then put.id end as id, put.place
            from unnest(v_ids) with ordinality as put (id, place)
        ) as mine;
    end if;

    -- Where others were before, key by key
    if p_keys is not null then
        for v_left in
            select item.*,
                   case when v_is_simple then (  -- bt_put_keyed would say the same, but takes longer
                       select other.id
                       from backtick_queue as other
                       where other.queue = p_queue
                         and other.key = item.key
                         and other.expires_at is null
                         and (select asked.job from backtick_cancel as asked where asked.job = other.id) is null
                       order by other.created_at desc, other.id desc
                       limit 1
                   ) end as there
            from unnest(v_args, p_keys, v_made, v_leads) with ordinality as item (args, key, made, is_lead, place)
            where item.is_lead
              and not item.made
            order by item.key
        loop
            if v_left.there is not null then
                v_ids[v_left.place] := v_left.there;
                continue;
            end if;
            v_job.args := v_left.args;
            v_job.key := v_left.key;
            select * into v_one
            from bt_put_keyed(v_job, coalesce(p_on_conflict, 'keep'), p_successor is true, p_max_wait, p_unique_for, p_wake);
            v_ids[v_left.place] := v_one.id;
            if v_one.made then
                v_made[v_left.place] := true;
                v_new := v_new || v_one.id;
            end if;
        end loop;
    end if;

    if v_new <> '{}' then
        perform bt_put_after(p_queue, v_new, p_after, p_after_failure, v_failed);
        perform bt_put_group(p_queue, p_group);
        if v_job.run_at < bt_now() - interval '10 ms' then  -- below floors: see bt_floor
            insert into backtick_freed (queue, priority, run_at, job, freed_at)
            values (p_queue, v_job.priority, v_job.run_at, 0, v_now);
        end if;
        if p_wake then
            perform bt_wake(p_queue, v_job.run_at);
        end if;
    end if;

    if p_keys is null then
        return query
            select item.place::int, item.id, item.id is not null
            from unnest(v_ids || array_fill(null::bigint, array[cardinality(v_args) - cardinality(v_new)]))
                with ordinality as item (id, place)
            order by item.place;
        return;
    end if;
    return query
        select item.place::int,
               coalesce(item.id, case when item.key is not null then max(item.id) over (partition by item.key) end),
               coalesce(item.made, false)
        from unnest(p_keys, v_ids, v_made) with ordinality as item (key, id, made, place)
        order by item.place;
end;
$$;
comment on function bt_put_special is 'Queue jobs with a key, a group, others before them or a batch; for each its id, and whether it was made.';

-- bt_check_special: refuse what is not among what bt_put_special takes, naming the value and the rule.
--
-- p_count   how many jobs
-- others    as there
-- raises    22023 invalid_parameter_value, 25000 invalid_transaction_state
create or replace function bt_check_special(
    p_count     int,
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
    returns void
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_bad text;
begin
    if char_length(p_group) not between 1 and 200 then
        raise exception 'bt_enqueue: the group "%" has % characters', left(p_group, 60), char_length(p_group)
            using errcode = 'invalid_parameter_value', hint = 'A group''s name has 1 to 200 characters.';
    end if;
    if p_keys is null and num_nonnulls(p_on_conflict, p_successor, p_max_wait, p_unique_for) > 0 then
        raise exception 'bt_enqueue: % is given, but no key', case
                when p_on_conflict is not null then 'on_conflict ' || p_on_conflict
                when p_successor is not null then 'successor ' || p_successor
                when p_max_wait is not null then 'max_wait ' || p_max_wait
                else 'unique_for ' || p_unique_for
            end
            using errcode = 'invalid_parameter_value', hint = 'It says what happens if another job has the key: give one.';
    end if;
    if p_keys is not null then
        if cardinality(p_keys) <> p_count or array_ndims(p_keys) > 1 then
            raise exception 'bt_enqueue_many: there are % keys for % jobs', cardinality(p_keys), p_count
                using errcode = 'invalid_parameter_value', hint = 'Give one a job, null for a job that has none.';
        end if;
        select given.key into v_bad from unnest(p_keys) as given (key) where char_length(given.key) not between 1 and 200 limit 1;
        if found then
            raise exception 'bt_enqueue: the key "%" has % characters', left(v_bad, 60), char_length(v_bad)
                using errcode = 'invalid_parameter_value',
                      hint = 'A key has 1 to 200 characters. Of something longer take a hash: encode(sha256(...), ''hex'').';
        end if;
        if p_on_conflict not in ('keep', 'replace', 'error') then
            raise exception 'bt_enqueue: on_conflict is "%"', left(p_on_conflict, 60)
                using errcode = 'invalid_parameter_value', hint = 'on_conflict is keep, replace or error.';
        end if;
        if p_on_conflict = 'error' then
            select given.key into v_bad from unnest(p_keys) as given (key) where given.key is not null group by given.key having count(*) > 1 limit 1;
            if found then
                raise exception 'bt_enqueue_many: the key "%" is given twice', v_bad
                    using errcode = 'unique_violation', hint = 'Give each key once, or let on_conflict be keep, or replace.';
            end if;
        end if;
        if p_max_wait is not null and (p_on_conflict is distinct from 'replace' or p_max_wait <= interval '0 s') then
            raise exception 'bt_enqueue: max_wait is %, on_conflict is %', p_max_wait, coalesce(p_on_conflict, 'keep')
                using errcode = 'invalid_parameter_value',
                      hint = 'max_wait is more than 0, and bounds how long a job is put off by on_conflict replace.';
        end if;
        if p_unique_for <= interval '0 s' or p_unique_for > interval '100 years' then
            raise exception 'bt_enqueue: unique_for is %', p_unique_for
                using errcode = 'invalid_parameter_value', hint = 'It is more than 0 and at most a hundred years.';
        end if;
        if p_on_conflict = 'replace' and p_after is not null then
            raise exception 'bt_enqueue: on_conflict is replace, after is %', left(p_after::text, 60)
                using errcode = 'invalid_parameter_value', hint = 'To replace a job does not change what it waits for.';
        end if;
        perform bt_check_isolation('bt_enqueue with a key');
    end if;
    if p_after_failure not in ('cancel', 'run') or p_after_failure is not null and p_after is null then
        raise exception 'bt_enqueue: after_failure is "%"%', left(p_after_failure, 60), coalesce(', after is ' || left(p_after::text, 60), '')
            using errcode = 'invalid_parameter_value', hint = 'after_failure is cancel or run, and given with after.';
    end if;
end;
$$;
comment on function bt_check_special is 'Raise an error, with value and rule, if this is not among what bt_put_special takes.';

-- ---- Keys ---------------------------------------------------------------------

-- bt_put_keyed: queue one job with a key, or find the job that has it: see bt_put_special.
--
-- Goes round until it has done one of the two. Each time something has changed in between, or somebody was waited for.
--
-- p_job     what is to be queued: a row of backtick_queue, of which id is not read
-- others    as of bt_put_special
-- returns   the id, of the job that was made or of the one that has the key, and whether it was made
-- raises    as there
create or replace function bt_put_keyed(
    p_job       backtick_queue,
    p_on_conflict text,
    p_successor boolean,
    p_max_wait  interval,
    p_unique_for interval,
    p_wake      boolean,
    out id      bigint,
    out made    boolean
)
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
#variable_conflict use_variable
declare
    c_back  constant text := 'BT000';  -- to a savepoint
    v_since constant timestamptz := p_job.created_at - p_unique_for;
    v_there record;
begin
    loop
        made := false;
        select last.* into v_there from bt_last_with(p_job.queue, p_job.key) as last;

        if not found then
            id := case when p_unique_for is not null then bt_ended_with(p_job.queue, p_job.key, v_since) end;
            if id is not null then
                if p_on_conflict = 'error' then
                    perform bt_refuse_key(p_job, id);
                end if;
                return;
            end if;
            id := bt_insert_keyed(p_job);
            continue when id is null;
            made := bt_rivaled(p_job.queue, array[id], v_since) = '{}';
            if made then
                return;
            end if;
            delete from backtick_queue as mine where mine.id = bt_put_keyed.id;
            continue;
        end if;

        id := v_there.id;
        if v_there.is_held and v_there.is_alone and p_successor then
            begin
                perform pg_advisory_xact_lock(bt_key_lock(p_job.queue, p_job.key));
                select last.* into v_there from bt_last_with(p_job.queue, p_job.key) as last;
                if v_there.id = id and v_there.is_held and v_there.is_alone then
                    p_job.after_job := id;
                    p_job.is_second := case when v_there.is_second is null then true end;
                    id := bt_insert_keyed(p_job);
                    if id is not null then
                        made := true;
                        return;
                    end if;
                end if;
                raise exception using errcode = c_back;  -- without the lock, lest it and the index be waited for crosswise
            exception when sqlstate 'BT000' then
                p_job.after_job := null;
                p_job.is_second := null;
            end;
            continue;
        end if;

        if not v_there.is_held and v_there.is_doomed then
            if bt_end(bt_take_free(p_job.queue, array[id]), 'canceled', 0, null, null, v_there.errors) = '{}' then
                perform bt_wait_for_row(id);
            end if;
            continue;
        end if;
        if p_on_conflict = 'error' then
            perform bt_refuse_key(p_job, id);
        end if;
        if v_there.is_held or p_on_conflict = 'keep' and not p_successor then
            return;
        end if;

        if p_on_conflict = 'replace' and not bt_may_touch('bt_enqueue', id, v_there.enqueued_by) then
            raise exception 'bt_enqueue: the key "%" is taken by a job of another role', left(p_job.key, 60)
                using errcode = 'insufficient_privilege', hint = 'A producer replaces its own jobs, an admin any.';
        end if;
        if bt_take_free(p_job.queue, array[id]) = '{}' then
            perform bt_wait_for_row(id);
            continue;
        end if;
        if p_on_conflict = 'replace' then
            perform bt_replace(id, p_job, p_max_wait, p_wake);
        else
            update backtick_queue as job set run_at = job.run_at where job.id = bt_put_keyed.id;
        end if;
        return;
    end loop;
end;
$$;
comment on function bt_put_keyed is 'Queue one job with a key, or find the job that has it; its id, and whether it was made.';

-- bt_insert_keyed: insert a job with a key, unless another one has its place; waits for whoever is about to take it.
--
-- returns   its id; null: another one has it
create or replace function bt_insert_keyed(p_job backtick_queue)
    returns bigint
    language sql
    volatile
    set search_path from current
as $$
    insert into backtick_queue (
        queue, name, args, priority, run_at, max_tries, created_at, expires_at, tags, gate, group_key, batch, key, after_job,
        is_second, schedule, scheduled_for, headers)
    values (
        p_job.queue, p_job.name, p_job.args, p_job.priority, p_job.run_at, p_job.max_tries, p_job.created_at, p_job.expires_at,
        p_job.tags, p_job.gate, p_job.group_key, p_job.batch, p_job.key, p_job.after_job, p_job.is_second, p_job.schedule,
        p_job.scheduled_for, p_job.headers)
    on conflict (queue, key, (is_second is null)) where key is not null do nothing
    returning id
$$;
comment on function bt_insert_keyed is 'Insert a job with a key, unless another has its place; returns its id.';

-- bt_last_with: of the jobs with a key that have not ended the last one. Volatile, since each call must read anew.
--
-- returns   none or one row: id, is_second, enqueued_by; is_held: a claim holds it; is_alone: no other has the key;
--           is_doomed: it is to end as canceled as soon as somebody looks, with errors (as bt_end has them)
create or replace function bt_last_with(p_queue text, p_key text)
    returns table (
        id bigint, is_second boolean, enqueued_by text, is_held boolean, is_alone boolean, is_doomed boolean, errors jsonb[])
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select job.id, job.is_second, job.enqueued_by,
           exists (
               select from backtick_claim as claim
               where hashtext(claim.queue) = hashtext(p_queue)
                 and claim.lowest <= job.id
                 and claim.highest >= job.id
                 and job.id = any (claim.jobs)
           ),
           count(*) over () = 1,
           asked.job is not null or job.expires_at is not null and job.expires_at <= bt_now(),
           case when asked.job is null and job.expires_at <= bt_now() then array[bt_expired_error(job.expires_at)] end
    from backtick_queue as job
    left join backtick_cancel as asked on asked.job = job.id
    where job.queue = p_queue
      and job.key = p_key
    order by job.created_at desc, job.id desc
    limit 1
$$;
comment on function bt_last_with is 'Of the jobs with a key that have not ended the last one, and whether it runs.';

-- bt_ended_with: the last job with a key that has ended, but not as canceled, and was enqueued after some time; null: none.
create or replace function bt_ended_with(p_queue text, p_key text, p_since timestamptz)
    returns bigint
    language sql
    stable
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select done.id
    from backtick_done as done
    where done.queue = p_queue
      and done.key = p_key
      and done.created_at > p_since
      and done.state <> 'canceled'
    order by done.created_at desc
    limit 1
$$;
comment on function bt_ended_with is 'The last job with a key that has ended, and was enqueued after some time.';

-- bt_rivaled: which of the jobs that the caller has just inserted should not be there: see bt_put_special.
--
-- The lock is one of the session, since it must be let go at once; nothing interrupts between the two calls.
--
-- p_ids     the jobs; nulls, and those without a key, are passed over
-- p_since   a job with the key that has ended is a rival, too, if it was enqueued after that; null: none is
-- returns   the ids of those that others have the key of
create or replace function bt_rivaled(p_queue text, p_ids bigint[], p_since timestamptz)
    returns bigint[]
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
begin
    perform pg_advisory_lock_shared(mine.lock), pg_advisory_unlock_shared(mine.lock)
    from (
        select bt_key_lock(p_queue, job.key) as lock
        from backtick_queue as job
        where job.id = any (p_ids)
          and job.key is not null
        order by job.key
    ) as mine;
    return array(
        select mine.id
        from backtick_queue as mine
        where mine.id = any (p_ids)
          and mine.key is not null
          and ((
              select other.id
              from backtick_queue as other
              where other.queue = p_queue
                and other.key = mine.key
                and other.id <> mine.id
              limit 1
          ) is not null or p_since is not null and bt_ended_with(p_queue, mine.key, p_since) is not null)
    );
end;
$$;
comment on function bt_rivaled is 'Which of the jobs that the caller has just inserted should not be there, for others have their keys.';

-- bt_key_lock: the number of the lock that who inserts a successor takes: see bt_put_special. Callers pin the search_path.
create or replace function bt_key_lock(p_queue text, p_key text)
    returns bigint
    language sql
    stable
    parallel safe
as $$
    select hashtextextended(p_queue || ',' || p_key, 'backtick_queue'::regclass::oid::bigint)
$$;
comment on function bt_key_lock is 'The number of the lock that who inserts a successor takes.';

-- bt_refuse_key: raises 23505 unique_violation.
create or replace function bt_refuse_key(p_job backtick_queue, p_id bigint)
    returns void
    language plpgsql
    stable
    set search_path from current
as $$
begin
    raise exception 'bt_enqueue: job % has the key "%" in the queue %', p_id, p_job.key, p_job.queue
        using errcode = 'unique_violation',
              hint = 'Wait until it has ended, or cancel it; or let on_conflict be keep, or replace.';
end;
$$;
comment on function bt_refuse_key is 'Raise an error that names the job that has a key.';

-- bt_wait_for_row: wait for whoever has locked a job's row, and keep no lock on it, lest its runner wait to report it.
create or replace function bt_wait_for_row(p_id bigint)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    perform from backtick_queue as job where job.id = p_id for update;
    raise exception using errcode = 'BT000';  -- to a savepoint
exception when sqlstate 'BT000' then
    null;
end;
$$;
comment on function bt_wait_for_row is 'Wait for whoever has locked a job''s row.';

-- bt_replace: make of a waiting job, which the caller has locked by bt_take_free, another one.
--
-- Its key, its batch, created_at and what it waits for stay; tries begin anew.
create or replace function bt_replace(p_id bigint, p_job backtick_queue, p_max_wait interval, p_wake boolean)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_group  text;
    v_run_at timestamptz;
begin
    select job.group_key into v_group from backtick_queue as job where job.id = p_id;
    update backtick_queue as job
    set name = p_job.name,
        args = p_job.args,
        priority = p_job.priority,
        run_at = least(p_job.run_at, job.created_at + p_max_wait),
        due_at = null,
        max_tries = p_job.max_tries,
        expires_at = p_job.expires_at,
        tags = p_job.tags,
        headers = p_job.headers,
        gate = case when job.gate = 2 then job.gate else p_job.gate end,
        group_key = p_job.group_key,
        enqueued_by = bt_role(),
        tries = 0,
        crashes = 0,
        snoozes = 0,
        error = null,
        attempts = null
    where job.id = p_id
    returning job.run_at into v_run_at;
    perform bt_put_group(p_job.queue, left_or_joined.name)
    from (select v_group union select p_job.group_key) as left_or_joined (name)
    where left_or_joined.name is not null;
    if p_wake then
        perform bt_wake(p_job.queue, v_run_at);
    end if;
end;
$$;
comment on function bt_replace is 'Make of a waiting job another one.';

-- ---- Depth ----------------------------------------------------------------------

-- bt_depth_left: how many of some new jobs a queue has room for: see bt_limit, max_depth.
--
-- Jobs are not counted for that: the keepers of runners look once a second, see bt_look_at_depths, and what comes in
-- between is not known. If nobody has looked for long, no runner lives, and this looks itself.
--
-- p_count   how many are to come
-- returns   how many may: p_count, or fewer if the queue drops the rest
-- raises    53400 configuration_limit_exceeded
create or replace function bt_depth_left(p_queue text, p_count int)
    returns int
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_limit record;
    v_depth bigint;
begin
    select one.max_depth, one.on_depth, one.depth, one.depth_at into v_limit
    from backtick_limit as one
    where one.kind = 'queue'
      and one.queue = p_queue
      and one.name = ''
      and one.max_depth is not null;
    if not found then
        return p_count;
    end if;
    v_depth := case
        when v_limit.depth_at > bt_now() - 5 * bt_depth_period(v_limit.max_depth) then v_limit.depth
        else bt_depth(p_queue, v_limit.max_depth)
    end;
    if v_depth + p_count <= v_limit.max_depth then
        return p_count;
    end if;
    if v_limit.on_depth = 'drop' then
        return greatest(0, v_limit.max_depth - v_depth);
    end if;
    raise exception 'bt_enqueue: the queue % has % jobs, and may have %, about', p_queue,
            case when v_depth > v_limit.max_depth then 'more than ' || v_limit.max_depth else v_depth::text end, v_limit.max_depth
        using errcode = 'configuration_limit_exceeded',
              detail = format('%s more were to come.', p_count),
              hint = 'Enqueue later, when runners have worked some off, start more of them, or raise its max_depth.';
end;
$$;
comment on function bt_depth_left is 'How many of some new jobs a queue has room for.';

-- bt_depth: how many jobs of a queue have not ended, those for later and those that run included; p_most + 1: more than that.
create or replace function bt_depth(p_queue text, p_most int)
    returns bigint
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set enable_bitmapscan to off
    set jit to off
as $$
    select count(*)
    from (select from backtick_queue as job where job.queue = p_queue limit p_most::bigint + 1) as counted
$$;
comment on function bt_depth is 'How many jobs of a queue have not ended, up to some number.';

-- bt_depth_period: how often that is looked up by keepers: to count a million jobs takes a while.
create or replace function bt_depth_period(p_max_depth int)
    returns interval
    language sql
    immutable
    parallel safe
as $$
    select greatest(1, p_max_depth / 100000) * interval '1 s'
$$;
comment on function bt_depth_period is 'How often it is looked up how many jobs a queue has that may have so many.';

-- bt_look_at_depths: note how many jobs those queues have that have a max_depth; one runner at a time does.
create or replace function bt_look_at_depths()
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if not exists (select from backtick_limit as one where one.max_depth is not null) then
        return;
    end if;
    update backtick_limit as one
    set depth = bt_depth(one.queue, one.max_depth),
        depth_at = bt_now()
    from (
        select due.kind, due.queue, due.name
        from backtick_limit as due
        where due.max_depth is not null
          and (due.depth_at > bt_now() or due.depth_at > bt_now() - 0.9 * bt_depth_period(due.max_depth)) is not true
        for no key update skip locked
    ) as free
    where (one.kind, one.queue, one.name) = (free.kind, free.queue, free.name);
end;
$$;
comment on function bt_look_at_depths is 'Note how many jobs those queues have that have a max_depth.';

-- ---- Groups ---------------------------------------------------------------------

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

-- bt_put_group: tell claims that a group has new jobs, or has lost one; p_group null: they have none.
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
        insert into backtick_opening (queue, group_keys, noted_at) values (p_queue, array[p_group], bt_now());
    end if;
end;
$$;
comment on function bt_put_group is 'Tell claims that a group has new jobs.';
