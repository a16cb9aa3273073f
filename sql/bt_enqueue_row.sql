-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_enqueue_row: a trigger that turns each row's change into a job.
--
--   create trigger order_placed after insert on orders
--       for each row execute function bt_enqueue_row('myjobs.on_order');
--
-- The worker is called with keyword arguments: operation ('INSERT', 'UPDATE', 'DELETE'), table
-- ('public.orders'), new and old (the row as an object; null where there is none). Values are as to_json has them, but
-- for numeric, which comes as a Decimal: JSON's numbers are floats to most readers, and lose digits.
--
-- A trigger cannot seal: the row is stored in clear, and a worker that demands sealed arguments refuses it.
-- For such a worker, write a trigger that queues the row's key only, for a worker that does not.
--
-- It runs with the rights of whoever changes the row, who needs those of a producer: making JSON of a row may run
-- a function of the table's owner (create cast), so it must never run with the rights of somebody else.
--
-- With a key, several changes of what one key names make one job while it waits, which has the last one's row; a change
-- while it runs makes one that waits behind it. A column, and no constant: what should be one job is nearly always what
-- concerns one row, or all rows that have something in common, the customer say. The key is the table, a colon, and what
-- stands in the column; null there: none.
--
-- The job's headers are what the transaction has said by  set local backtick.headers = '{"tenant": "acme"}';
--
-- trigger arguments   the worker's name; optionally the queue; the priority; an interval after which the job expires, empty:
--                     none; the column whose value is its key
-- raises              39P01 trigger_protocol_violated if not called for each row or without a name
create or replace function bt_enqueue_row()
    returns trigger
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_table constant text := format('%I.%I', tg_table_schema, tg_table_name);
    v_key   text;
begin
    if tg_level <> 'ROW' or tg_nargs not between 1 and 5 or tg_argv[2] !~ '^[0-9]$' then
        raise exception 'bt_enqueue_row: trigger % is for each % and has the arguments %', tg_name, lower(tg_level),
                coalesce('''' || array_to_string(tg_argv, ''', ''') || '''', 'none')
            using errcode = 'trigger_protocol_violated',
                  hint = 'Write: for each row execute function bt_enqueue_row(''module.worker'' [, ''queue'' [, ''priority'' [, ''1 hour'' [, ''column'']]]]).';
    end if;
    if tg_nargs = 5 then
        if not to_jsonb(coalesce(new, old)) ? tg_argv[4] then
            raise exception 'bt_enqueue_row: trigger % names the column "%", which % has not', tg_name, tg_argv[4], v_table
                using errcode = 'trigger_protocol_violated', hint = 'The fifth argument is a column, whose value is the key of the job.';
        end if;
        v_key := v_table || ':' || (to_jsonb(coalesce(new, old)) ->> tg_argv[4]);
    end if;

    perform bt_enqueue(
        p_name => tg_argv[0],
        p_args => json_build_object(
            'operation', tg_op,
            'table', v_table,
            'new', case when tg_op <> 'DELETE' then bt_row_json(tg_relid, to_json(new)) end,
            'old', case when tg_op <> 'INSERT' then bt_row_json(tg_relid, to_json(old)) end
        ),
        p_queue => coalesce(tg_argv[1], 'default'),
        p_priority => coalesce(tg_argv[2]::int, 5),
        p_expires_in => nullif(tg_argv[3], '')::interval,
        p_key => v_key,
        p_on_conflict => case when v_key is not null then 'replace' end,
        p_successor => case when v_key is not null then true end,
        p_headers => nullif(current_setting('backtick.headers', true), '')::jsonb
    );
    return coalesce(new, old);
end;
$$;
comment on function bt_enqueue_row is 'Trigger function: queue a job for each row''s change; its argument is the worker''s name.';

-- bt_row_json: a row of a table as JSON, each numeric of it as backtick.py stores a Decimal: {"$decimal": "1.10"}.
create or replace function bt_row_json(p_table oid, p_row json)
    returns json
    language sql
    stable
    set search_path from current
as $$
    select case
        when exists (
            select from pg_attribute where attrelid = p_table and atttypid = 'numeric'::regtype and not attisdropped
        ) then (
            select json_object_agg(item.key,
                       case when value.atttypid is null or json_typeof(item.value) = 'null' then item.value
                            else json_build_object('$decimal', item.value #>> '{}') end
                       order by item.place)
            from json_each(p_row) with ordinality as item (key, value, place)
            left join pg_attribute as value
                on value.attrelid = p_table and value.attname = item.key and value.atttypid = 'numeric'::regtype
        )
        else p_row
    end
$$;
comment on function bt_row_json is 'A row of a table as JSON, in which no numeric loses a digit.';
