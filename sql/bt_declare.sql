-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_declare: code says which schedules it still wants; those that no code has wanted for long are
-- switched off. Never deleted, since a rolling deploy goes back and forth, and never one made from SQL. What somebody
-- has locked is left for the next time.
--
-- p_names             names of the schedules that the caller's code declares
-- p_max_undeclared_ms milliseconds without a declaration after which one is switched off
-- p_workers           the workers that the caller's code has
-- returns             a row for each that was switched off now, for each whose worker no living runner knows, and for
--                     each whose worker the caller has, and does not declare it: name, worker, and whether it is off
-- raises              22004 null_value_not_allowed
drop function if exists bt_declare(text[], bigint);  -- of version 3
create or replace function bt_declare(
    p_names             text[],
    p_max_undeclared_ms bigint default 86400000,
    p_workers           text[] default '{}'
)
    returns table (name text, worker text, is_off boolean)
    language plpgsql
    volatile
    set search_path from current
as $$
#variable_conflict use_column
declare
    v_now timestamptz := bt_now();
begin
    if p_names is null or p_max_undeclared_ms is null then
        raise exception 'bt_declare: names are %, max_undeclared_ms is %',
                coalesce(p_names::text, 'null'), coalesce(p_max_undeclared_ms::text, 'null')
            using errcode = 'null_value_not_allowed', hint = 'Pass the names of the schedules, an empty array if none.';
    end if;

    update backtick_schedule as schedule
    set declared_at = v_now
    from (
        select wanted.name
        from backtick_schedule as wanted
        where wanted.name = any (p_names)
          and wanted.declared_at is not null
        for no key update skip locked
    ) as free
    where schedule.name = free.name;

    return query
        update backtick_schedule as schedule
        set next_run_at = null,
            error = 'no code has declared it since ' || schedule.declared_at
        from (
            select unwanted.name
            from backtick_schedule as unwanted
            where unwanted.declared_at < v_now - p_max_undeclared_ms * interval '1 ms'
              and unwanted.next_run_at is not null
            for no key update skip locked
        ) as free
        where schedule.name = free.name
        returning schedule.name, schedule.worker, true;

    return query
        select schedule.name, schedule.worker, false
        from backtick_schedule as schedule
        where schedule.next_run_at is not null
          and not exists (select from backtick_runner as runner where schedule.worker = any (runner.names));

    return query
        select schedule.name, schedule.worker, false
        from backtick_schedule as schedule
        where schedule.next_run_at is not null
          and schedule.declared_at is not null
          and schedule.worker = any (p_workers)
          and schedule.name <> all (p_names);
end;
$$;
comment on function bt_declare is 'Say which schedules code wants; returns those switched off for want of it, or without a worker.';
