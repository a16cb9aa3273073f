-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_cancel_asked: which of a runner's jobs somebody wants canceled; asked about once a second.
--
-- The runner stops them and says so with bt_cancel_held. Until then they are listed again each time.
--
-- p_runner  what bt_register_runner returned
-- returns   ids of jobs that the runner holds
create or replace function bt_cancel_asked(p_runner bigint)
    returns setof bigint
    language sql
    stable
    set search_path from current
as $$
    select asked.job
    from backtick_cancel as asked
    where exists (
        select from backtick_claim as claim
        where claim.runner = p_runner
          and asked.job = any (claim.jobs)
    )
$$;
comment on function bt_cancel_asked is 'Which of a runner''s jobs somebody wants canceled.';
