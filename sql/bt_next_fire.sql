-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_next_fire: the first time after an instant for which a schedule fires.
--
-- An interval goes on in the same steps from p_anchor, one of its fire times, however late it is.
--
-- p_interval_ms  milliseconds from fire to fire; null: by p_spec and p_tz
-- p_anchor       a fire time of the interval; unused with p_spec
-- p_after        answers are later than this
-- returns        null if the spec never fires again
create or replace function bt_next_fire(
    p_interval_ms bigint,
    p_spec        text,
    p_tz          text,
    p_anchor      timestamptz,
    p_after       timestamptz
)
    returns timestamptz
    language plpgsql
    stable
    set search_path from current
as $$
declare
    v_interval constant interval := p_interval_ms * interval '1 ms';
begin
    if p_interval_ms is null then
        return bt_next_cron(p_spec, p_tz, p_after);
    end if;
    return p_anchor + greatest(0, floor(extract(epoch from p_after - p_anchor) * 1000 / p_interval_ms) + 1) * v_interval;
end;
$$;
comment on function bt_next_fire is 'The first time after p_after for which a schedule fires.';
