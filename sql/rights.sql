-- SPDX-License-Identifier: EPL-1.0+
--
-- rights.sql: who may do what. Part of roles.sql, and of install.sql; does nothing where roles.sql never ran.
--
-- Everything then belongs to backtick_owner, who cannot log in and is no superuser; public has no rights. What a role
-- may do it does by calling functions, which run with the rights of backtick_owner (`security definer`) and look
-- names up in this schema only. Hence two rules, which tests check:
--
-- - Nobody but the owner may create anything in the schema, or a function of somebody's own might be found there
--   that fits a call better than ours.
-- - A function whose parameters are of any type (anycompatible) runs with the rights of the caller: a value of a
--   type of his own brings functions of his own with it.
--
-- A function that the list does not name is for the owner, and for other functions to call.
do $rights$
declare
    c_roles constant text[] := '{backtick_producer,backtick_runner,backtick_viewer,backtick_admin}';

    -- name, with whose rights it runs, who may call it
    c_functions constant text[] := array[
        ['bt_version',            'caller', 'producer runner viewer admin'],
        ['bt_serves',             'caller', 'producer runner viewer admin'],
        ['bt_now',                'caller', 'producer runner viewer admin'],
        ['bt_role',               'caller', 'producer runner viewer admin'],
        ['bt_rights',             'owner',  'producer runner viewer admin'],

        ['bt_enqueue',            'caller', 'producer'],
        ['bt_enqueue_many',       'caller', 'producer'],
        ['bt_enqueue_unique',     'caller', 'producer'],
        ['bt_enqueue_row',        'caller', 'producer'],
        ['bt_row_json',           'caller', 'producer'],
        ['bt_expiry',             'caller', 'producer'],
        ['bt_put_job',            'owner',  'producer'],
        ['bt_put_jobs',           'owner',  'producer'],
        ['bt_put_special',        'owner',  'producer'],

        ['bt_batch',              'owner',  'producer'],
        ['bt_close_batch',        'owner',  'producer admin'],
        ['bt_cancel_batch',       'owner',  'producer admin'],
        ['bt_batch_of',           'owner',  'producer viewer admin'],
        ['bt_progress',           'owner',  'producer viewer admin'],

        ['bt_home',               'owner',  'producer runner admin'],

        ['bt_register_runner',    'owner',  'runner'],
        ['bt_declare_workers',    'owner',  'runner'],
        ['bt_attach',             'owner',  'runner'],
        ['bt_heartbeat',          'owner',  'runner'],
        ['bt_sleep',              'owner',  'runner'],
        ['bt_unregister_runner',  'owner',  'runner'],
        ['bt_claim',              'owner',  'runner'],
        ['bt_complete',           'owner',  'runner'],
        ['bt_cancel_held',        'owner',  'runner'],
        ['bt_note_success',       'owner',  'runner'],
        ['bt_fail',               'owner',  'runner'],
        ['bt_snooze',             'owner',  'runner'],
        ['bt_locked',             'owner',  'runner'],
        ['bt_release',            'owner',  'runner'],
        ['bt_release_except',     'owner',  'runner'],
        ['bt_holds',              'owner',  'runner'],
        ['bt_revive',             'owner',  'runner'],
        ['bt_expire',             'owner',  'runner'],
        ['bt_cancel_asked',       'owner',  'runner'],
        ['bt_paused',             'owner',  'runner'],
        ['bt_note_progress',      'owner',  'runner'],
        ['bt_end_stuck',          'caller', 'runner'],
        ['bt_run_due',            'owner',  'runner'],
        ['bt_due_queues',         'owner',  'runner'],
        ['bt_until_fire',         'owner',  'runner'],
        ['bt_chores',             'owner',  'runner'],
        ['bt_declare',            'owner',  'runner'],
        ['bt_tell_orphans',       'owner',  'runner'],
        ['bt_tell_alerts',        'owner',  'runner'],
        ['bt_note_stats',         'owner',  'runner'],

        ['bt_schedule_recurring', 'caller', 'runner admin'],
        ['bt_schedule_cron',      'caller', 'runner admin'],
        ['bt_put_schedule',       'owner',  'runner admin'],
        ['bt_unschedule',         'owner',  'admin'],

        ['bt_state',              'owner',  'producer viewer admin'],
        ['bt_why',                'owner',  'producer viewer admin'],
        ['bt_due_of',             'owner',  'viewer admin'],  -- these four for backtick_orphan
        ['bt_is_living',          'caller', 'viewer admin'],
        ['bt_nearest',            'caller', 'viewer admin'],
        ['bt_edits',              'caller', 'viewer admin'],
        ['bt_result',             'owner',  'producer admin'],
        ['bt_ended',              'owner',  'producer admin'],
        ['bt_wait_for',           'owner',  'producer admin'],
        ['bt_cancel',             'owner',  'producer admin'],
        ['bt_cancel_all',         'owner',  'admin'],
        ['bt_retry',              'owner',  'producer admin'],
        ['bt_retry_all',          'owner',  'admin'],
        ['bt_delete',             'owner',  'admin'],
        ['bt_delete_all',         'owner',  'admin'],
        ['bt_count',              'owner',  'viewer admin'],
        ['bt_about',              'owner',  'viewer admin'],
        ['bt_job_of',             'owner',  'viewer admin'],
        ['bt_stats',              'owner',  'viewer admin'],
        ['bt_enqueued',           'owner',  'viewer admin'],
        ['bt_check',              'owner',  'runner viewer admin'],
        ['bt_load',               'owner',  'viewer admin'],
        ['bt_doctor',             'caller', 'viewer admin'],
        ['bt_doctor_tables',      'owner',  'viewer admin'],
        ['bt_doctor_jobs',        'owner',  'viewer admin'],
        ['bt_age',                'caller', 'viewer admin'],
        ['bt_metrics',            'owner',  'runner viewer admin'],
        ['bt_status',             'owner',  'viewer admin'],
        ['bt_jobs',               'owner',  'viewer admin'],
        ['bt_states',             'owner',  'viewer admin'],
        ['bt_sizes',              'owner',  'viewer admin'],
        ['bt_pulse',              'owner',  'viewer admin'],
        ['bt_queues',             'owner',  'viewer admin'],
        ['bt_workers',            'owner',  'viewer admin'],
        ['bt_failures',           'owner',  'viewer admin'],
        ['bt_runners',            'owner',  'viewer admin'],
        ['bt_schedules',          'owner',  'viewer admin'],
        ['bt_orphans',            'owner',  'viewer admin'],
        ['bt_fire',               'owner',  'admin'],
        ['bt_drain',              'owner',  'admin'],
        ['bt_is_drained',         'owner',  'runner'],
        ['bt_pause',              'owner',  'admin'],
        ['bt_resume',             'owner',  'admin'],
        ['bt_limit',              'owner',  'admin'],
        ['bt_limits',             'owner',  'viewer admin'],
        ['bt_groups',             'owner',  'viewer admin'],
        ['bt_pauses',             'owner',  'runner viewer admin'],
        ['bt_remove_old',         'owner',  'runner admin'],

        ['bt_show',               'owner',  'admin'],
        ['bt_key_of',             'caller', 'admin'],
        ['bt_list_sealed',        'owner',  'admin'],
        ['bt_reseal',             'owner',  'admin'],
        ['bt_reseal_schedule',    'owner',  'admin'],
        ['bt_list_sealed_results', 'owner', 'admin'],
        ['bt_reseal_results',     'owner',  'admin'],

        ['bt_next_cron',          'caller', 'producer runner viewer admin'],
        ['bt_cron_times',         'caller', 'producer runner viewer admin'],
        ['bt_check_cron',         'caller', 'producer runner viewer admin'],
        ['bt_is_zone',            'caller', 'producer runner viewer admin'],
        ['bt_cron_at_least',      'caller', 'producer runner viewer admin'],
        ['bt_cron_value',         'caller', 'producer runner viewer admin'],
        ['bt_cron_item',          'caller', 'producer runner viewer admin'],
        ['bt_cron_parse',         'caller', 'producer runner viewer admin'],
        ['bt_cron_weeks',         'caller', 'producer runner viewer admin'],
        ['bt_cron_days',          'caller', 'producer runner viewer admin'],
        ['bt_cron_match',         'caller', 'producer runner viewer admin'],
        ['bt_cron_wall',          'caller', 'producer runner viewer admin'],
        ['bt_cron_change',        'caller', 'producer runner viewer admin'],
        ['bt_cron_shown',         'caller', 'producer runner viewer admin'],
        ['bt_cron_after',         'caller', 'producer runner viewer admin']
    ];

    -- What a viewer reads: neither arguments nor the texts of errors, for both may name people. An admin reads all.
    c_columns constant text[] := array[
        ['backtick_job',       'id, queue, name, priority, run_at, state, tries, crashes, max_tries, created_at, started_at, '
                               'finished_at, runner, schedule, scheduled_for, cancel_asked_at, error_class, enqueued_by, '
                               'expires_at, tags, snoozes, progress, group_key, key, batch'],
        ['backtick_recurring', 'name, worker, interval_ms, spec, tz, queue, priority, max_tries, catch_up, overlap, '
                               'next_run_at, last_run_at, lateness, last_job, last_state, skipped, declared_at, has_worker, '
                               'error'],
        ['backtick_runner',    'id, host, pid, queues, names, lease_ms, locked, started_at, heartbeat_at, unlocked_at, '
                               'asleep_until, slots, version, drained_at, memory_mb'],
        ['backtick_setting',   'queue, paused_at, paused_by, paused_why, has_limits, is_closing'],
        ['backtick_orphan',    'queue, worker, jobs, oldest, why, nearest']
    ];

    v_schema constant regnamespace := quote_ident(current_schema())::regnamespace;
    v_all    constant text := array_to_string(c_roles, ', ');
    v_owner  oid;
    v_trusted oid[];
    v_others text;
    v_object record;
    v_right  text[];
    v_name   text;
