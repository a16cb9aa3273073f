-- SPDX-License-Identifier: EPL-1.0+
--
-- Cron: when does a spec fire next? CRON.md beside this file holds the rules.
--
--   bt_next_cron    the first fire after an instant     bt_cron_parse    a spec as eight sets
--   bt_cron_times   all fires between two instants      bt_cron_match    the next wall time in these sets
--   bt_check_cron   what is wrong with a spec           bt_cron_after    the instant at which that is, in a zone
--
-- A set is a bigint with bit v for value v, so a spec is searched by a few shifts and never by steps. Wall times and
-- instants are both held as `timestamp`, instants as what a clock in UTC shows: nothing here asks for the session's
-- time zone. The three public functions set search_path; the helpers run under it and go without, which keeps the
-- small ones inlined and the others cheap. Texts are collated "C": case and digits are those of ASCII everywhere.

-- bt_cron_at_least: the lowest value of a set from a value on; null if there is none.
--
-- `x & -x` is the lowest bit of x alone, one less has as many bits as that bit's number.
create or replace function bt_cron_at_least(p_set bigint, p_value int)
    returns int
    language sql immutable parallel safe
as $$
    select nullif(bit_count((((p_set >> p_value << p_value) & -(p_set >> p_value << p_value)) - 1)::bit(64))::int, 64);
$$;
comment on function bt_cron_at_least is 'Lowest value of a set from p_value on, null if none.';

-- bt_cron_value: a number or a name of a field as a number; null if it is neither.
create or replace function bt_cron_value(p_field int, p_text text)
    returns int
    language sql immutable parallel safe
as $$
    select case
        when p_text ~ '^[0-9][0-9]?$' then p_text::int
        when p_field = 5 then array_position('{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}'::text[], p_text)
        when p_field = 6 then array_position('{SUN,MON,TUE,WED,THU,FRI,SAT}'::text[], p_text) - 1
    end;
$$;
comment on function bt_cron_value is 'Number or name of a cron field as a number, null if neither.';

-- bt_cron_item: the set of one item of a list.
--
-- p_field   1 second, 2 minute, 3 hour, 4 day, 5 month, 6 weekday
-- p_item    the item in upper case
-- returns   bit v for each value v; null if the field does not take the item. And for
--           L, L-n      bit 62 - n, so that a shift by 62 - length of the month makes them days
--           LW, nW      the bits of L and n; bt_cron_parse keeps them in a set of their own
--           W           the bits of 1-5, also for a day: bt_cron_parse adds them to the weekdays
--           v#k, vL     bit 7 * k + v, where the last one has k 6
create or replace function bt_cron_item(p_field int, p_item text)
    returns bigint
    language plpgsql immutable strict parallel safe
as $$
declare
    v_low   constant int := case when p_field in (4, 5) then 1 else 0 end;
    v_high  constant int := ('{59,59,23,31,12,6}'::int[])[p_field];
    v_size  constant int := v_high - v_low + 1;
    v_parts constant text[] := string_to_array(p_item, '/');
    v_ends  constant text[] := string_to_array(v_parts[1], '-');
    v_step  int := 1;
    v_from  int;
    v_to    int;
    v_set   bigint := 0;
