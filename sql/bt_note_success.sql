-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_note_success: note of jobs of a claim that they have succeeded, where the history refuses to take them as done.
--
-- So that they are not run again, whatever becomes of their runner, which goes on trying bt_complete: the note stands in
-- backtick_cancel, like one of bt_cancel, and claims pass the job over for ever. If the runner ends before the history
-- takes it, bt_withdraw_asked ends it as canceled as soon as that is possible; its error says that it succeeded.
--
-- p_claim   the claim that bt_claim returned
-- p_ids     ids of jobs of that claim
-- returns   those of them that the claim holds
-- raises    22004 null_value_not_allowed
create or replace function bt_note_success(p_claim bigint, p_ids bigint[])
    returns setof bigint
    language plpgsql
    volatile
    set search_path from current
    set enable_seqscan to off
    set jit to off
as $$
declare
    v_ids bigint[];
begin
    if p_claim is null or p_ids is null then
        raise exception 'bt_note_success: claim is %, ids are %',
                coalesce(p_claim::text, 'null'), coalesce(p_ids::text, 'null')
            using errcode = 'null_value_not_allowed', hint = 'Pass the claim and the ids that bt_claim returned.';
    end if;

    select array(select held.id from unnest(claim.jobs) as held (id) where held.id = any (p_ids)) into v_ids
    from backtick_claim as claim
    where claim.id = p_claim
    for update;

    insert into backtick_cancel (job, asked_at)
    select noted.id, bt_now()
    from unnest(v_ids) as noted (id)
    on conflict do nothing;
    update backtick_queue as job
    set error = json_build_object(
            'class', 'backtick.NotStored', 'message', 'it has succeeded, and the history refused to take it', 'traceback', '')
    from (select id from backtick_queue where id = any (v_ids) for update skip locked) as free
    where job.id = free.id;
    return query select unnest(v_ids);
end;
$$;
comment on function bt_note_success is 'Note of jobs of a claim that they have succeeded, which cannot be stored as done: nobody runs them again.';
