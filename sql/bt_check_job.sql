-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_check_job: refuse what cannot be a job, naming the value and the rule.
--
-- The table's checks hold the same rules for whoever writes to it directly, but for the queue's name: this gives the words.
--
-- Callers pin the search_path; doing so here too took a tenth of the time of bt_enqueue.
--
-- raises    22004 null_value_not_allowed, 22023 invalid_parameter_value
drop function if exists bt_check_job(text, json, text, timestamptz, int, int);  -- of version 3
create or replace function bt_check_job(
    p_name       text,
    p_args       json,
    p_queue      text,
    p_run_at     timestamptz,
    p_priority   int,
    p_max_tries  int,
    p_expires_at timestamptz default null,
    p_tags       text[] default null
)
    returns void
    language plpgsql
    immutable
as $$
begin
    if p_name is null or p_args is null then
        raise exception 'bt_enqueue: % must not be null', case when p_name is null then 'p_name' else 'p_args' end
            using errcode = 'null_value_not_allowed',
                  hint = 'Leave an argument out to get its default; p_name has none.';
    end if;
    if char_length(p_name) not between 1 and 200 then
        raise exception 'bt_enqueue: the name "%" has % characters', left(p_name, 60), char_length(p_name)
            using errcode = 'invalid_parameter_value',
                  hint = 'A worker''s name has 1 to 200 characters: its module and function, as in myjobs.log_sum.';
    end if;
    if p_queue <> 'default' then  -- to ask takes 3 us
        perform bt_check_queue('bt_enqueue', p_queue);
    end if;
    if json_typeof(p_args) not in ('array', 'object') then
        raise exception 'bt_enqueue: args are a JSON %: %', json_typeof(p_args), left(p_args::text, 60)
            using errcode = 'invalid_parameter_value',
                  hint = 'Pass an array of positional arguments, [3, 4], or an object of keyword arguments, {"a": 3}; '
                         'both at once are {"*": [3], "b": 4}.';
    end if;
    if octet_length(p_args::text) > 16777216 then
        raise exception 'bt_enqueue: args have % bytes', octet_length(p_args::text)
            using errcode = 'invalid_parameter_value',
                  hint = 'Args have at most 16777216 bytes. Pass large things as a key under which the worker finds them.';
    end if;
    if p_priority not between 0 and 9 then
        raise exception 'bt_enqueue: the priority is %', p_priority
            using errcode = 'invalid_parameter_value', hint = 'A priority is 0 (first) to 9; 5 is the default.';
    end if;
    if p_run_at < '0001-01-03 00:00+00' or p_run_at >= '9999-12-30 00:00+00' then
        raise exception 'bt_enqueue: run_at is %', p_run_at
            using errcode = 'invalid_parameter_value', hint = 'run_at is a time in the years 1 to 9999, not infinity.';
    end if;
    if p_expires_at < '0001-01-03 00:00+00' or p_expires_at >= '9999-12-30 00:00+00' then
        raise exception 'bt_enqueue: expires_at is %', p_expires_at
            using errcode = 'invalid_parameter_value', hint = 'expires_at is a time in the years 1 to 9999, not infinity.';
    end if;
    if p_tags is not null and (
        cardinality(p_tags) > 20
        or array_ndims(p_tags) > 1
        or exists (select from unnest(p_tags) as given (tag) where given.tag is null or char_length(given.tag) not between 1 and 100)
    ) then
        raise exception 'bt_enqueue: the tags are %', left(p_tags::text, 200)
            using errcode = 'invalid_parameter_value', hint = 'A job has at most 20 tags, each of 1 to 100 characters.';
    end if;
    if p_max_tries < 1 then
        raise exception 'bt_enqueue: max_tries is %', p_max_tries
            using errcode = 'invalid_parameter_value', hint = 'max_tries is at least 1; null leaves it to the worker.';
    end if;
end;
$$;
comment on function bt_check_job is 'Raise an error, with value and rule, if this cannot be a job.';
