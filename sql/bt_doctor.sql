-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_doctor: what slows or threatens the queue, the worst first, each with the reason and what mends it; no rows: nothing.
--
-- It runs with the caller's rights, for what it may see of other sessions hangs on them (pg_read_all_stats). What it
-- cannot see it says.
--
-- p_client_time  the time of the caller's machine; null: it is not compared
-- p_free_bytes   how much room the disk has left, which SQL cannot see; null: how long the history will fit is not told
-- returns        a row for each finding: severity, error, warning or note; finding, its kind; subject, what it is about; the
--                reason, a sentence; cure, the command or setting that mends it
create or replace function bt_doctor(p_client_time timestamptz default null, p_free_bytes bigint default null)
    returns table (severity text, finding text, subject text, reason text, cure text)
    language plpgsql
    volatile
    set search_path from current
    set jit to off
as $$
#variable_conflict use_column
declare
    v_now   constant timestamptz := clock_timestamp();
    v_skew  interval;
begin
    v_skew := p_client_time - v_now;
    return query
        with session as materialized (
            select activity.pid, activity.usename, activity.application_name, activity.client_addr, activity.backend_xmin,
                   activity.xact_start, activity.state
            from pg_stat_activity as activity
            where activity.backend_type = 'client backend'
              and activity.pid <> pg_backend_pid()
        ), found (severity, finding, subject, reason, cure) as (
            select 'warning', 'snapshot', format('pid %s', holder.pid),
                   format('the session %s of %s (%s, %s) has a transaction open for %s: dead rows cannot be removed meanwhile', holder.pid,
                          holder.usename, coalesce(nullif(holder.application_name, ''), 'no name'),
                          coalesce(host(holder.client_addr), 'local'), bt_age(v_now - holder.xact_start)),
                   format('select pg_terminate_backend(%s), or end it where it runs', holder.pid)
            from (
                select session.*
                from session
                where session.backend_xmin is not null
                  and session.xact_start < v_now - interval '1 min'
                order by age(session.backend_xmin) desc
                limit 1
            ) as holder
            union all
            select 'warning', 'prepared transaction', prepared.gid,
                   format('the prepared transaction %s of %s is open for %s: dead rows cannot be removed meanwhile', prepared.gid,
                          prepared.owner, bt_age(v_now - prepared.prepared)),
                   format('rollback prepared %L, or commit prepared', prepared.gid)
            from pg_prepared_xacts as prepared
            where prepared.prepared < v_now - interval '1 min'
            union all
            select 'warning', 'replication slot', slot.slot_name::text,
                   format('the replication slot %s is not in use and holds %s', slot.slot_name, concat_ws(' and ',
                          case when slot.restart_lsn is not null then 'WAL' end,
                          case when coalesce(slot.xmin, slot.catalog_xmin) is not null then 'dead rows' end)),
                   format('select pg_drop_replication_slot(%L), or connect its standby', slot.slot_name)
            from pg_replication_slots as slot
            where not slot.active
              and (slot.restart_lsn is not null or slot.xmin is not null or slot.catalog_xmin is not null)
            union all
            select case when abs(extract(epoch from v_skew)) > 5 then 'error' else 'warning' end, 'clock', 'this machine',
                   format('the clock of this machine is %s %s that of the database, by which jobs are due',
                          bt_age(greatest(v_skew, -v_skew)), case when v_skew > interval '0' then 'ahead of' else 'behind' end),
                   'have NTP set the clocks of both machines'
            where abs(extract(epoch from v_skew)) > 1
            union all
            select case when used.sessions + 3 >= used.most then 'error' else 'warning' end, 'connections', 'max_connections',
                   format('%s of %s connections are taken', used.sessions, used.most),
                   'put a pooler before the database, end idle sessions, or raise max_connections, which takes a restart'
            from (
                select (select count(*) from session) as sessions,
                       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most
            ) as used
            where used.sessions > 0.8 * used.most
            union all
            select 'error', 'notify queue', 'pg_notify',
                   format('the queue of notifications is %s %% full: some session listens and does not read',
                          round(pg_notification_queue_usage() * 100)),
                   'end the session that listens and has been idle in a transaction for longest'
            where pg_notification_queue_usage() > 0.25
            union all
            select setting.severity, 'setting', setting.name, setting.reason, setting.cure
            from (
                values ('error', 'fsync', 'off', 'fsync is off: a crash of the machine may destroy all jobs', 'fsync = on'),
                       ('error', 'full_page_writes', 'off', 'full_page_writes is off: a crash of the machine may destroy pages',
                        'full_page_writes = on'),
                       ('warning', 'synchronous_commit', 'off',
                        'synchronous_commit is off: a crash of the server forgets the last jobs that were enqueued',
                        'synchronous_commit = on, for those who enqueue'),
                       ('note', 'data_checksums', 'off', 'checksums are off: a disk that errs is not noticed',
                        'pg_checksums --enable, with the server stopped'),
                       ('error', 'autovacuum', 'off', 'autovacuum is off: dead rows are never removed', 'autovacuum = on'),
                       ('error', 'track_counts', 'off', 'track_counts is off: autovacuum does not know what to do',
                        'track_counts = on')
            ) as setting (severity, name, bad, reason, cure)
            where current_setting(setting.name) = setting.bad
            union all
            select 'warning', 'rights', 'pg_read_all_stats',
                   format('%s may not see what other sessions do, so who holds a snapshot is not told', current_user),
                   format('grant pg_read_all_stats to %I', current_user)
            where not pg_has_role(current_user, 'pg_read_all_stats', 'usage')
            union all
            select 'error', 'standby', 'this server', 'the server is a standby: nothing can be enqueued or run here',
                   'connect to the primary: target_session_attrs=read-write'
            where pg_is_in_recovery()
            union all
            select * from bt_doctor_tables()
            union all
            select * from bt_doctor_jobs(p_free_bytes)
        )
        select found.severity, found.finding, found.subject, found.reason, found.cure
        from found
        order by array_position('{error,warning,note}', found.severity), found.finding, found.subject;
