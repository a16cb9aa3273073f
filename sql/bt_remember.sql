-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_remember: add to what is kept of a job's past, backtick_queue.attempts.
--
-- Kept are the last ten failures and the last ten of all else (snoozes, retries), oldest first, each of 3 000 characters at
-- most: of a traceback the end, which says most. What is sealed of an error is not: of the newest failure
-- backtick_queue.error has it, and all of the traceback.
--
-- p_attempts  what is kept so far; null: nothing
-- p_entry     what happened: how (failed, crashed, snoozed, retried, or the state in which it had ended), and what is
--             known of it: try, runner, host and so on; at, if it was not now
-- p_error     the error that came of it: class, message and traceback; null: none
-- returns     what is kept from now on
create or replace function bt_remember(p_attempts jsonb, p_entry jsonb, p_error jsonb default null)
    returns jsonb
    language sql
    volatile
    set search_path from current
    set timezone to 'UTC'
as $$
    select jsonb_agg(kept.entry order by kept.place)
    from (
        select past.entry, past.place,
               row_number() over (partition by past.entry ->> 'how' in ('failed', 'crashed', 'exceeded') order by past.place desc)
        from (
            select entry, place
            from jsonb_array_elements(p_attempts) with ordinality as given (entry, place)
            union all
            select jsonb_strip_nulls(p_entry || jsonb_build_object(
                       'at', coalesce((p_entry ->> 'at')::timestamptz, bt_now()),
                       'claimed_at', (p_entry ->> 'claimed_at')::timestamptz,
                       'class', left(p_error ->> 'class', 200),
                       'message', left(p_error ->> 'message', 500),
                       'traceback', nullif(right(p_error ->> 'traceback', 2000), ''))),
                   coalesce(jsonb_array_length(p_attempts), 0) + 1
        ) as past
    ) as kept (entry, place, age)
    where kept.age <= 10
$$;
comment on function bt_remember is 'Add to what is kept of a job''s past: the last ten failures, and the last ten of all else.';
