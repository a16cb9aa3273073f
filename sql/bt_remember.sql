-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_remember: what became of a job so far, and one thing more; the ten last are kept.
--
-- Bounded in bytes: no traceback, 500 characters of the message, and what is sealed only if it is short.
--
-- Callers pin the search_path.
--
-- p_attempts  backtick_queue.attempts; null: nothing yet
-- p_entry     at, how, try, runner, host, and class and message of the error, if there is one
create or replace function bt_remember(p_attempts jsonb, p_entry jsonb)
    returns jsonb
    language sql
    immutable
    parallel safe
as $$
    select case when jsonb_array_length(p_attempts) >= 10 then p_attempts - 0 else coalesce(p_attempts, '[]') end
        || jsonb_build_array(
            p_entry - 'traceback'
            - case when octet_length(p_entry ->> '$sealed') > 2000 then '$sealed' else '' end
            || case
                when p_entry ? 'message' then jsonb_build_object('message', left(p_entry ->> 'message', 500))
                else '{}'
            end)
$$;
comment on function bt_remember is 'What became of a job so far, and one thing more; the ten last are kept.';
