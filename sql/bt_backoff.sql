-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_backoff: how long a job waits after its n-th failure.
--
-- A random time, evenly from [retry_ms * 2^(n-1), 2 * retry_ms * 2^(n-1)), so that jobs which failed
-- together do not come back together; never more than a year.
--
-- p_tries     n, from 1
-- p_retry_ms  milliseconds
create or replace function bt_backoff(p_tries int, p_retry_ms int)
    returns interval
    language sql
    volatile
    strict
    parallel restricted
as $$
    select least(p_retry_ms * 2.0::float8 ^ least(p_tries - 1, 60) * (1 + random()), 31536000000)
           * interval '1 millisecond';
$$;
comment on function bt_backoff is 'The random time that a job waits after its n-th failure.';