begin
    select oid into v_owner from pg_roles where rolname = 'backtick_owner';
    if not exists (select from pg_proc where oid = 'bt_version()'::regprocedure and proowner = v_owner) then
        return;
    end if;

    -- The schema: all roles look into it, and nobody but its owners makes anything there.
    if not has_schema_privilege('backtick_owner', v_schema, 'usage, create') or exists (
        select from unnest(c_roles) as role (name) where not has_schema_privilege(role.name, v_schema, 'usage')
    ) then
        execute format('grant usage on schema %s to backtick_owner, %s', v_schema, v_all);
        execute format('grant create on schema %s to backtick_owner', v_schema);
    end if;
    if exists (
        select from pg_namespace as space, aclexplode(space.nspacl) as given
        where space.oid = v_schema and given.grantee = 0 and given.privilege_type = 'CREATE'
    ) then
        execute format('revoke create on schema %s from public', v_schema);
    end if;

    select array_agg(role.oid) into v_trusted
    from pg_roles as role
    where role.rolsuper
       or role.oid in (v_owner, to_regrole(quote_ident(current_user)))
       or role.oid = (select nspowner from pg_namespace where oid = v_schema)
       or role.oid = (select datdba from pg_database where datname = current_database());
    select string_agg(distinct what, ', ') into v_others
    from (
        select format('%s may create objects', case given.grantee when 0 then 'public' else given.grantee::regrole::text end)
        from pg_namespace as space, aclexplode(space.nspacl) as given
        where space.oid = v_schema
          and given.privilege_type = 'CREATE'
          and given.grantee <> all (v_trusted)
        union all
        select format('%s owns the function %s', proowner::regrole, oid::regprocedure)
        from pg_proc
        where pronamespace = v_schema
          and proowner <> all (v_trusted)
        union all
        select format('%s owns the operator %s', oprowner::regrole, oid::regoperator)
        from pg_operator
        where oprnamespace = v_schema
          and oprowner <> all (v_trusted)
    ) as found (what);
    if v_others is not null then
        raise exception 'roles would not be safe in the schema %: %', v_schema, left(v_others, 500)
            using errcode = 'invalid_grant_operation',
                  hint = 'Functions run with the rights of backtick_owner and look names up in this schema. Install '
                         'backtick in a schema of its own: BT_SCHEMA=backtick.';
    end if;

    -- Tables and views
    for v_object in
        select format('%I', relname) as name, relowner as owner
        from pg_class
        where relnamespace = v_schema
          and relname like 'backtick\_%'
          and relkind in ('r', 'v')
        order by relname
    loop
        if v_object.owner <> v_owner then
            execute format('alter table %s owner to backtick_owner', v_object.name);
        end if;
        execute format('revoke all on %s from public, %s', v_object.name, v_all);
        execute format('grant select on %s to backtick_admin', v_object.name);
    end loop;
    if (select typowner <> v_owner from pg_type where oid = 'backtick_floor'::regtype) then
        alter type backtick_floor owner to backtick_owner;
        revoke all on type backtick_floor from public;
    end if;
    foreach v_right slice 1 in array c_columns loop
        execute format('grant select (%s) on %s to backtick_viewer', v_right[2], v_right[1]);
    end loop;

    -- Functions
    for v_object in
        select oid::regprocedure::text as name, proname, proowner as owner
        from pg_proc
        where pronamespace = v_schema
          and proname like 'bt\_%'
          and not exists (  -- amcheck's and pageinspect's are called so, too
              select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e'
          )
        order by proname
    loop
        if v_object.owner <> v_owner then
            execute format('alter function %s owner to backtick_owner', v_object.name);
        end if;
        execute format('revoke all on function %s from public, %s', v_object.name, v_all);
        foreach v_right slice 1 in array c_functions loop
            if v_right[1] = v_object.proname then
                if v_right[2] = 'owner' then
                    execute format('alter function %s security definer', v_object.name);
                end if;
                foreach v_name in array string_to_array(v_right[3], ' ') loop
                    execute format('grant execute on function %s to %I', v_object.name, 'backtick_' || v_name);
                end loop;
            end if;
        end loop;
    end loop;
end;
$rights$;
