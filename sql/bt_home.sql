-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_home: the queue and the priority that a runner's code has declared for a worker: see bt_declare_workers.
--
-- p_name    the worker
-- returns   one row: queue, null if no runner has declared the worker; priority, null if none was declared
create or replace function bt_home(p_name text, out queue text, out priority int)
    language sql
    stable
    set search_path from current
as $$
    select worker.queue, worker.priority
    from backtick_worker as worker
    where worker.name = p_name
$$;
comment on function bt_home is 'The queue and the priority that a runner''s code has declared for a worker; nulls: none has.';
