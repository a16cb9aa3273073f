-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_end_stuck: end sessions of runners that have been in the middle of a pipeline of calls for ten seconds.
--
-- A client that freezes there, or whose network does, keeps its transaction and all that it locked, a queue's
-- claims perhaps. The server takes it for neither idle nor slow, so no time-out ends it before version 17 and its
-- transaction_timeout, which runners set.
--
-- It runs with the rights of the caller, who may end sessions of his own role: that helps between runners that log in
-- as the same one.
--
-- returns   how many sessions were ended
create or replace function bt_end_stuck()
    returns bigint
    language sql
    volatile
    set search_path from current
as $$
    select count(*) filter (where pg_terminate_backend(stuck.pid))
    from pg_stat_activity as stuck
    where stuck.datname = current_database()
      and stuck.usename = current_user
      and stuck.state = 'active'
      and stuck.wait_event = 'ClientRead'
      and stuck.query like 'select * from %bt\_%'
      and exists (  -- it holds a runner's sign of life: see bt_attach
          select from pg_locks as sign
          where sign.pid = stuck.pid
            and sign.locktype = 'advisory'
            and sign.classid = 'backtick_runner'::regclass::oid
      )
      and stuck.xact_start < bt_now() - interval '10 s'
$$;
comment on function bt_end_stuck is 'End sessions of runners that froze in the middle of a transaction; returns how many.';
