-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_nearest: the known name that somebody who wrote another most likely meant.
--
-- That is the one with the fewest edits between them: one in three letters, three at most. If there is none, one whose
-- last part is the same: a function that moved to another module. Where letters differ that can be told from the
-- letters alone, edits are not counted, which takes longer.
--
-- p_name    what was written
-- p_known   the names that there are; 10 000 of them are looked at, at most
-- returns   one of p_known; null: none is near
create or replace function bt_nearest(p_name text, p_known text[])
    returns text
    language plpgsql
    immutable
    strict
    parallel safe
    set search_path from current
as $$
declare
    v_name    constant text := lower(p_name);
    v_most    int := least(3, char_length(p_name) / 3);
    v_known   text;
    v_edits   int;
    v_nearest text;
begin
    foreach v_known in array p_known[:10000] loop
        continue when abs(char_length(v_known) - char_length(v_name)) > v_most
            or char_length(translate(v_name, lower(v_known), '')) > v_most
            or char_length(translate(lower(v_known), v_name, '')) > v_most;
        v_edits := bt_edits(v_name, lower(v_known), v_most);
        if v_edits is not null then
            v_nearest := v_known;
            v_most := v_edits - 1;
            exit when v_most < 0;
        end if;
    end loop;
    if v_nearest is null and p_name like '%.%' then
        select min(known.name) into v_nearest
        from unnest(p_known[:10000]) as known (name)
        where split_part(known.name, '.', -1) = split_part(p_name, '.', -1);
    end if;
    return v_nearest;
end;
$$;
comment on function bt_nearest is 'The known name that somebody who wrote another most likely meant; null: none is near.';

-- bt_edits: how many letters must be changed, put in, left out, or swapped with the next, to make one name of another.
--
-- p_most    more than that need not be told apart
-- returns   how many; null: more than p_most
create or replace function bt_edits(p_one text, p_other text, p_most int)
    returns int
    language plpgsql
    immutable
    strict
    parallel safe
    set search_path from current
as $$
declare
    v_one    constant text[] := string_to_array(p_one, null);
    v_other  constant text[] := string_to_array(p_other, null);
    v_length constant int := cardinality(v_other);
    v_before int[];  -- two rows above; the n-th number of a row is for n - 1 letters of the other name
    v_above  int[] := array(select n from generate_series(0, v_length) as n);
    v_row    int[];
    v_least  int;
begin
    for v_i in 1 .. cardinality(v_one) loop
        v_row := array[v_i] || array_fill(null::int, array[v_length]);
        v_least := case when v_i <= p_most then v_i else p_most + 1 end;
        for v_j in greatest(1, v_i - p_most) .. least(v_length, v_i + p_most) loop  -- beyond are more edits than p_most
            v_row[v_j + 1] := least(
                v_above[v_j] + (v_one[v_i] <> v_other[v_j])::int,
                v_above[v_j + 1] + 1,
                v_row[v_j] + 1,
                case when v_i > 1 and v_j > 1 and v_one[v_i] = v_other[v_j - 1] and v_one[v_i - 1] = v_other[v_j]
                     then v_before[v_j - 1] + 1 end);
            v_least := least(v_least, v_row[v_j + 1]);
        end loop;
        if v_least > p_most then
            return null;
        end if;
        v_before := v_above;
        v_above := v_row;
    end loop;
    return nullif(least(v_above[v_length + 1], p_most + 1), p_most + 1);
end;
$$;
comment on function bt_edits is 'How many letters make the difference of two names; null: more than asked for.';

-- bt_tell_near: a notice if no living runner has the queue or the worker that somebody names, but one of nearly that name.
create or replace function bt_tell_near(p_queue text, p_worker text)
    returns void
    language plpgsql
    volatile
    set search_path from current
as $$
declare
    v_now     constant timestamptz := bt_now();
    v_queues  constant text[] := bt_known_queues(v_now);
    v_workers constant text[] := array(select distinct unnest(bt_known_workers(served.queue, v_now)) from unnest(v_queues) as served (queue));
begin
    if p_queue <> all (v_queues) and bt_nearest(p_queue, v_queues) is not null then
        raise notice 'no living runner serves the queue %; the nearest one served is %', p_queue, bt_nearest(p_queue, v_queues);
    end if;
    if p_worker <> all (v_workers) and bt_nearest(p_worker, v_workers) is not null then
        raise notice 'no living runner knows the worker %; the nearest one known is %', p_worker, bt_nearest(p_worker, v_workers);
    end if;
end;
$$;
comment on function bt_tell_near is 'A notice if no living runner has a queue or a worker, but one of nearly that name.';