begin
    if p_field = 4 and p_item ~ '[LW]' then
        return case
            when p_item = 'W' then 62
            when p_item in ('L', 'LW') then 1::bigint << 62
            when p_item ~ '^L-(0?[1-9]|[12][0-9]|30)$' then 1::bigint << (62 - substr(p_item, 3)::int)
            when p_item ~ '^(0?[1-9]|[12][0-9]|3[01])W$' then 1::bigint << left(p_item, -1)::int
        end;
    elsif p_field = 6 and p_item ~ '([LW]|#.*)$' then
        v_from := bt_cron_value(6, substring(p_item, '^(.*)(?:L|#0?[1-5])$'));
        return case
            when p_item = 'W' then 62
            when v_from <= 7 and p_item ~ 'L$' then 1::bigint << (42 + v_from % 7)
            when v_from <= 7 then 1::bigint << (7 * right(p_item, 1)::int + v_from % 7)
        end;
    end if;

    if cardinality(v_parts) > 1 then
        v_step := bt_cron_value(1, v_parts[2]);
    end if;

    if v_parts[1] = '*' and cardinality(v_parts) > 1 then
        v_from := v_low;
        v_to := v_high;
    else
        v_from := bt_cron_value(p_field, v_ends[1]);
        v_to := case
            when cardinality(v_ends) > 1 then bt_cron_value(p_field, v_ends[2])
            when cardinality(v_parts) > 1 then v_high
            else v_from
        end;
    end if;

    if v_step between 1 and v_size
       and v_from between v_low and v_high + (p_field = 6)::int
       and v_to between v_low and v_high + (p_field = 6)::int
       and cardinality(v_parts) <= 2
       and cardinality(v_ends) <= 2
    then
        if v_from = 7 and p_field = 6 then  -- a Sunday; as the end of a range 7 stays, so that 5-7 does not go round
            v_from := 0;
            v_to := v_to % 7;
        end if;
        if v_to < v_from then
            v_to := v_to + v_size;
        end if;
        for v_value in v_from .. v_to by v_step loop
            v_set := v_set | (1::bigint << v_low + (v_value - v_low) % v_size);
        end loop;
        return v_set;
    end if;

    return null;
end;
$$;
comment on function bt_cron_item is 'Set of one item of a cron field, null if the field does not take it.';

-- bt_cron_parse: a spec as sets.
--
-- A day fires if it is in any of the sets 4, 6 and 7. A * or ? leaves its own empty, so that the other field decides;
-- if both do, every day is put into set 4.
--
-- p_spec    six fields or an alias
-- returns   1 seconds, 2 minutes, 3 hours, 4 days, 5 months, 6 weekdays, 7 days of which the nearest Monday-to-Friday
--           day is meant, each as bt_cron_item returns it, 8 one for an interval spec and zero for a fixed one
-- raises    22023 invalid_parameter_value
create or replace function bt_cron_parse(p_spec text)
    returns bigint[]
    language plpgsql immutable strict parallel safe
as $$
declare
    v_name   text;
    v_fields text[] collate "C";
    v_item   text collate "C";
    v_set    bigint;
    v_to     int;
    v_cron   bigint[] := '{0,0,0,0,0,0,0,0}';
begin
    if length(p_spec) <= 2000 then  -- every value of every field once takes about 1000
        v_fields := array_remove(
            string_to_array(translate(upper(p_spec collate "C"), e'\t', ' '), ' '), '' collate "C");
        if cardinality(v_fields) = 1 then
            v_fields := string_to_array(case v_fields[1]
                when '@YEARLY' then '0 0 0 1 1 *'
                when '@ANNUALLY' then '0 0 0 1 1 *'
                when '@MONTHLY' then '0 0 0 1 * *'
                when '@WEEKLY' then '0 0 0 * * 0'
                when '@DAILY' then '0 0 0 * * *'
                when '@MIDNIGHT' then '0 0 0 * * *'
                when '@HOURLY' then '0 0 * * * *'
            end, ' ');
        end if;
    end if;
    if cardinality(v_fields) is distinct from 6 then
        raise exception 'cron spec "%" is neither six fields nor an alias', left(p_spec, 100)
            using errcode = 'invalid_parameter_value',
                  hint = case when cardinality(v_fields) = 5 then
                             format('Did you mean "%s", seconds first? ', left('0 ' || btrim(p_spec, e' \t'), 100)) else '' end ||
                         'A spec is second minute hour day month weekday, apart by blanks, at most 2000 characters, or '
                         'one of @yearly @annually @monthly @weekly @daily @midnight @hourly.';
    end if;

    for v_field in 1 .. 6 loop
        if v_fields[v_field] in ('*', '?') and v_field in (4, 6) then
            continue;
        elsif v_fields[v_field] = '*' then  -- bits 0-59, 0-59, 0-23, none, 1-12
            v_cron[v_field] := ('{1152921504606846975,1152921504606846975,16777215,0,8190}'::bigint[])[v_field];
            continue;
        end if;

        foreach v_item in array string_to_array(v_fields[v_field], ',') loop
            v_set := bt_cron_item(v_field, v_item);
            if v_set is null then
                v_name := ('{second,minute,hour,day,month,weekday}'::text[])[v_field];
                raise exception 'cron spec "%": the % field does not take "%"',
                        left(p_spec, 100), v_name, left(v_item, 20)
                    using errcode = 'invalid_parameter_value', hint = format(
                        'The %s field takes * alone, or a list of: values %s, ranges a-b, steps */n, a/n and a-b/n '
                        'with n 1-%s%s.', v_name,
                        ('{0-59,0-59,0-23,1-31,1-12 or JAN-DEC,0-7 or SUN-SAT}'::text[])[v_field],
                        ('{60,60,24,31,12,7}'::text[])[v_field],
                        case v_field
                            when 4 then ', L, L-n with n 1-30, LW, W, nW; ? is another *'
                            when 6 then ', W, vL, v#k with k 1-5; ? is another *'
                        end);
            end if;
            v_to := case
                when v_field <> 4 or v_item !~ 'W$' then v_field
                when v_item = 'W' then 6
                else 7
            end;
            v_cron[v_to] := v_cron[v_to] | v_set;
        end loop;
    end loop;

    if v_cron[4] = 0 and v_cron[6] = 0 and v_cron[7] = 0 then
        v_cron[4] := 4294967294;  -- bits 1-31
    end if;
    v_cron[8] := ((v_fields[1] || v_fields[2] || v_fields[3]) ~ '[*/]')::int;
    return v_cron;
