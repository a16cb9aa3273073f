-- SPDX-License-Identifier: EPL-1.0+
--
-- uninstall.sql: drops all that install.sql made in the first schema of the search_path, with the jobs in it. The roles
-- stay, which belong to the whole server.
--
--   psql --dbname mydb --file sql/uninstall.sql
--
-- It refuses if there are jobs that have not ended, unless backtick.force is on.

\set ON_ERROR_STOP on

begin;

select pg_advisory_xact_lock(hashtext('backtick install'));
set local lock_timeout = '3s';
set local client_min_messages = warning;
select set_config('search_path', format('%I, pg_temp', current_schema()), true);

do $uninstall$
declare
    v_schema constant regnamespace := current_schema()::regnamespace;
    v_ours   constant text := format(
        'class.relnamespace = %L::regnamespace and class.relname like %L', v_schema, 'backtick\_%');
    v_others constant text := format(
        'select class.oid::regclass::text from pg_class as class where class.relkind in (%L, %L, %L) and not (%s)
         union all
         select format(%L, trigger.tgname, class.oid::regclass)
         from pg_trigger as trigger
         join pg_class as class on class.oid = trigger.tgrelid
         where not trigger.tgisinternal and not (%4$s)', 'r', 'v', 'm', v_ours, 'trigger %s on %s');
    v_before text[];
    v_drops  text[];
    v_lost   text;
    v_what   text;
begin
    if to_regclass('backtick_queue') is null then
        return;
    end if;
    if current_setting('backtick.force', true) is distinct from 'on' and exists (select from backtick_queue) then
        raise exception 'uninstall: there are jobs in schema % that have not ended', current_schema()
            using errcode = 'object_in_use',
                  hint = 'They would be lost: uninstall(force=True), or in psql set backtick.force to on, destroys them.';
    end if;
    execute format('select array(%s)', v_others) into v_before;
    -- All of it before the first is dropped, which may take others along.
    execute 'select array(
        select format(''%s if exists %s'', case class.relkind when ''v'' then ''view'' when ''c'' then ''type'' else ''table'' end,
                      class.oid::regclass)
        from pg_class as class
        where class.relkind in (''v'', ''c'', ''r'') and ' || v_ours || ')'
    into v_drops;
    v_drops := v_drops || array(
        select format('%s if exists %s', case proc.prokind when 'a' then 'aggregate' else 'function' end, proc.oid::regprocedure)
        from pg_proc as proc
        where proc.pronamespace = v_schema
          and proc.proname like 'bt\_%'
          and not exists (  -- amcheck's and pageinspect's are called so, too
              select from pg_depend where classid = 'pg_proc'::regclass and objid = proc.oid and deptype = 'e'
          )
        order by proc.prokind
    );
    foreach v_what in array v_drops loop
        execute format('drop %s cascade', v_what);
    end loop;

    execute format('select min(other.name) from unnest($1) as other (name) where other.name not in (%s)', v_others)
    into v_lost using v_before;
    if v_lost is not null then
        raise exception 'uninstall: % is built upon backtick', v_lost
            using errcode = 'dependent_objects_still_exist', hint = 'Drop it first; nothing was changed.';
    end if;
end;
$uninstall$;

commit;
