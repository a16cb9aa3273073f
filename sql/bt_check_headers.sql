-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_check_headers: refuse headers that are not a small object; asked only where there are some.
--
-- Callers pin the search_path; doing so here too took a tenth of the time of bt_enqueue.
--
-- p_headers   the headers of a job; null: none
-- returns     them; null for {}, too
-- raises      22023 invalid_parameter_value
create or replace function bt_check_headers(p_headers jsonb)
    returns jsonb
    language plpgsql
    immutable
    set search_path from current
as $$
begin
    if jsonb_typeof(p_headers) <> 'object' or octet_length(p_headers::text) > 8192 then
        raise exception 'bt_enqueue: the headers are a JSON % of % bytes', jsonb_typeof(p_headers), octet_length(p_headers::text)
            using errcode = 'invalid_parameter_value',
                  hint = 'Headers are an object of at most 8192 bytes, {"tenant": "acme"}: they go with each job, and what is large is an argument.';
    end if;
    return nullif(p_headers, '{}');
end;
$$;
comment on function bt_check_headers is 'The headers of a job; an error if they are not a small object.';
