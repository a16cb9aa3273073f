-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_state: what has become of a job.
--
-- p_id      the job
-- returns   queued, running, done, exceeded or canceled; null if it is not there (any more), or, if
--           bt_own_jobs_only says so, was enqueued by another role than the caller's
create or replace function bt_state(p_id bigint)
    returns text
    language sql
    stable
    set search_path from current
as $$
    select state
    from backtick_job
    where id = p_id
      and bt_may_see(enqueued_by)
$$;
comment on function bt_state is 'What has become of a job: queued, running, done, exceeded or canceled.';
