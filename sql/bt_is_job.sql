-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_is_job: the rules for a row of backtick_queue, whoever writes it; bt_check_job has the words for them.
--
-- One check with a function, in place of one for each rule: the server reads the text of each check of a table anew for
-- each statement that inserts, and for nine of them that took 25 us, half of the time of bt_enqueue. This takes 5. In bulk,
-- a row costs 0.3 us more.
--
-- Callers pin the search_path, as for bt_check_job.
create or replace function bt_is_job(
    p_queue     text,
    p_name      text,
    p_args      json,
    p_priority  int,
    p_run_at    timestamptz,
    p_max_tries int,
    p_gate      int,
    p_group_key text,
    p_key       text
)
    returns boolean
    language plpgsql
    immutable
    parallel safe
as $$
begin
    return char_length(p_queue) between 1 and 200
        and char_length(p_name) between 1 and 200
        and json_typeof(p_args) in ('array', 'object')
        and p_priority between 0 and 9
        and p_run_at >= '0001-01-03 00:00+00' and p_run_at < '9999-12-30 00:00+00'
        and (p_max_tries is null or p_max_tries > 0)
        and p_gate between 0 and 2
        and (p_group_key is null or char_length(p_group_key) between 1 and 200)
        and (p_key is null or char_length(p_key) between 1 and 200);
end;
$$;
comment on function bt_is_job is 'Whether this can be a row of backtick_queue.';
