-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_expired_error: what is stored as the error of a job that has expired.
create or replace function bt_expired_error(p_expires_at timestamptz)
    returns jsonb
    language sql
    stable
    set search_path from current
    set datestyle to iso
as $$
    select jsonb_build_object(
        'class', 'Expired',
        'message', format('it had not begun by %s UTC', p_expires_at at time zone 'UTC'),
        'traceback', null)
$$;
comment on function bt_expired_error is 'What is stored as the error of a job that has expired.';
