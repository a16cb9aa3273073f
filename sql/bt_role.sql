-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_role: the role that the session acts as.
--
-- Within a `security definer` function current_user is the function's owner. What was said with `set role`
-- holds on there, and nobody can set a role that he is not a member of; else it is who logged in.
create or replace function bt_role()
    returns text
    language sql
    stable
    parallel safe
as $$ select coalesce(nullif(pg_catalog.current_setting('role'), 'none'), session_user)::text $$;
comment on function bt_role is 'The role that the session acts as, which a job is stored with.';

-- bt_own_jobs_only: whether producers see no jobs but their own; python backtick.py roles --own-jobs sets it.
--
-- A function, like bt_now, for it costs nothing then, and only the owner can replace it. Installing again leaves it.
do $do$
begin
    if to_regprocedure('bt_own_jobs_only()') is null then
        create function bt_own_jobs_only() returns boolean language sql immutable parallel safe as 'select false';
    end if;
end;
$do$;
comment on function bt_own_jobs_only is 'Whether a role that may not read backtick_job is told the state of its own jobs only.';

-- bt_may_see: whether the session's role is told of a job that another has enqueued.
create or replace function bt_may_see(p_enqueued_by text)
    returns boolean
    language sql
    stable
    set search_path from current
as $$
    select not bt_own_jobs_only()
        or coalesce(p_enqueued_by = bt_role(), false)
        or has_any_column_privilege(bt_role(), 'backtick_job', 'select')
$$;
comment on function bt_may_see is 'Whether the session''s role is told of a job that the given role enqueued.';
