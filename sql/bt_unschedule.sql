-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_unschedule: remove a schedule; what it has fired goes on.
--
-- p_name    the schedule's name
-- returns   whether there was one
-- raises    22004 null_value_not_allowed
create or replace function bt_unschedule(p_name text)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_name is null then
        raise exception 'bt_unschedule: p_name must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass the schedule''s name, as backtick_recurring has it.';
    end if;

    delete from backtick_schedule where name = p_name;
    return found;
end;
$$;
comment on function bt_unschedule is 'Remove a schedule; false if there is none of that name.';
