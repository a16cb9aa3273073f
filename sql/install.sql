-- SPDX-License-Identifier: EPL-1.0+
--
-- install.sql: the table of contents. Installs or upgrades backtick in the first schema of the
-- search_path; harmless to repeat, also while runners work.
--
--   python backtick.py install                       needs no psql
--   psql --dbname mydb --file sql/install.sql        does the same
--
-- python reads this file too: it knows the lines that start with \ir (insert that file here), leaves out
-- others that start with \ (for psql only), and executes what upgrade.sql tells by itself.

\set ON_ERROR_STOP on
\include_relative upgrade.sql

begin;

-- One installation at a time, and a lock that is not free at once is not waited for at length.
select pg_advisory_xact_lock(hashtext('backtick install'));
set local lock_timeout = '3s';
set local client_min_messages = warning;

-- From here on only this schema is looked into; `set search_path from current` binds the functions to it.
select set_config('search_path', format('%I, pg_temp', current_schema()), true);

-- Version, clock, data
\ir bt_version.sql
\ir bt_now.sql
\ir bt_role.sql
\ir bt_is_job.sql
\ir schema.sql

-- Jobs come in
\ir bt_wake.sql
\ir bt_freed.sql
\ir bt_check_queue.sql
\ir bt_check_job.sql
\ir bt_check_headers.sql
\ir bt_home.sql
\ir bt_expired_error.sql
\ir bt_put_special.sql
\ir bt_enqueue.sql
\ir bt_enqueue_many.sql
\ir bt_enqueue_row.sql

-- Jobs in order, and with a common end
\ir bt_after.sql
\ir bt_batch.sql

-- Runners come and go
\ir bt_mend_sequences.sql
\ir bt_register_runner.sql
\ir bt_declare_workers.sql
\ir bt_heartbeat.sql
\ir bt_sleep.sql
\ir bt_unregister_runner.sql

-- Numbers over time
\ir bt_note_stats.sql
\ir bt_stats.sql

-- A job's life
\ir bt_backoff.sql
\ir bt_check_isolation.sql
\ir bt_due.sql
\ir bt_due_queues.sql
\ir bt_let_in.sql
\ir bt_room.sql
\ir bt_floor.sql
\ir bt_claim.sql
\ir bt_let_go.sql
\ir bt_remember.sql
\ir bt_locked.sql
\ir bt_end.sql
\ir bt_complete.sql
\ir bt_cancel_held.sql
\ir bt_note_success.sql
\ir bt_fail.sql
\ir bt_snooze.sql
\ir bt_release.sql
\ir bt_release_except.sql
\ir bt_holds.sql
\ir bt_withdraw.sql
\ir bt_note_progress.sql
\ir bt_revive.sql
\ir bt_expire.sql
\ir bt_end_stuck.sql

-- Schedules: jobs that fire by themselves
\ir bt_next_cron.sql
\ir bt_next_fire.sql
\ir bt_run_due.sql
\ir bt_schedule.sql
\ir bt_unschedule.sql
\ir bt_declare.sql

-- Jobs and queues are managed
\ir bt_state.sql
\ir bt_result.sql
\ir bt_matching.sql
\ir bt_cancel.sql
\ir bt_cancel_asked.sql
\ir bt_cancel_all.sql
\ir bt_retry.sql
\ir bt_delete.sql
\ir bt_pause.sql
\ir bt_limit.sql
\ir bt_groups.sql
\ir bt_remove_old.sql
\ir bt_reseal.sql
\ir bt_show.sql
\ir bt_job_of.sql

-- Why a job does not run
\ir bt_age.sql
\ir bt_nearest.sql
\ir bt_progress.sql
\ir bt_why.sql
\ir bt_tell_orphans.sql

-- What people look at
\ir bt_queues.sql
\ir bt_jobs.sql
\ir bt_workers.sql
\ir bt_failures.sql
\ir bt_runners.sql
\ir bt_schedules.sql
\ir bt_check.sql
\ir bt_metrics.sql
\ir bt_doctor.sql
\ir bt_status.sql
\ir bt_states.sql
\ir bt_rights.sql
\ir bt_sizes.sql
\ir bt_pulse.sql

-- What a restore or a failover may have left behind
select bt_mend_sequences();

-- Who may do what, once roles.sql has made the roles
\ir rights.sql

commit;
