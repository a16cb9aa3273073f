-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_bytes: how many bytes of memory arguments take at most, at a guess that needs not read them.
--
-- What is stored compressed is not unpacked to be measured, but counted as the most that it can be: 255 times as much
-- (lz4; pglz packs less), up to the 16 MB that bt_check_job allows.
create or replace function bt_bytes(p_args json)
    returns bigint
    language sql
    stable
as $$
    select case
        when pg_column_compression(p_args) is null then pg_column_size(p_args)
        else least(255::bigint * pg_column_size(p_args), 16777216)
    end
$$;
comment on function bt_bytes is 'How many bytes of memory arguments take at most.';

-- bt_due: the first jobs of a queue that are due, held or not, priority by priority; for bt_claim.
--
-- None of these pins the search_path, as callers do: so they become part of the caller's statement.
--
-- p_queue      the queue
-- p_floor      ten times, for priorities 0 to 9: only what comes after this run_at, and
-- p_floor_ids  after this id of the same run_at; null: all of it
-- p_now        what time it is
-- p_look       how many at most
-- returns      untouched: no transaction has withdrawn it, or is about to (who lets a job in locks and writes it: then both
--              its numbers are his, and he has ended)
drop function if exists bt_due(text, timestamptz[], bigint[], timestamptz, int);  -- of version 3, with fewer columns
create or replace function bt_due(
    p_queue     text,
    p_floor     timestamptz[],
    p_floor_ids bigint[],
    p_now       timestamptz,
    p_look      int
)
    returns table (
        id        bigint,
        priority  smallint,
        run_at    timestamptz,
        name      text,
        after_job bigint,
        crashes   int,
        bytes     bigint,
        untouched boolean,
        expires_at timestamptz,
        group_key text
    )
    language sql
    stable
as $$
    select due.*
    from generate_series(0, 9) with ordinality as lane (priority, place)
    cross join lateral (
        select job.id, job.priority, job.run_at, job.name, job.after_job, job.crashes, bt_bytes(job.args),
               job.xmax = 0 or job.xmax = job.xmin, job.expires_at, job.group_key
        from backtick_queue as job
        where job.queue = p_queue
          and job.gate = 0
          and job.priority = lane.priority
          and (job.run_at, job.id + 0) > (
              coalesce(p_floor[lane.priority + 1], '-infinity'), coalesce(p_floor_ids[lane.priority + 1], 0))
          and job.run_at <= p_now
        order by job.run_at, job.id + 0
        limit p_look
    ) as due
    order by lane.place
    limit p_look
$$;
comment on function bt_due is 'The first jobs of a queue that are due, held or not.';

-- bt_due_by_worker: the same of some workers, whatever stands before them, and without those that come after a job
-- which has not ended.
--
-- p_names   the workers
-- others    as bt_due
drop function if exists bt_due_by_worker(text, text[], timestamptz[], bigint[], timestamptz, int);
create or replace function bt_due_by_worker(
    p_queue     text,
    p_names     text[],
    p_floor     timestamptz[],
    p_floor_ids bigint[],
    p_now       timestamptz,
    p_look      int
)
    returns table (
        id        bigint,
        priority  smallint,
        run_at    timestamptz,
        name      text,
        after_job bigint,
        crashes   int,
        bytes     bigint,
        untouched boolean,
        expires_at timestamptz,
        group_key text
    )
    language sql
    stable
as $$
    select due.*
    from (
        select known.name
        from unnest(p_names) as known (name)
        where cardinality(p_names) <= 20  -- of more most have no job; to see that may be to walk over dead ones
           or (
               select job.name from backtick_queue as job
               where job.queue = p_queue and job.name = known.name and job.gate = 0
               limit 1
           ) is not null
        offset 0
    ) as known
    cross join generate_series(0, 9) as lane (priority)
    cross join lateral (
        select job.id, job.priority, job.run_at, job.name, job.after_job, job.crashes, bt_bytes(job.args),
               job.xmax = 0 or job.xmax = job.xmin, job.expires_at, job.group_key
        from backtick_queue as job
        where job.queue = p_queue
          and job.name = known.name
          and job.gate = 0
          and job.priority = lane.priority
          and (job.run_at, job.id + 0) > (
              coalesce(p_floor[lane.priority + 1], '-infinity'), coalesce(p_floor_ids[lane.priority + 1], 0))
          and job.run_at <= p_now
          and (job.after_job is null
               or (select previous.id from backtick_queue as previous where previous.id = job.after_job) is null)
        order by job.run_at, job.id + 0
        limit p_look
    ) as due
    order by due.priority, due.run_at, due.id
    limit p_look
$$;
comment on function bt_due_by_worker is 'The first jobs of some workers in a queue that are due, held or not.';
