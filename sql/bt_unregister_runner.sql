-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_unregister_runner: sign a runner out; what it still holds is queued again, no try and no crash counted.
--
-- Where somebody has locked its row that stays, and bt_revive removes it.
--
-- p_runner   what bt_register_runner returned
-- returns    ids of the jobs that were handed back
create or replace function bt_unregister_runner(p_runner bigint)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    return query select bt_release_except(p_runner, '{}');
    delete from backtick_runner as gone
    using (select id from backtick_runner where id = p_runner for update skip locked) as free
    where gone.id = free.id;
    perform pg_advisory_unlock_shared('backtick_runner'::regclass::oid::int, (p_runner % 2147483647)::int)
    from pg_locks
    where locktype = 'advisory'
      and pid = pg_backend_pid()
      and classid = 'backtick_runner'::regclass::oid
      and objid = (p_runner % 2147483647)::oid
      and mode = 'ShareLock';
end;
$$;
comment on function bt_unregister_runner is 'Sign a runner out and hand its jobs back; returns their ids.';