end;
$$;
comment on function bt_cron_parse is 'A cron spec as sets of values; raises 22023 if it is none.';

-- bt_cron_weeks: a set of weekdays as days of a month.
--
-- p_weeks   bit 7 * (k - 1) + v for the k-th weekday v of the month
-- p_first   the weekday of the 1st
-- returns   bit d for each day d. The k-th seven days of a month begin with p_first: what is not before it moves down
--           by p_first, what is before it moves up behind. 270549121 has the bits 0, 7, 14, 21 and 28
create or replace function bt_cron_weeks(p_weeks bigint, p_first int)
    returns bigint
    language sql immutable parallel safe
as $$
    select ((p_weeks & ((127 << p_first) & 127) * 270549121::bigint) >> p_first << 1)
         | ((p_weeks & (127 >> 7 - p_first) * 270549121::bigint) << 8 - p_first);
$$;
comment on function bt_cron_weeks is 'A set of k-th weekdays as a set of days of a month.';

-- bt_cron_days: the days of a month that fire, as a set.
--
-- p_cron    what bt_cron_parse returned
-- p_month   the 1st of the month
create or replace function bt_cron_days(p_cron bigint[], p_month date)
    returns bigint
    language plpgsql immutable strict parallel safe
as $$
declare
    v_every  constant bigint := 270549121;  -- bits 0, 7, 14, 21, 28: times a set of weekdays, those of every week
    v_length constant int := (p_month + interval '1 month')::date - p_month;
    v_first  constant int := (p_month - date '0001-01-07') % 7;  -- which is a Sunday
    v_month  constant bigint := (1::bigint << v_length + 1) - 2;
    v_last   constant bigint := 1::bigint << v_length;
    v_days   bigint := p_cron[4] | (p_cron[4] >> 62 - v_length);
    v_near   bigint;
    v_sat    bigint;
    v_sun    bigint;
begin
    if p_cron[6] <> 0 then
        v_days := v_days
            | bt_cron_weeks((p_cron[6] & 127) * v_every | (p_cron[6] >> 7), v_first)
            | (bt_cron_weeks((p_cron[6] >> 42) * v_every, v_first) & (127::bigint << v_length - 6));
    end if;

    if p_cron[7] <> 0 then
        v_near := (p_cron[7] | (p_cron[7] >> 62 - v_length)) & v_month;
        v_sat := v_near & bt_cron_weeks(64 * v_every, v_first);
        v_sun := v_near & bt_cron_weeks(v_every, v_first);
        v_days := v_days
            | (v_near & ~(v_sat | v_sun))
            | ((v_sat & ~2::bigint) >> 1) | ((v_sat & 2) << 2)  -- Friday the day before, or Monday the 3rd
            | ((v_sun & ~v_last) << 1) | ((v_sun & v_last) >> 2);  -- Monday the day after, or the last Friday
    end if;

    return v_days & v_month;
