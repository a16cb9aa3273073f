-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_backoff: how long a job waits after its n-th failure.
--
-- A random time, evenly from the unit to twice that, so that jobs which failed together do not come back together;
-- never more than a year. The unit is retry_ms * 2^(n-1) if it is exponential, retry_ms * n if linear, retry_ms if
-- constant.
--
-- p_tries     n, from 1
-- p_retry_ms  milliseconds
-- p_backoff   exponential, linear or constant
drop function if exists bt_backoff(int, int);  -- of version 3
create or replace function bt_backoff(p_tries int, p_retry_ms int, p_backoff text default 'exponential')
    returns interval
    language sql
    volatile
    strict
    parallel restricted
as $$
    select least(
        p_retry_ms * (1 + random()) * case p_backoff
            when 'constant' then 1
            when 'linear' then p_tries
            else 2.0::float8 ^ least(p_tries - 1, 60)
        end, 31536000000) * interval '1 millisecond';
$$;
comment on function bt_backoff is 'The random time that a job waits after its n-th failure.';