end;
$$;
comment on function bt_doctor is 'What slows or threatens the queue, the worst first, each with the reason and what mends it.';

-- bt_doctor_tables: the part of bt_doctor about tables and indexes.
create or replace function bt_doctor_tables()
    returns table (severity text, finding text, subject text, reason text, cure text)
    language sql
    volatile
    set search_path from current
    set jit to off
as $$
    with relation as materialized (
        select one.oid, one.relname, one.reloptions, one.relpages, one.reltuples, stat.n_live_tup, stat.n_dead_tup,
               stat.n_mod_since_analyze, stat.last_vacuum, stat.last_autovacuum, pg_relation_size(one.oid) as bytes
        from pg_class as one
        left join pg_stat_user_tables as stat on stat.relid = one.oid
        where one.relnamespace = (select relnamespace from pg_class where oid = 'backtick_queue'::regclass)
          and one.relname like 'backtick\_%'
          and one.relkind = 'r'
    )
    select 'error', 'autovacuum', relation.relname::text,
           format('autovacuum is switched off for %s: dead rows are never removed', relation.relname),
           format('alter table %s reset (autovacuum_enabled)', relation.oid::regclass)
    from relation
    where exists (select from unnest(relation.reloptions) as given (option) where given.option in ('autovacuum_enabled=false', 'autovacuum_enabled=off'))
    union all
    select 'warning', 'dead rows', relation.relname::text,
           format('%s has %s dead rows beside %s others: autovacuum cannot keep up, or a snapshot keeps it from removing them',
                  relation.relname, relation.n_dead_tup, relation.n_live_tup),
           format('vacuum %s, once no old snapshot is held', relation.oid::regclass)
    from relation
    where relation.n_dead_tup > 50000
      and relation.n_dead_tup > 0.3 * relation.n_live_tup
    union all
    select 'note', 'bloat', relation.relname::text,
           format('%s takes %s for %s rows', relation.relname, pg_size_pretty(relation.bytes), relation.n_live_tup),
           format('vacuum (full) %s in a quiet hour: it locks the table', relation.oid::regclass)
    from relation
    where relation.bytes > 100000000
      and relation.n_dead_tup < 50000
      and relation.bytes > 10000.0 * greatest(relation.n_live_tup, 1)
      and relation.relname <> 'backtick_done'
    union all
    select 'warning', 'statistics', relation.relname::text,
           format('%s rows of %s have changed since its statistics were made', relation.n_mod_since_analyze, relation.relname),
           format('analyze %s', relation.oid::regclass)
    from relation
    where relation.relname in ('backtick_queue', 'backtick_done')
      and relation.n_mod_since_analyze > 50000
      and relation.n_mod_since_analyze > 0.5 * greatest(relation.n_live_tup, 1)
    union all
    select 'error', 'invalid index', index.indexrelid::regclass::text,
           format('the index %s is not valid: its making was broken off', index.indexrelid::regclass),
           format('reindex index concurrently %s', index.indexrelid::regclass)
    from relation
    join pg_index as index on index.indrelid = relation.oid
    where not index.indisvalid
$$;
comment on function bt_doctor_tables is 'What slows or threatens the queue in its tables, for bt_doctor.';

-- bt_doctor_jobs: the part of bt_doctor about runners, and the room that the history takes.
create or replace function bt_doctor_jobs(p_free_bytes bigint)
    returns table (severity text, finding text, subject text, reason text, cure text)
    language sql
    volatile
    set search_path from current
    set jit to off
as $$
    select 'note', 'pooler', format('runner %s', runner.id),
           format('the runner %s on %s:%s sits behind a pooler: it hears no NOTIFY, and its death is noticed after its lease only',
                  runner.id, runner.host, runner.pid),
           'give runners a URL that leads past the pooler'
    from backtick_runner as runner
    where not runner.locked
      and bt_is_living(runner, bt_now())
    union all
    select 'warning', 'versions', runner.version,
           format('%s living runners are of version %s, which is not the newest that lives', count(*), runner.version),
           'upgrade them one by one'
    from backtick_runner as runner
    where bt_is_living(runner, bt_now())
      and runner.version < (select max(other.version) from backtick_runner as other where bt_is_living(other, bt_now()))
    group by runner.version
    union all
    select case when room.days < 2 then 'error' when room.days < 14 then 'warning' else 'note' end, 'room', 'backtick_done',
           format('the history takes %s and grows by %s a day, so %s of room are full in %s days, if nothing is removed',
                  pg_size_pretty(room.bytes), pg_size_pretty(room.daily::bigint), pg_size_pretty(p_free_bytes), round(room.days::numeric, 1)),
           'lower max_completed_ms and max_exceeded_ms, or make room'
    from (
        select size.bytes, size.daily, p_free_bytes / nullif(size.daily, 0) as days
        from (
            select pg_total_relation_size('backtick_done'::regclass) as bytes,
                   pg_total_relation_size('backtick_done'::regclass)::float8
                   / greatest(extract(epoch from bt_now() - min(first.finished_at)) / 86400, 0.01) as daily
            from unnest('{done,exceeded,canceled}'::text[]) as ended (state)
            cross join lateral (
                select job.finished_at from backtick_done as job where job.state = ended.state order by job.finished_at limit 1
            ) as first
        ) as size
    ) as room
    where room.days < 60
$$;
comment on function bt_doctor_jobs is 'What slows or threatens the queue in its runners and its history, for bt_doctor.';
