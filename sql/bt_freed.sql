-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_freed: tell claims that jobs have become free below the places where they start: see bt_floor.
--
-- For what hands jobs back without writing their rows. Of those whose rows are written tells a trigger, bt_note_moved,
-- and of those that are queued for a time in the past bt_put_job and bt_put_jobs. Only the first place a priority is kept.
-- Also forgets what everybody has read long since; what somebody else is about to forget is left to him.
--
-- Callers pin the search_path.
--
-- p_ids   the jobs
create or replace function bt_freed(p_ids bigint[])
    returns void
    language plpgsql
    volatile
as $$
begin
    insert into backtick_freed (queue, priority, run_at, job, freed_at)
    select distinct on (job.queue, job.priority) job.queue, job.priority, job.run_at, job.id, bt_now()
    from unnest(p_ids) as given (id)
    cross join lateral (
        select job.queue, job.priority, job.run_at, job.id
        from backtick_queue as job
        where job.id = given.id
          and job.gate = 0
        offset 0
    ) as job
    order by job.queue, job.priority, job.run_at, job.id;
end;
$$;
comment on function bt_freed is 'Tell claims that jobs have become free below the places where they start.';

-- bt_note_moved: a trigger that tells claims of jobs whose rows were written and that are due: tried again, revived, moved.
--
-- What is due from now on, or was a moment ago, needs no telling: claims find it as they find a new job.
create or replace function bt_note_moved()
    returns trigger
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_ids bigint[] := array(select id from moved where run_at < bt_now() - interval '10 ms' and gate = 0);
begin
    if v_ids <> '{}' and coalesce(current_setting('backtick.lets_in', true), '') = '' then
        perform bt_freed(v_ids);
    end if;
    return null;
end;
$$;
comment on function bt_note_moved is 'A trigger that tells claims of due jobs whose rows were written.';

do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'backtick_queue'::regclass and tgname = 'backtick_queue_moved') then
        create trigger backtick_queue_moved
            after update on backtick_queue
            referencing new table as moved
            for each statement execute function bt_note_moved();
    end if;
end;
$$;
