-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_room: what limits and pauses leave a claim to take, for bt_claim, which holds the queue's lock; asked only where the
-- queue has any.
--
-- What runs is counted from the claims, so a limit is exact, and nothing leaks. What claims ahead does not hold a limit:
-- so many are taken as begin at once.
--
-- The settings of bt_claim hold here. Callers pin the search_path.
--
-- parameters  as of bt_claim
-- returns     names: the workers of which something may be taken; most: how many jobs in all; scarce: those workers of
--             which no more than so many (counts) may be; has_groups: a group is paused, or has a rate; has_rate: the queue
--             has one
create or replace function bt_room(p_queue text, p_names text[], p_limit int, p_begin int, p_now timestamptz)
    returns table (names text[], most int, scarce text[], counts int[], has_groups boolean, has_rate boolean)
    language plpgsql
    volatile
as $$
declare
    v_begin constant int := coalesce(p_begin, p_limit);
    v_limit backtick_limit;
    v_worker record;
begin
    names := p_names;
    most := p_limit;
    scarce := '{}';
    counts := '{}';
    has_rate := false;

    select limits.* into v_limit
    from backtick_limit as limits
    where limits.kind = 'queue' and limits.queue = p_queue and limits.name = '';
    if v_limit.running is not null then
        select least(most, v_begin, v_limit.running - coalesce(sum(cardinality(claim.jobs)), 0)) into most
        from backtick_claim as claim
        where hashtext(claim.queue) = hashtext(p_queue)
          and claim.queue = p_queue;
    end if;
    if v_limit.rate is not null then
        has_rate := true;
        select least(most, v_begin, v_limit.rate - coalesce(sum(begun.jobs), 0)) into most
        from backtick_begun as begun
        where begun.queue = p_queue
          and begun.group_key = ''
          and begun.begun_at > p_now - v_limit.period;
    end if;

    names := array(
        select known.name
        from unnest(p_names) with ordinality as known (name, place)
        where not exists (
            select from backtick_pause as pause
            where pause.queue in ('', p_queue)
              and pause.kind = 'worker'
              and pause.name = known.name
        )
        order by known.place
    );
    for v_worker in
        select limits.name, limits.running - count(job.id) as n
        from backtick_limit as limits
        left join (
            select held.id
            from backtick_claim as claim
            cross join unnest(claim.jobs) as held (id)
            where hashtext(claim.queue) = hashtext(p_queue)
              and claim.queue = p_queue
        ) as held on true
        left join lateral (
            select job.id, job.name from backtick_queue as job where job.id = held.id offset 0
        ) as job on job.name = limits.name
        where limits.kind = 'worker'
          and limits.queue = p_queue
          and limits.running is not null
          and limits.name = any (names)
        group by limits.name, limits.running
    loop
        if v_worker.n < 1 or v_begin < 1 then
            names := array_remove(names, v_worker.name);
        elsif least(v_worker.n, v_begin) < most then
            scarce := scarce || v_worker.name;
            counts := counts || v_worker.n::int;
        end if;
    end loop;

    has_groups := exists (select from backtick_pause as pause where pause.queue = p_queue and pause.kind = 'group')
        or exists (
            select from backtick_limit as limits
            where limits.kind in ('group', 'groups')
              and limits.queue = p_queue
              and limits.rate is not null);
    return next;
end;
$$;
comment on function bt_room is 'What limits and pauses leave a claim to take.';

-- bt_begin_limited: those of some jobs that may begin now, of workers and groups with limits; for bt_claim.
--
-- Of a group with a rate a job may be due sooner than it may begin, for another try say. It is put off until then.
--
-- p_ids     the jobs, in order
-- p_scarce  workers of which no more than so many (p_counts) may begin
-- p_begin   so many of p_ids begin at once; of workers and groups with limits no others are taken
-- returns   what may be taken, in order
create or replace function bt_begin_limited(
    p_queue  text,
    p_ids    bigint[],
    p_scarce text[],
    p_counts int[],
    p_begin  int,
    p_now    timestamptz
)
    returns bigint[]
    language plpgsql
    volatile
as $$
declare
    v_job  record;
    v_its  record;
    v_n    int;
    v_at   timestamptz;
    v_ids  bigint[] := '{}';
    v_put_off bigint[];
begin
    for v_job in
        select given.id, job.name, job.group_key
        from unnest(p_ids) with ordinality as given (id, place)
        cross join lateral (select job.name, job.group_key from backtick_queue as job where job.id = given.id offset 0) as job
        order by given.place
    loop
        v_n := array_position(p_scarce, v_job.name);
        if v_n is not null and (p_counts[v_n] < 1 or cardinality(v_ids) >= p_begin) then
            continue;
        end if;
        if v_job.group_key is not null then
            select * into v_its from bt_limit_of(p_queue, v_job.group_key) as its;
            if v_its.rate is not null then
                if cardinality(v_ids) >= p_begin then
                    continue;
                end if;
                v_at := bt_may_begin(p_queue, v_job.group_key, v_its.rate, v_its.period, p_now);
                if v_at > p_now then
                    v_put_off := array(
                        select job.id from backtick_queue as job where job.id = v_job.id for no key update skip locked);
                    update backtick_queue as job
                    set run_at = v_at
                    where job.id = any (v_put_off);
                    continue;
                end if;
                insert into backtick_begun (queue, group_key, begun_at, jobs) values (p_queue, v_job.group_key, p_now, 1);
            end if;
        end if;
        if v_n is not null then
            p_counts[v_n] := p_counts[v_n] - 1;
        end if;
        v_ids := v_ids || v_job.id;
    end loop;
    return v_ids;
end;
$$;
comment on function bt_begin_limited is 'Those of some jobs that may begin now, of workers and groups with limits.';
