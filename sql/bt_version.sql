-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_version: the version of tables and functions that this database holds.
--
-- Raised when backtick.py needs what sql/ did not have before. backtick.py names the version that it was written for
-- (SQL_VERSION); functions serve that version and the one before. So upgrade the database first, then processes one by
-- one; nothing is refused meanwhile.

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
    stable
    parallel restricted
    set search_path from current
as $$
    -- Who installs is told what is there. A backtick.py of version 3 takes nothing but 3, and is served.
    select case
        when exists (
            select from pg_locks
            where pid = pg_backend_pid()
              and locktype = 'advisory'
              and objid = (hashtext('backtick install')::bigint & 4294967295)::oid
              and objsubid = 1
        ) then 4
        else 3
    end
$$;
comment on function bt_version is 'The version of backtick.py that this database serves at least; to who installs, its own.';

-- bt_serves: whether a backtick.py of some version may use this database; asked by those from version 4 on.
create or replace function bt_serves(p_version int)
    returns boolean
    language sql
    immutable
    parallel safe
as 'select p_version in (3, 4)';
comment on function bt_serves is 'Whether a backtick.py of that version may use this database.';
