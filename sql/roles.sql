-- SPDX-License-Identifier: EPL-1.0+
--
-- roles.sql: creates the roles and gives each its rights on backtick in the first schema of the search_path.
-- Wants an installation (install.sql), and a superuser, or its owner with the right to create roles. Harmless to
-- repeat; from then on install.sql keeps the rights up.
--
--   python backtick.py roles                         needs no psql
--   psql --dbname mydb --file sql/roles.sql          does the same
--
-- The roles cannot log in: say `grant backtick_producer to web_app`. They belong to the whole server, their rights
-- to this schema of this database. python reads this file too: see install.sql.

\set ON_ERROR_STOP on

begin;

select pg_advisory_xact_lock(hashtext('backtick install'));
set local lock_timeout = '3s';
set local client_min_messages = warning;
select set_config('search_path', format('%I, pg_temp', current_schema()), true);

do $$
declare
    v_role text;
begin
    foreach v_role in array '{backtick_owner,backtick_producer,backtick_runner,backtick_viewer,backtick_admin}'::text[] loop
        if to_regrole(v_role) is null then
            begin
                execute format('create role %I nologin', v_role);
            exception when duplicate_object or unique_violation then
                null;  -- made for another database of this server just now
            end;
        end if;
    end loop;

    if exists (select from pg_roles where rolname = 'backtick_owner' and (rolsuper or rolcanlogin or rolcreaterole or rolbypassrls)) then
        raise exception 'the role backtick_owner can log in or is more than an ordinary role'
            using errcode = 'invalid_grant_operation',
                  hint = 'Functions run with its rights: alter role backtick_owner nologin nosuperuser nocreaterole nobypassrls.';
    end if;

    -- Who installed goes on to upgrade, and who runs this must be a member to give things to backtick_owner.
    for v_role in
        select rolname
        from pg_roles
        where rolname = current_user or oid = (select proowner from pg_proc where oid = 'bt_version()'::regprocedure)
    loop
        -- From version 16 on, who has made a role is a member that may not act as it.
        if not pg_has_role(v_role, 'backtick_owner', case
            when current_setting('server_version_num')::int >= 160000 then 'set' else 'member'
        end) then
            execute format('grant backtick_owner to %I', v_role);
        end if;
    end loop;

    if not has_schema_privilege('backtick_owner', current_schema(), 'create') then
        execute format('grant usage, create on schema %I to backtick_owner', current_schema());
    end if;

    -- This is what rights.sql looks for.
    execute format('alter function bt_version() owner to %I', 'backtick_owner');
end;
$$;

\ir rights.sql

commit;
