-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_rights: what the caller may see and do here, for a page that shows no button which would be refused.
--
-- returns   an object: the role; whether it reads arguments and the texts of errors (reads); the functions that it may call (may)
create or replace function bt_rights()
    returns json
    language sql
    stable
    set search_path from current
as $$
    select json_build_object(
        'role', bt_role(),
        'reads', has_table_privilege(bt_role(), 'backtick_job', 'select'),
        'may', (
            select json_agg(distinct function.proname order by function.proname)
            from pg_proc as function
            where function.pronamespace = (select relnamespace from pg_class where oid = 'backtick_queue'::regclass)
              and function.proname like 'bt\_%'
              and has_function_privilege(bt_role(), function.oid, 'execute')
        ))
$$;
comment on function bt_rights is 'What the caller may see and do here.';
