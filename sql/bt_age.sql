-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_age: a time span in words, by its two largest units: 3 min 20 s, 2 d 4 h.
create or replace function bt_age(p_span interval)
    returns text
    language sql
    immutable
    strict
    parallel safe
as $$
    select case
        when not isfinite(p_span) then 'for ever'
        when age.s < 1 then 'less than 1 s'
        when age.s < 60 then format('%s s', age.s)
        when age.s < 3600 then format('%s min', age.s / 60) || coalesce(' ' || nullif(age.s % 60, 0) || ' s', '')
        when age.s < 86400 then format('%s h', age.s / 3600) || coalesce(' ' || nullif(age.s / 60 % 60, 0) || ' min', '')
        else format('%s d', age.s / 86400) || coalesce(' ' || nullif(age.s / 3600 % 24, 0) || ' h', '')
    end
    from (select case when isfinite(p_span) then floor(extract(epoch from p_span)) end::bigint) as age (s)
$$;
comment on function bt_age is 'A time span in words: 3 min 20 s.';

-- bt_moment: a time for people, and how far it is from now: 2026-07-01 12:00:00+00 (in 3 min 20 s).
create or replace function bt_moment(p_at timestamptz, p_now timestamptz)
    returns text
    language sql
    stable
    strict
    parallel safe
as $$
    select case
        when not isfinite(p_at) then p_at::text
        else to_char(p_at, 'YYYY-MM-DD HH24:MI:SSOF') || case
            when p_at > p_now then format(' (in %s)', bt_age(p_at - p_now))
            else format(' (%s ago)', bt_age(p_now - p_at))
        end
    end
$$;
comment on function bt_moment is 'A time for people, and how far it is from now.';
