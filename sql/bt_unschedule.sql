-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_unschedule: remove a schedule; what it has fired goes on.
--
-- p_name    the schedule's name
-- returns   whether there was one
create or replace function bt_unschedule(p_name text)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    delete from backtick_schedule where name = p_name;
    return found;
end;
$$;
comment on function bt_unschedule is 'Remove a schedule; false if there is none of that name.';
