-- SPDX-License-Identifier: EPL-1.0+
--
-- upgrade.sql: what install.sql would have everybody wait for, made before it and beside all work: indexes of large tables.
--
-- A query; each row is a statement, to be executed by itself and in this order, not within a transaction. None, if all is there,
-- or the tables are so small that it takes a moment. What is made here install.sql finds. `backtick.py install` and psql with
-- install.sql execute this first; who installs within a transaction of his own (a migration) may have psql do it before.
--
-- An index that was not finished, for somebody ended it, is dropped and made anew. To make one takes as long as the oldest
-- transaction that is open, and holds up nobody.

with given as (
    select here.name,
           to_regclass(format('%I.backtick_queue', here.name)) as queue,
           to_regclass(format('%I.backtick_done', here.name)) as done
    from (select coalesce(current_schema(), 'pg_catalog')) as here (name)
), made (place, needed, name, statement) as (
    values
        (1, 'queue', 'backtick_queue_order', 'on %I.backtick_queue (queue, gate, priority, run_at, (id + 0))'),
        (2, 'queue', 'backtick_queue_worker', 'on %I.backtick_queue (queue, name, gate, priority, run_at, (id + 0))'),
        (3, 'queue', 'backtick_queue_after', 'on %I.backtick_queue (queue, priority, run_at) where after_job is not null'),
        (4, 'queue', 'backtick_queue_turn',
         'on %I.backtick_queue (hashtext(queue), group_key, gate, priority, run_at, (id + 0)) where group_key is not null'),
        (5, 'queue', 'backtick_queue_later',
         'on %I.backtick_queue (hashtext(queue), run_at, group_key) where gate + 0 = 1 and run_at > created_at'),
        (6, 'queue', 'backtick_queue_keys', 'on %I.backtick_queue (queue, key, (is_second is null)) where key is not null'),
        (7, 'queue', 'backtick_queue_left', 'on %I.backtick_queue (batch, (id + 0)) where batch is not null'),
        (8, 'queue', 'backtick_queue_expires', 'on %I.backtick_queue (expires_at) where expires_at is not null'),
        (9, 'done', 'backtick_done_key', 'on %I.backtick_done (queue, key, created_at) where key is not null'),
        (10, 'done', 'backtick_done_batch', 'on %I.backtick_done (batch, state) where batch is not null'),
        (11, 'done', 'backtick_done_class', 'on %I.backtick_done ((error ->> ''class''), finished_at) where error is not null'),
        (12, 'done', 'backtick_done_name', 'on %I.backtick_done (name, finished_at) where state <> ''done'''),
        (13, 'done', 'backtick_done_queue', 'on %I.backtick_done (queue, finished_at) where state <> ''done'''),
        (14, 'done', 'backtick_done_tags', 'on %I.backtick_done using gin (tags) where tags is not null'),
        (15, 'done', 'backtick_done_schedule', 'on %I.backtick_done (schedule, scheduled_for) where schedule is not null')
), missing as (
    select made.place, made.name,
           format('create %s index concurrently %I ' || made.statement,
                  case when made.name = 'backtick_queue_keys' then 'unique' end, made.name, given.name) as statement,
           index.indexrelid is not null as is_unfinished,
           given.name as schema
    from given
    cross join made
    left join pg_index as index
        on index.indexrelid = to_regclass(format('%I.%I', given.name, made.name))
    where index.indisvalid is not true
      and pg_relation_size(case made.needed when 'queue' then given.queue else given.done end) > 16777216
), altered (name, statement) as (
    values
        ('queue', 'add column if not exists gate smallint not null default 0, add column if not exists group_key text,'
                  ' add column if not exists key text, add column if not exists batch bigint,'
                  ' add column if not exists is_second boolean, add column if not exists expires_at timestamptz'),
        ('done', 'add column if not exists key text, add column if not exists batch bigint, add column if not exists tags text[]')
)
select steps.statement
from (
    select 0 as place, format('drop index concurrently %I.%I', missing.schema, missing.name) as statement
    from missing
    where missing.is_unfinished
    union all
    select 1, format($alter$
        do $$
        begin
            for v_try in 1 .. 200 loop
                begin
                    perform set_config('lock_timeout', '100ms', true);
                    alter table %I.backtick_%s %s;
                    return;
                exception when lock_not_available then
                    if v_try = 200 then
                        raise;
                    end if;
                    perform pg_sleep(0.05);  -- let others pass
                end;
            end loop;
        end;
        $$$alter$, given.name, altered.name, altered.statement)
    from given
    cross join altered
    where exists (select from missing where missing.name like 'backtick\_' || altered.name || '%')
    union all
    select 1 + missing.place, missing.statement from missing
) as steps
order by steps.place
\gexec
