-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_heartbeat: a runner's sign of life, wanted several times within its lease_ms.
--
-- p_runner   what bt_register_runner returned
-- returns    false if the runner has been given up for dead: its claims are void, it must register anew
create or replace function bt_heartbeat(p_runner bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    update backtick_runner set heartbeat_at = bt_now() where id = p_runner;
    return found;
end;
$$;
comment on function bt_heartbeat is 'A runner''s sign of life; false if it has been given up for dead.';
