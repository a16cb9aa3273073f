-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_reseal: put newly sealed arguments and errors in the place of those sealed for an older key.
-- SQL cannot seal: `python backtick.py rekey` does, and calls these functions.
--
-- What changed since bt_list_sealed, or is locked by another just now, is left alone. So nothing here
-- waits for a runner, no runner waits for long, and it may be stopped and begun again at any time. A job
-- that is claimed meanwhile was read before or after: either opens, as long as runners have both keys.
--
-- p_ids         ids of jobs that have not ended
-- p_old_args    what bt_list_sealed returned, one a job
-- p_args        what to put in its place
-- p_old_errors  what bt_list_sealed returned, null where there is no error
-- p_errors      what to put in its place
-- returns       the ids of the jobs that were changed
-- raises        22023 invalid_parameter_value
create or replace function bt_reseal(
    p_ids        bigint[],
    p_old_args   text[],
    p_args       text[],
    p_old_errors jsonb[],
    p_errors     jsonb[]
)
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if cardinality(p_ids) is null
        or array[cardinality(p_old_args), cardinality(p_args), cardinality(p_old_errors), cardinality(p_errors)]
            is distinct from array_fill(cardinality(p_ids), array[4])
    then
        raise exception 'bt_reseal: % ids, % and % args, % and % errors',
                coalesce(cardinality(p_ids)::text, 'null'), coalesce(cardinality(p_old_args)::text, 'null'),
                coalesce(cardinality(p_args)::text, 'null'), coalesce(cardinality(p_old_errors)::text, 'null'),
                coalesce(cardinality(p_errors)::text, 'null')
            using errcode = 'invalid_parameter_value', hint = 'Pass arrays with one element a job.';
    end if;

    return query
        with given as (
            select *
            from unnest(p_ids, p_old_args, p_args, p_old_errors, p_errors)
                as given (id, old_args, args, old_error, error)
        ), unchanged as (
            select job.id, given.args, given.error
            from given
            join backtick_queue as job on job.id = given.id
            where job.args::text = given.old_args
              and job.error is not distinct from given.old_error
            order by job.id
            for no key update of job skip locked
        )
        update backtick_queue as job
        set args = unchanged.args::json,
            error = unchanged.error
        from unchanged
        where job.id = unchanged.id
        returning job.id;
end;
$$;
comment on function bt_reseal is 'Replace what is sealed of jobs that have not changed meanwhile; returns their ids.';

-- bt_reseal_schedule: the same for a schedule.
--
-- p_name      the schedule
-- p_old_args  what bt_list_sealed returned
-- p_args      what to put in its place
-- returns     whether it was changed
create or replace function bt_reseal_schedule(p_name text, p_old_args text, p_args text)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    update backtick_schedule as schedule
    set args = p_args::json
    where schedule.name = p_name
      and schedule.args::text = p_old_args;
    return found;
end;
$$;
comment on function bt_reseal_schedule is 'Replace the sealed arguments of a schedule that has not changed meanwhile; false if it has.';

-- bt_key_of: for which key something is sealed.
--
-- p_sealed  arguments as stored, or the text under "$sealed"
-- returns   the id of the key; null if it is not sealed
create or replace function bt_key_of(p_sealed text)
    returns text
    language sql
    immutable
    parallel safe
as $$
    select substring(p_sealed from '^(?:\s*\{\s*"\$sealed"\s*:\s*")?1[sp]\.([0-9a-f]{16})\.');
$$;
comment on function bt_key_of is 'The id of the key for which arguments or the text under "$sealed" are sealed; null if they are not.';

-- bt_list_sealed: what is sealed for another key than this one, a batch a call.
--
-- p_key       the id of the key
-- p_after_id  jobs with greater ids only; null: the schedules instead
-- p_limit     how many jobs at most
-- returns     a row for each job that has not ended, in the order of ids, or for each schedule: queue and
--             name of the worker, which what is sealed is bound to; args, error as stored
create or replace function bt_list_sealed(p_key text, p_after_id bigint, p_limit int default 500)
    returns table (id bigint, schedule text, queue text, name text, args text, error text)
    language sql
    stable
    set search_path from current
as $$
    select *
    from (
        select job.id, null::text, job.queue, job.name, job.args::text, job.error::text
        from backtick_queue as job
        where job.id > p_after_id
          and (bt_key_of(job.args::text) <> p_key or bt_key_of(job.error ->> '$sealed') <> p_key)
        order by job.id
        limit p_limit
    ) as jobs
    union all
    select null, schedule.name, schedule.queue, schedule.worker, schedule.args::text, null
    from backtick_schedule as schedule
    where p_after_id is null
      and bt_key_of(schedule.args::text) <> p_key;
$$;
comment on function bt_list_sealed is 'Jobs that have not ended, or schedules, with something sealed for another key than this one.';

-- bt_list_sealed_results: what workers returned that is sealed for another key than this one, a batch a call.
--
-- p_key       the id of the key
-- p_after_id  jobs with greater ids only; null: from the first
-- p_limit     how many jobs at most
-- returns     a row for each job that is done, in the order of ids: queue and name of the worker, which what is sealed
--             is bound to; result as stored
create or replace function bt_list_sealed_results(p_key text, p_after_id bigint, p_limit int default 100)
    returns table (id bigint, queue text, name text, result text)
    language sql
    stable
    set search_path from current
as $$
    select job.id, job.queue, job.name, job.result::text
    from backtick_done as job
    where job.id > coalesce(p_after_id, -9223372036854775808)
      and job.result is not null
      and bt_key_of(job.result::text) <> p_key
    order by job.id
    limit p_limit
$$;
comment on function bt_list_sealed_results is 'Results that are sealed for another key than this one.';

-- bt_reseal_results: put newly sealed results in their place.
--
-- p_ids          ids of jobs that are done
-- p_old_results  what bt_list_sealed_results returned, one a job
-- p_results      what to put in its place
-- returns        the ids of the jobs that were changed
create or replace function bt_reseal_results(p_ids bigint[], p_old_results text[], p_results json[])
    returns setof bigint
    language sql
    volatile
    set search_path from current
as $$
    update backtick_done as job
    set result = given.result
    from unnest(p_ids, p_old_results, p_results) as given (id, old_result, result)
    where job.id = given.id
      and job.result::text = given.old_result
    returning job.id
$$;
comment on function bt_reseal_results is 'Replace sealed results; returns the ids of the jobs that were changed.';
