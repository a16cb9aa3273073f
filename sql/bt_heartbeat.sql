-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_heartbeat: a runner's sign of life, wanted several times within its lease_ms.
--
-- Where somebody has locked its row nothing is written, but nobody can give it up for dead either: bt_revive leaves
-- locked rows alone.
--
-- One from the future, written while the server's clock was ahead, is put right first, and with it the jobs of then; it
-- stays as it is as long as one of these is locked, for nothing else tells of them: see bt_follow_clock.
--
-- The first one in a minute notes how far the ids of jobs have come: see bt_enqueued.
--
-- It commits asynchronously, for what a crash of the server makes it forget is soon said again.
--
-- p_runner     what bt_register_runner returned
-- p_memory_mb  how many megabytes its process has; null: it does not know
-- raises       22004 null_value_not_allowed
-- returns      false if the runner has been given up for dead: its claims are void, it must register anew
drop function if exists bt_heartbeat(bigint);  -- of version 3
create or replace function bt_heartbeat(p_runner bigint, p_memory_mb int default null)
    returns boolean
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    if p_runner is null then
        raise exception 'bt_heartbeat: p_runner must not be null'
            using errcode = 'null_value_not_allowed', hint = 'Pass what bt_register_runner returned.';
    end if;

    perform set_config('synchronous_commit', 'off', true);
    perform bt_follow_clock(bt_now());
    insert into backtick_stat (span, at, noted_at, queue, worker, ids)
    select 'ids', this.minute, bt_now(), '', '', coalesce(pg_sequence_last_value(pg_get_serial_sequence('backtick_queue', 'id')), 0)
    from (select date_trunc('minute', bt_now()) as minute) as this
    where not exists (select from backtick_stat as said where said.span = 'ids' and said.at = this.minute)
    on conflict do nothing;
    update backtick_runner as runner
    set heartbeat_at = bt_now(),
        memory_mb = p_memory_mb
    from (select id from backtick_runner where id = p_runner for no key update skip locked) as free
    where runner.id = free.id
      and runner.heartbeat_at <= bt_now() + interval '5 s';
    return found or exists (select from backtick_runner where id = p_runner);
end;
$$;
comment on function bt_heartbeat is 'A runner''s sign of life; false if it has been given up for dead.';