end;
$$;
comment on function bt_cron_days is 'Set of the days of a month on which a parsed cron spec fires.';

-- bt_cron_match: the first wall time that matches, from a wall time on.
--
-- From the seconds up, what finds no value starts over and carries one to the next; from the days down, below what has
-- moved on everything begins at its first value.
--
-- p_cron    what bt_cron_parse returned
-- p_from    a whole second
-- returns   p_from or later; null if no day of the next 41 years fires (29 February on a Sunday may be 40 years away)
create or replace function bt_cron_match(p_cron bigint[], p_from timestamp)
    returns timestamp
    language plpgsql immutable strict parallel safe
as $$
declare
    v_clock  constant int := extract(epoch from p_from::time)::int;
    v_second int := bt_cron_at_least(p_cron[1], v_clock % 60);
    v_minute int := bt_cron_at_least(p_cron[2], v_clock / 60 % 60 + (v_second is null)::int);
    v_hour   int := bt_cron_at_least(p_cron[3], v_clock / 3600 + (v_minute is null)::int);
    v_date   date := p_from::date + (v_hour is null)::int;
    v_day    int := extract(day from v_date)::int;
    v_month  date := v_date - v_day + 1;
    v_number int;
    v_ahead  int;
    v_days   bigint;
    v_moved  boolean;
begin
    loop
        v_number := extract(month from v_month)::int;
        v_ahead := bt_cron_at_least(p_cron[5] | (p_cron[5] << 12), v_number) - v_number;
        if v_ahead > 0 then
            v_month := v_month + make_interval(months => v_ahead);
            v_day := 1;
        end if;

        v_days := bt_cron_days(p_cron, v_month);
        v_day := bt_cron_at_least(v_days, v_day);
        exit when v_day is not null;

        v_month := v_month + interval '1 month';
        v_day := 1;
        if v_month > p_from + interval '41 years' then
            return null;
        end if;
    end loop;
    v_date := v_month + v_day - 1;

    v_moved := v_date > p_from::date;
    if v_moved then
        v_hour := bt_cron_at_least(p_cron[3], 0);
    end if;
    v_moved := v_moved or v_hour > v_clock / 3600;
    if v_moved then
        v_minute := bt_cron_at_least(p_cron[2], 0);
    end if;
    v_moved := v_moved or v_minute > v_clock / 60 % 60;
    if v_moved then
        v_second := bt_cron_at_least(p_cron[1], 0);
    end if;

    return v_date + make_time(v_hour, v_minute, v_second);
end;
$$;
comment on function bt_cron_match is 'First wall time from p_from on that a parsed cron spec matches, null if never.';

-- bt_cron_wall: what a clock shows at an instant.
create or replace function bt_cron_wall(p_instant timestamp, p_tz text)
    returns timestamp
    language sql stable parallel safe
as $$
    select p_instant at time zone 'UTC' at time zone p_tz;
$$;
comment on function bt_cron_wall is 'Wall time in p_tz at an instant, itself given as wall time in UTC.';

-- bt_cron_change: the instant in (p_from, p_to] at which the offset changes, if it does so once.
create or replace function bt_cron_change(p_from timestamp, p_to timestamp, p_tz text)
    returns timestamp
    language plpgsql stable strict parallel safe
as $$
declare
    v_second constant interval := interval '1 second';
    v_offset constant interval := bt_cron_wall(p_from, p_tz) - p_from;
    v_before int := 0;  -- seconds after p_from: here the old offset holds, at v_after the new one
    v_after  int := extract(epoch from p_to - p_from)::int;
    v_middle int;
