-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_note_progress: what running jobs say of themselves, for people: see backtick_job. At most once a second a runner.
--
-- It commits asynchronously, for what a crash of the server makes it forget is soon said again.
--
-- p_runner  what bt_register_runner returned
-- p_ids     jobs; those that the runner does not hold are passed over
-- p_shares  how much of each is done, 0 to 1; null: it did not say
-- p_notes   what each does, of which 500 characters are kept; null: it did not say
-- returns   the ids of the jobs that the runner holds
-- raises    23514 check_violation if a share is not from 0 to 1
create or replace function bt_note_progress(p_runner bigint, p_ids bigint[], p_shares float8[], p_notes text[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
        insert into backtick_progress as said (job, share, note, noted_at)
        select distinct on (given.id) given.id, given.share, left(given.note, 500), bt_now()
        from unnest(p_ids, p_shares, p_notes) as given (id, share, note)
        where exists (select from backtick_claim as claim where claim.runner = p_runner and given.id = any (claim.jobs))
        order by given.id
        on conflict (job) do update
        set share = excluded.share,
            note = excluded.note,
            noted_at = excluded.noted_at
        returning said.job;
end;
$$;
comment on function bt_note_progress is 'Keep what running jobs say of themselves; returns the ids of those that the runner holds.';

-- bt_thin_out: forget what ended jobs said of themselves, and who does not wait any more; for bt_revive. What is locked
-- is left for the next time.
create or replace function bt_thin_out()
    returns void
    language sql
    volatile
    set search_path from current
as $$
    delete from backtick_progress as forgotten
    using (
        select said.job
        from backtick_progress as said
        where not exists (select from backtick_queue as job where job.id = said.job)
        for update skip locked
    ) as ended
    where forgotten.job = ended.job;

    delete from backtick_waiter as forgotten
    using (select job from backtick_waiter where waits_until < bt_now() for update skip locked) as gone
    where forgotten.job = gone.job;
$$;
comment on function bt_thin_out is 'Forget what ended jobs said of themselves, and who does not wait any more.';
