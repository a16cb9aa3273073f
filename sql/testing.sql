-- SPDX-License-Identifier: EPL-1.0+
--
-- testing.sql: a clock that a session can move, for tests of code that schedules. install.sql does not run it, but
-- testing.clock() of backtick.py does, in a database for tests; an upgrade puts the database's own clock back.
create or replace function bt_now()
    returns timestamptz
    language sql
    volatile
    parallel safe
as $$
    select pg_catalog.clock_timestamp()
        + coalesce(nullif(pg_catalog.current_setting('backtick.clock', true), ''), '0')::interval
$$;

-- bt_move_clock: how far the clock of this session, and of no other, goes ahead of the database's.
create or replace function bt_move_clock(p_ahead interval)
    returns timestamptz
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    perform set_config('backtick.clock', p_ahead::text, false);
    return bt_now();
end;
$$;
comment on function bt_move_clock is 'Move the clock of this session, in a database for tests.';
