-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_show: what is stored of a job, ended or not; for who has the key to what is sealed of it.
--
-- p_id      the job
-- returns   its row; none if it is not there
create or replace function bt_show(p_id bigint)
    returns table (queue text, name text, state text, args text, error text)
    language sql
    stable
    set search_path from current
as $$
    select job.queue, job.name, job.state, job.args::text, job.error::text
    from backtick_job as job
    where job.id = p_id;
$$;
comment on function bt_show is 'Queue, worker, state, arguments and last error of a job, as they are stored.';
