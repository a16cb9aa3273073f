-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_check_isolation: refuse a transaction whose snapshot is older than the lock it is about to take.
--
-- Whether a job is free is read after a lock was got, and must be read anew: in READ COMMITTED each
-- statement has a new snapshot and sees every claim that was committed before; in REPEATABLE READ
-- it would see the claims of when the transaction began, and hand a running job out again.
--
-- p_caller  the function on whose behalf this is, for the error
-- raises    25000 invalid_transaction_state
create or replace function bt_check_isolation(p_caller text)
    returns void
    language plpgsql
    stable
    set search_path from current
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception '%: the isolation level is %', p_caller, current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state',
                  hint = 'Call it in READ COMMITTED: a stricter level does not see which jobs others claimed meanwhile.';
    end if;
end;
$$;
comment on function bt_check_isolation is 'Refuse to go on in a transaction that does not see what others commit.';
