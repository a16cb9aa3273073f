-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_pulse: a word that is another one when anything has changed which people look at; for who would show it as it is.
--
-- It reads a few pages, however many jobs there are.
--
-- returns   32 characters
create or replace function bt_pulse()
    returns text
    language sql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
    select md5(concat_ws(
        '/',
        (select concat(ids.last_value, ids.is_called) from backtick_queue_id_seq as ids),
        (select concat(count(*), ' ', sum(cardinality(claim.jobs)), ' ', sum(claim.highest), ' ', max(claim.claimed_at))
         from backtick_claim as claim),
        (select string_agg(concat(last.id, ' ', last.finished_at), ' ')
         from unnest('{done,exceeded,canceled}'::text[]) as ended (state)
         cross join lateral (
             select job.id, job.finished_at
             from backtick_done as job
             where job.state = ended.state
             order by job.finished_at desc
             limit 1
         ) as last),
        (select concat(stat.n_tup_del, ' ', stat.n_tup_upd) from pg_stat_all_tables as stat where stat.relid = 'backtick_queue'::regclass),
        (select stat.n_tup_del from pg_stat_all_tables as stat where stat.relid = 'backtick_done'::regclass),
        (select string_agg(concat(runner.id, ' ', runner.drained_at, ' ', runner.unlocked_at, ' ', runner.slots), ' ' order by runner.id)
         from backtick_runner as runner),
        (select concat(count(setting.paused_at), ' ', max(setting.paused_at)) from backtick_setting as setting),
        (select concat(count(*), ' ', max(pause.paused_at)) from backtick_pause as pause),
        (select concat(count(*), ' ', max(bound.set_at)) from backtick_limit as bound),
        (select concat(count(*), ' ', sum(schedule.last_job), ' ', max(schedule.next_run_at)) from backtick_schedule as schedule),
        (select concat(count(*), ' ', max(said.noted_at)) from backtick_progress as said)))
$$;
comment on function bt_pulse is 'A word that is another one when anything has changed which people look at.';
