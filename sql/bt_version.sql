-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_version: the version of tables and functions that this database holds.
--
-- Raised when backtick.py needs what sql/ did not have before. backtick.py names the version that it was written for
-- (SQL_VERSION) and takes that one and the next: functions serve the version before for so long. So upgrade the
-- database first, then processes one by one.

-- An older sql/ does not replace a newer one.
do $$
declare
    v_installed int := 0;
begin
    if to_regprocedure('bt_version()') is not null then
        execute 'select bt_version()' into v_installed;
    end if;
    if v_installed > 4 then
        raise exception 'bt_version: this database holds version %, this sql/ is version 4', v_installed
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Install from a checkout of backtick that is at least as new as the database.';
    end if;
end;
$$;

create or replace function bt_version()
    returns int
    language sql
    immutable
    parallel safe
as 'select 4';
comment on function bt_version is 'The version of backtick''s tables and functions in this database.';
