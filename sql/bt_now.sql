-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_now: the one clock. Every function of backtick reads the time here and nowhere else, so a
-- test that replaces it moves the time of the whole queue; no machine's clock but the database's counts.
create or replace function bt_now()
    returns timestamptz
    language sql
    volatile
    parallel safe
as 'select pg_catalog.clock_timestamp()';
comment on function bt_now is 'The time that backtick goes by: the database''s clock.';
