-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_declare_workers: a runner's code says which workers it has, and the queue and priority of each.
--
-- So who schedules by a bare name puts the job where whoever imports the worker would: see bt_home. Asked when a runner
-- starts, when it registers another worker, and now and then, for what no living runner knows and no code has declared
-- for long is forgotten. Of two runners that declare a worker differently, as in a deploy, the later one holds. What
-- somebody has locked is left for the next time.
--
-- p_runner    what bt_register_runner returned
-- p_names     the workers that it has, and for each of them
-- p_queues    the queue that its code declares; null: none, so default
-- p_priorities  the priority; null: none
-- p_max_undeclared_ms  milliseconds without a declaration after which one is forgotten
-- raises      22023 invalid_parameter_value
create or replace function bt_declare_workers(
    p_runner            bigint,
    p_names             text[],
    p_queues            text[],
    p_priorities        int[],
    p_max_undeclared_ms bigint default 86400000
)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now timestamptz := bt_now();
    v_old timestamptz := v_now - p_max_undeclared_ms * interval '1 ms';
begin
    if p_runner is null or p_max_undeclared_ms is null
        or (cardinality(p_queues), cardinality(p_priorities)) is distinct from (cardinality(p_names), cardinality(p_names))
    then
        raise exception 'bt_declare_workers: runner %, % names, % queues, % priorities',
                coalesce(p_runner::text, 'null'), coalesce(cardinality(p_names)::text, 'null'), coalesce(cardinality(p_queues)::text, 'null'),
                coalesce(cardinality(p_priorities)::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Pass a queue and a priority for each name, or null.';
    end if;

    update backtick_runner as runner
    set names = p_names
    from (
        select changed.id
        from backtick_runner as changed
        where changed.id = p_runner
          and changed.names <> p_names
        for no key update skip locked
    ) as free
    where runner.id = free.id;

    update backtick_worker as worker
    set queue = free.queue,
        priority = free.priority,
        declared_at = v_now
    from (
        select known.name, coalesce(said.queue, 'default') as queue, said.priority
        from unnest(p_names, p_queues, p_priorities) as said (name, queue, priority)
        join backtick_worker as known on known.name = said.name
        where (known.queue, known.priority) is distinct from (coalesce(said.queue, 'default'), said.priority)
           or known.declared_at < v_now - (v_now - v_old) / 4
        order by known.name
        for no key update of known skip locked
    ) as free
    where worker.name = free.name;

    insert into backtick_worker (name, queue, priority, declared_at)
    select said.name, coalesce(said.queue, 'default'), said.priority, v_now
    from unnest(p_names, p_queues, p_priorities) as said (name, queue, priority)
    where not exists (select from backtick_worker as known where known.name = said.name)
    order by said.name
    on conflict do nothing;

    delete from backtick_worker as worker
    using (
        select forgotten.name
        from backtick_worker as forgotten
        where forgotten.declared_at < v_old
          and not exists (select from backtick_runner as runner where forgotten.name = any (runner.names))
        for update skip locked
    ) as free
    where worker.name = free.name;
end;
$$;
comment on function bt_declare_workers is 'Say which workers a runner''s code has, and the queue and priority of each.';
