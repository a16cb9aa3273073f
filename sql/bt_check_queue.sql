-- SPDX-License-Identifier: EPL-1.0+
--
-- bt_check_queue: refuse what cannot be the name of a queue, naming the value and the rule.
--
-- Runners are told their queues as a list, `mail,default` or `mail:3,default:1`. Or `mail=4,default`. So a name
-- has no comma, no colon, at its ends no white space (ASCII's, whatever the locale says), and no = at its end, or = and a number. backtick.py has the same rule, _is_queue().
--
-- It is asked of what is new, and no table checks it: a queue whose name broke the rule before there was one keeps its
-- jobs and schedules. They can be claimed, paused, resumed, canceled, and moved by an update of backtick_queue.queue.
--
-- Callers pin the search_path, as for bt_check_job.
--
-- p_function  who asks, for the message
-- p_queue     the name
-- raises      22023 invalid_parameter_value
create or replace function bt_check_queue(p_function text, p_queue text)
    returns void
    language plpgsql
    immutable
as $$
begin
    if p_queue is null
        or char_length(p_queue) not between 1 and 200
        or p_queue ~ '[,:]|=[+-]?[0-9]*$'
        or btrim(p_queue, E' \t\n\x0b\f\r') <> p_queue
    then
        raise exception '%: the queue is %', p_function, coalesce('"' || left(p_queue, 60) || '"', 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'A queue''s name has 1 to 200 characters, no comma or colon, no white space at its ends, and '
                         'no = at its end, or = and a number, since runners are told their queues as a list: mail,default or '
                         'mail:3,default:1 or mail=4,default.';
    end if;
end;
$$;
comment on function bt_check_queue is 'Raise an error, with value and rule, if this cannot be the name of a queue.';