begin
    while v_after - v_before > 1 loop
        v_middle := (v_before + v_after) / 2;
        if bt_cron_wall(p_from + v_middle * v_second, p_tz) - (p_from + v_middle * v_second) = v_offset then
            v_before := v_middle;
        else
            v_after := v_middle;
        end if;
    end loop;
    return p_from + v_after * v_second;
end;
$$;
comment on function bt_cron_change is 'Instant in (p_from, p_to] at which the offset of p_tz changes.';

-- bt_cron_shown: the instant at which a wall time is first shown, or, if it is skipped, the end of the gap.
--
-- PostgreSQL takes the second showing in an overlap and the offset from before in a gap. No zone moves its clocks by
-- more than 24 hours, or twice in a day, so 25 hours back the offset of a first showing still held.
create or replace function bt_cron_shown(p_wall timestamp, p_tz text)
    returns timestamp
    language plpgsql stable strict parallel safe
as $$
declare
    v_instant constant timestamp := p_wall at time zone p_tz at time zone 'UTC';
    v_wall    constant timestamp := bt_cron_wall(v_instant, p_tz);
    v_earlier constant timestamp := v_instant - interval '25 hours';
    v_first   constant timestamp := p_wall - (bt_cron_wall(v_earlier, p_tz) - v_earlier);
begin
    if v_wall <> p_wall then
        return bt_cron_change(v_instant - (v_wall - p_wall), v_instant, p_tz);
    elsif v_first < v_instant and bt_cron_wall(v_first, p_tz) = p_wall then
        return v_first;
    end if;
    return v_instant;
end;
$$;
comment on function bt_cron_shown is 'Instant at which p_tz first shows a wall time, or skips it.';

-- bt_cron_after: the first fire of a parsed spec strictly after an instant.
--
-- A fixed spec fires where the wall time first gets to a match; in the second pass of an overlap it has been to all of
-- them and goes on at the end. An interval spec is followed on one offset, at most to the next change.
--
-- p_cron    what bt_cron_parse returned
-- returns   null if there is none within 41 years, or p_after is infinite
-- raises    22023 invalid_parameter_value if there is no zone p_tz
create or replace function bt_cron_after(p_cron bigint[], p_tz text, p_after timestamptz)
    returns timestamptz
    language plpgsql stable strict parallel safe
as $$
declare
    v_instant timestamp := date_trunc('second', p_after at time zone 'UTC');
    v_wall    timestamp := bt_cron_wall(v_instant, p_tz);
    v_give_up constant timestamp := v_instant + interval '41 years';
    v_match   timestamp;
    v_next    timestamp;
begin
    if not isfinite(p_after) then
        return null;
    end if;

    if p_cron[8] = 0 then
        v_next := bt_cron_shown(v_wall, p_tz);
        if v_next < v_instant then
            v_wall := bt_cron_wall(bt_cron_change(v_next, v_instant, p_tz) - interval '1 second', p_tz);
        end if;
        v_match := bt_cron_match(p_cron, v_wall + interval '1 second');
        return bt_cron_shown(v_match, p_tz) at time zone 'UTC';
    end if;

    v_instant := v_instant + interval '1 second';
    while v_instant < v_give_up loop
        v_wall := bt_cron_wall(v_instant, p_tz);
        v_match := bt_cron_match(p_cron, v_wall);
        exit when v_match is null;
        v_next := v_instant + least(v_match - v_wall, interval '25 hours');
        if bt_cron_wall(v_next, p_tz) - v_next <> v_wall - v_instant then
            v_instant := bt_cron_change(v_instant, v_next, p_tz);
        elsif v_next - v_instant = v_match - v_wall then
            return v_next at time zone 'UTC';
        else
            v_instant := bt_cron_shown(v_match, p_tz);  -- no change for a day: no match is shown again before this one
        end if;
    end loop;
    return null;
end;
$$;
comment on function bt_cron_after is 'First fire of a parsed cron spec strictly after an instant, null if never.';

