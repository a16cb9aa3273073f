-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_progress: how far a batch is.
--
-- Jobs of batches within count too. Of a batch that has ended it tells how it ended, whatever was retried since.
--
-- p_batch   the batch
-- returns   a row: how many jobs in all, and in each state; state, open, done or failed; callback, the job that was made at
--           its end; sentence, for people. None if it is not there
create or replace function bt_progress(p_batch bigint)
    returns table (
        total bigint, queued bigint, running bigint, done bigint, exceeded bigint, canceled bigint,
        state text, callback bigint, sentence text)
    language sql
    volatile
    set search_path from current
as $$
    select count.queued + count.running + count.done + count.exceeded + count.canceled,
           count.queued, count.running, count.done, count.exceeded, count.canceled,
           coalesce(batch.state, 'open'), batch.callback,
           format('Batch %s %s.', p_batch, case
               when batch.ended_at is not null
               then format('ended at %s as %s', bt_moment(batch.ended_at, bt_now()), batch.state)
                   || coalesce(', and queued job ' || batch.callback, '')
               when count.queued + count.running > 0
               then format('has %s left, of which %s', count.queued + count.running, case count.running
                   when 0 then 'none runs' when 1 then '1 runs' else count.running || ' run' end)
               when batch.closed_at is null then 'has none left, but is not closed: whoever made it may still add to it'
               else 'has none left, and ends as soon as nobody adds to it, within a second if a runner lives'
           end)
    from backtick_batch as batch
    cross join lateral bt_progress_of(batch.id) as count
    where batch.id = p_batch
      and bt_may_see(batch.created_by)
$$;
comment on function bt_progress is 'How far a batch is: how many of its jobs are in each state.';
