-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_mend_sequences: set the sequences of ids right that are behind what the tables hold.
--
-- Logical replication and a dump of the data alone do not carry them, and a failover may lose their last steps. Then
-- ids would be given anew that jobs or runners of before have. Asked at each installation, and by each runner that
-- starts; what happens until then, bt_end sees to.
--
-- Others take numbers meanwhile. So a sequence is set by one session at a time, which waits for nobody, and so far
-- ahead that nobody's number can be beyond.
--
-- returns   how many were set
create or replace function bt_mend_sequences()
    returns int
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    c_ahead constant bigint := 1000;
    v_count int := 0;
    v_table text;
    v_most  bigint;
    v_ids   regclass;
begin
    if not pg_try_advisory_xact_lock('backtick_done'::regclass::oid::int, 0) then
        return 0;
    end if;

    for v_table, v_most in
        select 'backtick_queue', greatest(
            (select max(id) from backtick_queue), (select max(id) from backtick_done))
        union all
        select 'backtick_runner', greatest(
            (select max(id) from backtick_runner), (select max(runner) from backtick_claim))
    loop
        v_ids := pg_get_serial_sequence(v_table, 'id');
        if v_most > coalesce(pg_sequence_last_value(v_ids), 0) then
            perform setval(v_ids, v_most + c_ahead);
            v_count := v_count + 1;
        end if;
    end loop;
    return v_count;
end;
$$;
comment on function bt_mend_sequences is 'Set sequences of ids right that are behind what the tables hold; returns how many.';