-- bt_next_cron: the first instant strictly after an instant at which a spec fires.
--
-- p_spec    second minute hour day month weekday, or an alias: CRON.md
-- p_tz      the time zone whose wall clock the spec means
-- p_after   answers are later than this
-- returns   a whole second; null if the spec never fires, p_after is infinite or an argument null
-- raises    22023 invalid_parameter_value for a spec outside the grammar or an unknown zone
create or replace function bt_next_cron(p_spec text, p_tz text, p_after timestamptz)
    returns timestamptz
    language plpgsql
    stable
    strict
    parallel safe
    set search_path from current
as $$
begin
    return bt_cron_after(bt_cron_parse(p_spec), p_tz, p_after);
end;
$$;
comment on function bt_next_cron is 'First instant after p_after at which a cron spec fires in p_tz, null if never.';

-- bt_cron_times: all fires of a spec between two instants, for previews.
--
-- They are computed to the last before the first is returned, also under a `limit`: ask for a short time.
--
-- returns   the fires after p_from and not after p_to, in order
-- raises    22023 invalid_parameter_value as bt_next_cron, and if p_to is infinite
create or replace function bt_cron_times(p_spec text, p_tz text, p_from timestamptz, p_to timestamptz)
    returns setof timestamptz
    language plpgsql
    stable
    strict
    parallel safe
    set search_path from current
as $$
declare
    v_cron constant bigint[] := bt_cron_parse(p_spec);
    v_next timestamptz := bt_cron_after(v_cron, p_tz, p_from);
begin
    if not isfinite(p_to) then
        raise exception 'bt_cron_times: p_to is %', p_to
            using errcode = 'invalid_parameter_value', hint = 'Pass an instant at which the preview ends.';
    end if;

    while v_next <= p_to loop
        return next v_next;
        v_next := bt_cron_after(v_cron, p_tz, v_next);
    end loop;
end;
$$;
comment on function bt_cron_times is 'All instants in (p_from, p_to] at which a cron spec fires in p_tz.';

-- bt_is_zone: whether pg_timezone_names has a zone of that name.
--
-- To read that view takes tens of milliseconds. PostgreSQL itself takes Foo5 for a zone, and EuRoPe/LONDON; but where
-- there is no digit it knows a zone by its file, and tells the name as it is written there.
create or replace function bt_is_zone(p_tz text)
    returns boolean
    language plpgsql
    stable
    strict
    set search_path from current
    set timezone to 'UTC'
as $$
begin
    if p_tz ~ '[^A-Za-z_/-]' or p_tz = '' then
        return exists (select from pg_timezone_names where name = p_tz collate "C");
    end if;
    perform set_config('timezone', p_tz, true);
    return current_setting('timezone') = p_tz collate "C";
exception when invalid_parameter_value then
    return false;
end;
$$;
comment on function bt_is_zone is 'Whether there is a time zone of that name.';

-- bt_check_cron: what is wrong with a spec and a zone, for whoever registers a cron job.
--
-- Reads pg_timezone_names, which takes tens of milliseconds: PostgreSQL itself takes Foo5 for a zone.
--
-- returns   null if the spec fires in this zone; else one text: what is wrong, and what would be right
create or replace function bt_check_cron(p_spec text, p_tz text)
    returns text
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_cron    bigint[];
    v_message text;
    v_hint    text;
begin
    if p_spec is null or p_tz is null then
        return 'No cron spec or no time zone given.';
    end if;

    begin
        v_cron := bt_cron_parse(p_spec);
    exception when invalid_parameter_value then
        get stacked diagnostics v_message = message_text, v_hint = pg_exception_hint;
        return v_message || '. ' || v_hint;
    end;

    if not bt_is_zone(p_tz) then
        select min(name) into v_hint from pg_timezone_names where lower(name) = lower(p_tz collate "C");
        return format('time zone "%s" is unknown. Take a name from pg_timezone_names, such as %s.', left(p_tz, 100),
            coalesce(v_hint, 'Europe/London'));
    end if;

    if bt_cron_after(v_cron, p_tz, bt_now()) is null then
        return format('cron spec "%s" never fires. No month it names has such a day.', left(p_spec, 100));
    end if;

    return null;
end;
$$;
comment on function bt_check_cron is 'What is wrong with a cron spec and a time zone, as a text; null if nothing.';
