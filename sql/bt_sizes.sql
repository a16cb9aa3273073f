-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_sizes: how large the tables are, the largest first, what is dead in them, and when somebody last cleaned up.
--
-- returns   a row for each table: its rows, about; those that are dead, about; bytes of the table with what is stored apart,
--           and of its indexes; when it was last vacuumed and analyzed, by hand or by itself
create or replace function bt_sizes()
    returns table (
        name        text,
        live        bigint,
        dead        bigint,
        bytes       bigint,
        index_bytes bigint,
        vacuumed_at timestamptz,
        analyzed_at timestamptz
    )
    language sql
    stable
    set search_path from current
    set jit to off
as $$
    select relation.relname::text,
           coalesce(nullif(stat.n_live_tup, 0), greatest(relation.reltuples, 0)::bigint),
           coalesce(stat.n_dead_tup, 0),
           pg_table_size(relation.oid),
           pg_indexes_size(relation.oid),
           greatest(stat.last_vacuum, stat.last_autovacuum),
           greatest(stat.last_analyze, stat.last_autoanalyze)
    from pg_class as relation
    left join pg_stat_all_tables as stat on stat.relid = relation.oid
    where relation.relnamespace = (select relnamespace from pg_class where oid = 'backtick_queue'::regclass)
      and relation.relname like 'backtick\_%'
      and relation.relkind = 'r'
    order by pg_total_relation_size(relation.oid) desc, relation.relname
$$;
comment on function bt_sizes is 'How large the tables are, what is dead in them, and when they were cleaned up.';
