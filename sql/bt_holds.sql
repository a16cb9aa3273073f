-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_holds: which jobs a runner holds, by the claims that there are.
--
-- Claims commit asynchronously: a crash of the server may forget the latest, and then their jobs are queued again. A
-- runner that lived through it asks this when it has connected again, stops what is not its own any more, and so runs
-- no job beside another runner.
--
-- p_runner  what bt_register_runner returned
-- returns   a row for each job: its claim and its id
create or replace function bt_holds(p_runner bigint)
    returns table (claim bigint, job bigint)
    language sql
    stable
    set search_path from current
as $$
    select claim.id, unnest(claim.jobs)
    from backtick_claim as claim
    where claim.runner = p_runner
$$;
comment on function bt_holds is 'Which jobs a runner holds: claim and id of each.';
