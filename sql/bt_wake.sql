-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_wake: tell sleeping runners of a queue that a job is due before they will look by themselves.
--
-- A NOTIFY takes a lock of the whole server until its commit is on disk, so nobody is notified who
-- is awake anyway. An insert may look here just before a runner lies down, and commit after the
-- runner looked a last time; polling closes that gap. If the server's queue of notifications fills
-- up (some listener is stuck), a NOTIFY would fail the caller's transaction: then polling serves too.
--
-- Callers pin the search_path; doing so here too took a tenth of the time of bt_enqueue.
--
-- p_queue    the queue that has a new job
-- p_run_at   when that job is due
create or replace function bt_wake(p_queue text, p_run_at timestamptz)
    returns void
    language plpgsql
    volatile
as $$
begin
    if exists (
        select from backtick_runner as runner
        where runner.asleep_until > p_run_at
          and p_queue = any (runner.queues)
    ) and pg_notification_queue_usage() < 0.5 then
        perform pg_notify('backtick', p_queue);
    end if;
end;
$$;
comment on function bt_wake is 'Notify the sleeping runners of a queue, if there are any, that a job is due.';
