-- SPDX-License-Identifier: EPL-1.0+
--
-- schema.sql: the data. A job is written once, to backtick_queue, and deleted once, when it ends;
-- in between, who runs it is a row of backtick_claim, and the job's own row is left alone.
--
-- Repeatable under load: `create table if not exists` takes no lock on a table that is there.
-- `create index if not exists` does, hence the question before it.

-- ---- backtick_queue: the jobs that have not ended ---------------------------

create table if not exists backtick_queue (
    id         bigint generated always as identity,
    queue      text        not null default 'default',
    name       text        not null,
    args       json        not null default '[]',
    priority   smallint    not null default 5,
    run_at     timestamptz not null default bt_now(),
    tries      int         not null default 0,
    crashes    int         not null default 0,
    max_tries  int,
    error      jsonb,
    created_at timestamptz not null default bt_now(),
    schedule   text,
    scheduled_for timestamptz,
    after_job  bigint,
    enqueued_by text       default bt_role(),
    expires_at timestamptz,
    tags       text[],
    snoozes    int         not null default 0,
    attempts   jsonb,
    gate       smallint    not null default 0,
    group_key  text,
    due_at     timestamptz,
    key        text,
    batch      bigint,
    is_second  boolean,
    headers    jsonb,
    constraint backtick_queue_id primary key (id),
    constraint backtick_queue_is_job check (bt_is_job(queue, name, args, priority, run_at, max_tries, gate, group_key, key))
);
comment on table backtick_queue is 'Jobs that have not ended: queued, or running if a claim holds their id.';
comment on column backtick_queue.id is 'Given in order of enqueueing, never used again.';
comment on column backtick_queue.queue is 'The named stream that a runner serves; 1 to 200 characters.';
comment on column backtick_queue.name is 'The worker to call, module.function; 1 to 200 characters.';
comment on column backtick_queue.args is 'Arguments: a JSON array of positional ones, or an object of keyword ones, in which "*" holds an array of positional ones; or {"$sealed": text}, which only who has a key can read. json, not jsonb: what was sent comes back to the letter.';
comment on column backtick_queue.priority is '0 (first) to 9.';
comment on column backtick_queue.run_at is 'When the job is due; among equal priorities the earliest first.';
comment on column backtick_queue.tries is 'How many tries have failed so far.';
comment on column backtick_queue.crashes is 'How often a runner died while it held the job.';
comment on column backtick_queue.max_tries is 'Tries after which a failing job is exceeded; null: what the runner says.';
comment on column backtick_queue.error is 'The last failure: class, message, traceback; of a sealed job the last two are in "$sealed"; null: none.';
comment on column backtick_queue.created_at is 'When the job was enqueued.';
comment on column backtick_queue.schedule is 'backtick_schedule.name, if a schedule fired it; null: none did.';
comment on column backtick_queue.scheduled_for is 'The time for which the schedule fired it.';
comment on column backtick_queue.after_job is 'A job that must have ended before this one is claimed; null: none.';

-- ---- backtick_claim: who runs what ------------------------------------------

do $$
begin
    if to_regtype('backtick_floor') is null then
        create type backtick_floor as (
            queue      text,
            names      int,
            made_at    timestamptz,
            is_short   boolean,
            is_paging  boolean,
            times      timestamptz[],
            ids        bigint[],
            looked_at  timestamptz,
            seen       pg_snapshot,
            open       xid8[],
            open_since timestamptz[],
            doubted    xid8[],
            doubt_from timestamptz,
            whole_at   timestamptz,
            whole_ms   int
        );
    end if;
end;
$$;
comment on type backtick_floor is 'Where the next claim of a queue starts, and what it need not look at again: see bt_floor.';
comment on column backtick_floor.queue is 'The queue.';
comment on column backtick_floor.names is 'Which workers the runner knows: a hash of their names.';
comment on column backtick_floor.made_at is 'When the claim was made.';
comment on column backtick_floor.is_short is 'It took fewer than it was to: there was no more.';
comment on column backtick_floor.is_paging is 'It looked at as many as it may, and found too few: the next one goes on, and does not look below first.';
comment on column backtick_floor.times is 'Ten times, for priorities 0 to 9: run_at of the last job that was taken or passed over.';
comment on column backtick_floor.ids is 'Ten ids: of these jobs.';
comment on column backtick_floor.looked_at is 'When a claim last looked below the floor.';
comment on column backtick_floor.seen is 'Which transactions that look saw.';
comment on column backtick_floor.open is 'Transactions that were open at that look.';
comment on column backtick_floor.open_since is 'For each: none of its jobs is due before that, unless backtick_freed tells.';
comment on column backtick_floor.doubted is 'Transactions, and parts of such, that had locked rows of jobs which were passed over; nine at most.';
comment on column backtick_floor.doubt_from is 'The first run_at of these jobs.';
comment on column backtick_floor.whole_at is 'When a claim last looked from the beginning.';
comment on column backtick_floor.whole_ms is 'Milliseconds that this took.';

create table if not exists backtick_claim (
    id         bigint      not null,
    queue      text        not null,
    runner     bigint      not null,
    claimed_at timestamptz not null,
    lowest     bigint      not null,
    highest    bigint      not null,
    floor      backtick_floor,
    jobs       bigint[]    not null,
    groups     bigint[],
    constraint backtick_claim_id primary key (id),
    constraint backtick_claim_holds_jobs check (cardinality(jobs) > 0)
);
comment on table backtick_claim is 'A runner''s hold on a batch of jobs. A job is running if and only if its id is here.';
comment on column backtick_claim.id is 'The proof of ownership that completing, failing and releasing ask for; random, 48 bits.';
comment on column backtick_claim.queue is 'The queue that all jobs of the claim are from.';
comment on column backtick_claim.runner is 'backtick_runner.id; a claim whose runner is gone is revived.';
comment on column backtick_claim.claimed_at is 'When the claim was made.';
comment on column backtick_claim.jobs is 'Ids of the jobs still held; the row goes with the last of them.';

-- ---- backtick_freed: what has become free below the floors ---------------------

create table if not exists backtick_freed (
    id       bigint generated always as identity,
    queue    text        not null,
    xid      xid8        not null default pg_current_xact_id(),
    priority smallint    not null,
    run_at   timestamptz not null,
    job      bigint      not null,
    freed_at timestamptz not null,
    constraint backtick_freed_id primary key (queue, xid, id)  -- bt_floor: what an earlier look has not seen
);
comment on table backtick_freed is 'Places to which the next claim must go back, for jobs have become free there; kept for ten minutes: see bt_floor.';
comment on column backtick_freed.id is 'Only tells rows apart.';
comment on column backtick_freed.queue is 'The queue.';
comment on column backtick_freed.xid is 'The transaction that freed the jobs.';
comment on column backtick_freed.priority is 'Their priority.';
comment on column backtick_freed.run_at is 'The first run_at of them.';
comment on column backtick_freed.job is 'The id of that job.';
comment on column backtick_freed.freed_at is 'When they were freed.';

-- ---- backtick_cancel: the running jobs that somebody wants canceled -----------

create table if not exists backtick_cancel (
    job      bigint      not null,
    asked_at timestamptz not null,
    constraint backtick_cancel_job primary key (job)
);
comment on table backtick_cancel is 'Jobs that somebody canceled while they ran: their runner stops them, and nobody claims them again.';
comment on column backtick_cancel.job is 'The job; a row whose job has ended is removed by bt_revive.';
comment on column backtick_cancel.asked_at is 'When it was asked for.';

-- ---- backtick_progress: how far running jobs say they are ----------------------

create table if not exists backtick_progress (
    job      bigint      not null,
    share    real,
    note     text,
    noted_at timestamptz not null,
    constraint backtick_progress_job primary key (job),
    constraint backtick_progress_share_is_0_to_1 check (share between 0 and 1),
    constraint backtick_progress_note_is_short check (char_length(note) <= 500)
);
comment on table backtick_progress is 'What running jobs last said of themselves, a row each; bt_revive removes those of jobs that have ended.';
comment on column backtick_progress.job is 'The job.';
comment on column backtick_progress.share is 'How much of it is done, 0 to 1; null: it did not say.';
comment on column backtick_progress.note is 'What it does, for people; at most 500 characters; null: it did not say.';
comment on column backtick_progress.noted_at is 'When it said so.';

-- ---- backtick_waiter: the jobs whose end somebody waits for --------------------

create table if not exists backtick_waiter (
    job         bigint      not null,
    waits_until timestamptz not null,
    constraint backtick_waiter_job primary key (job)
);
comment on table backtick_waiter is 'Jobs whose end is to be notified; bt_revive removes those nobody waits for any more.';
comment on column backtick_waiter.job is 'The job.';
comment on column backtick_waiter.waits_until is 'When the last of those who wait for it gives up.';

-- ---- backtick_done: the jobs that have ended --------------------------------

create table if not exists backtick_done (
    id          bigint      not null,
    queue       text        not null,
    name        text        not null,
    args        json        not null,
    priority    smallint    not null,
    run_at      timestamptz not null,
    state       text        not null,
    tries       int         not null,
    crashes     int         not null,
    max_tries   int,
    error       jsonb,
    runner      bigint,
    created_at  timestamptz not null,
    started_at  timestamptz,
    finished_at timestamptz not null,
    schedule    text,
    scheduled_for timestamptz,
    enqueued_by text,
    expires_at  timestamptz,
    tags        text[],
    snoozes     int         not null default 0,
    attempts    jsonb,
    result      json,
    group_key   text,
    key         text,
    batch       bigint,
    headers     jsonb,
    constraint backtick_done_id primary key (id),
    constraint backtick_done_state_is_an_end check (state in ('done', 'exceeded', 'canceled'))
);
comment on table backtick_done is 'Jobs that have ended; only added to, and thinned out by bt_remove_old.';
comment on column backtick_done.id is 'As it was in backtick_queue; so are queue to created_at, schedule and scheduled_for.';
comment on column backtick_done.queue is 'The queue it was in.';
comment on column backtick_done.name is 'The worker that was called.';
comment on column backtick_done.args is 'The arguments that it was called with.';
comment on column backtick_done.priority is '0 (first) to 9.';
comment on column backtick_done.run_at is 'When it was due, for its last try.';
comment on column backtick_done.state is 'done: the worker returned; exceeded: out of tries or crashes; canceled: withdrawn while queued, or stopped while running.';
comment on column backtick_done.tries is 'Tries used, the last one included.';
comment on column backtick_done.crashes is 'How often a runner died while it held the job.';
comment on column backtick_done.max_tries is 'Tries that it was given; null: as many as the runner said.';
comment on column backtick_done.error is 'The last failure, of a job that then succeeded too; null: none.';
comment on column backtick_done.runner is 'Who ended the job; null: no runner did.';
comment on column backtick_done.created_at is 'When it was enqueued.';
comment on column backtick_done.started_at is 'When its last claim was made; null: never claimed since it was last queued.';
comment on column backtick_done.finished_at is 'When it ended.';
comment on column backtick_done.schedule is 'The schedule that fired it; null: none did.';
comment on column backtick_done.scheduled_for is 'The time for which the schedule fired it.';

-- ---- backtick_runner: the living runners ------------------------------------

create table if not exists backtick_runner (
    id            bigint generated always as identity,
    host          text        not null,
    pid           int         not null,
    queues        text[]      not null,
    names         text[]      not null,
    lease_ms      int         not null,
    locked        boolean     not null,
    started_at    timestamptz not null,
    heartbeat_at  timestamptz not null,
    unlocked_at   timestamptz,
    asleep_until  timestamptz,
    slots         int,
    version       text,
    drained_at    timestamptz,
    memory_mb     int,
    constraint backtick_runner_id primary key (id),
    constraint backtick_runner_lease_is_positive check (lease_ms > 0)
);
comment on table backtick_runner is 'Living runners, a row each; bt_revive removes the dead.';
comment on column backtick_runner.id is 'Given in order of registration, never used again.';
comment on column backtick_runner.host is 'Name of the machine, for people.';
comment on column backtick_runner.pid is 'Process id on that machine, for people.';
comment on column backtick_runner.queues is 'The queues it serves.';
comment on column backtick_runner.names is 'The workers that it knows.';
comment on column backtick_runner.lease_ms is 'Milliseconds without a heartbeat after which it counts as dead.';
comment on column backtick_runner.locked is 'Whether it holds a session lock as a sign of life; false behind a pooler.';
comment on column backtick_runner.started_at is 'When it registered.';
comment on column backtick_runner.heartbeat_at is 'Its last sign of life.';
comment on column backtick_runner.unlocked_at is 'When its session lock was first found free; null: it holds it.';
comment on column backtick_runner.asleep_until is 'It sleeps, and will look by itself then: a job due sooner must wake it. null, or past: it is awake.';

-- ---- backtick_worker: where the jobs of a worker belong --------------------------

create table if not exists backtick_worker (
    name        text        not null,
    queue       text        not null,
    priority    smallint,
    declared_at timestamptz not null,
    constraint backtick_worker_name primary key (name),
    constraint backtick_worker_priority_is_0_to_9 check (priority between 0 and 9)
);
comment on table backtick_worker is 'What the code of runners says of its workers, for who schedules by a bare name: see bt_home.';
comment on column backtick_worker.name is 'The worker.';
comment on column backtick_worker.queue is 'The queue that its code declares; default if it declares none.';
comment on column backtick_worker.priority is 'The priority that its code declares; null: none.';
comment on column backtick_worker.declared_at is 'When a runner last said so, about.';

-- ---- backtick_uptime: since when session locks can be trusted ------------------
--
-- Unlogged on purpose: a crash of the server, and the promotion of a standby, empty it, and so tell
-- that the locks which living runners held are gone. A restart shows in started_at.

create unlogged table if not exists backtick_uptime (
    started_at timestamptz not null,
    since      timestamptz not null,
    orphans_at timestamptz,
    groups_at  timestamptz,
    constraint backtick_uptime_started_at primary key (started_at)
);
comment on table backtick_uptime is 'One row: the start of the server that bt_revive saw last.';
comment on column backtick_uptime.started_at is 'pg_postmaster_start_time() then.';
comment on column backtick_uptime.since is 'When it was noticed; runners then get time to take their session locks again.';

insert into backtick_uptime (started_at, since)
select pg_postmaster_start_time(), '-infinity'
where not exists (select from backtick_runner)
on conflict do nothing;

-- ---- backtick_told: the orphans that runners have noticed -----------------------

create unlogged table if not exists backtick_told (
    queue   text        not null,
    worker  text        not null,
    since   timestamptz not null,
    told_at timestamptz,
    constraint backtick_told_orphan primary key (queue, worker)
);
comment on table backtick_told is 'The rows of backtick_orphan that runners have noticed: see bt_tell_orphans.';
comment on column backtick_told.queue is 'The queue.';
comment on column backtick_told.worker is 'The worker.';
comment on column backtick_told.since is 'When it was noticed first.';
comment on column backtick_told.told_at is 'When a runner wrote it to its log; null: not yet.';

-- ---- backtick_alert: the findings that runners have noticed ----------------------

create unlogged table if not exists backtick_alert (
    finding  text        not null,
    subject  text        not null,
    severity text        not null,
    text     text        not null,
    since    timestamptz not null,
    seen_at  timestamptz not null,
    told_at  timestamptz,
    constraint backtick_alert_finding primary key (finding, subject)
);
comment on table backtick_alert is 'The rows of bt_check that runners have noticed: see bt_tell_alerts.';
comment on column backtick_alert.finding is 'Its kind.';
comment on column backtick_alert.subject is 'What it is about.';
comment on column backtick_alert.severity is 'error or warning.';
comment on column backtick_alert.text is 'What it said when it was noticed.';
comment on column backtick_alert.since is 'Since when it was so, as far as known then.';
comment on column backtick_alert.seen_at is 'When it was noticed first.';
comment on column backtick_alert.told_at is 'When a runner was given it to tell; null: not yet.';

-- ---- backtick_schedule: what fires by itself --------------------------------

create table if not exists backtick_schedule (
    name         text        not null,
    worker       text        not null,
    interval_ms  bigint,
    spec         text,
    tz           text,
    args         json        not null,
    queue        text        not null,
    priority     smallint    not null,
    max_tries    int,
    catch_up     text        not null,
    overlap      text        not null,
    next_run_at  timestamptz,
    last_run_at  timestamptz,
    last_late    interval,
    last_job     bigint,
    skipped      bigint      not null default 0,
    declared_at  timestamptz,
    error        text,
    caught_up    int         not null default 0,
    expires_in   interval,
    tags         text[],
    key          text,
    group_key    text,
    constraint backtick_schedule_name primary key (name),
    constraint backtick_schedule_name_is_short check (char_length(name) between 1 and 200),
    constraint backtick_schedule_is_interval_or_cron check (
        (interval_ms is null) = (spec is not null) and (spec is null) = (tz is null)),
    constraint backtick_schedule_interval_is_a_second check (interval_ms >= 1000),
    constraint backtick_schedule_catch_up_is_known check (catch_up in ('once', 'all', 'skip')),
    constraint backtick_schedule_overlap_is_known check (overlap in ('skip', 'queue', 'allow')),
    constraint backtick_schedule_never_fires_a_time_twice check (next_run_at > last_run_at)
);
comment on table backtick_schedule is 'Recurring and cron jobs: a row for each schedule. Look at it through the view backtick_recurring.';
comment on column backtick_schedule.name is 'The worker''s, unless it was given another.';
comment on column backtick_schedule.worker is 'The worker to call.';
comment on column backtick_schedule.interval_ms is 'Milliseconds from fire to fire; null: it goes by spec.';
comment on column backtick_schedule.spec is 'Cron spec, by the rules of CRON.md; null: it goes by interval_ms.';
comment on column backtick_schedule.tz is 'The time zone whose wall clock the spec means.';
comment on column backtick_schedule.args is 'Arguments of each job, as in backtick_queue.';
comment on column backtick_schedule.queue is 'The queue of its jobs.';
comment on column backtick_schedule.priority is 'The priority of its jobs, 0 (first) to 9.';
comment on column backtick_schedule.max_tries is 'Tries that each job is given; null: as many as the runner says.';
comment on column backtick_schedule.catch_up is 'Of fires that nobody was there for: once fires one job for all, all fires each, skip none.';
comment on column backtick_schedule.overlap is 'While the last job has not ended: skip fires none, queue fires one that waits, allow does not care.';
comment on column backtick_schedule.next_run_at is 'When it fires next; null: it is switched off.';
comment on column backtick_schedule.last_run_at is 'The latest time for which it fired or was skipped; fire times only ever grow.';
comment on column backtick_schedule.last_late is 'How long after its time the last job was enqueued.';
comment on column backtick_schedule.last_job is 'The last job that it fired.';
comment on column backtick_schedule.skipped is 'How many fires were left out because of overlap.';
comment on column backtick_schedule.declared_at is 'When code last said that it wants it; null: it was made from SQL, and no code is asked.';
comment on column backtick_schedule.error is 'Why it was switched off; null: it was not.';

-- ---- backtick_setting: what holds for a queue -------------------------------

create table if not exists backtick_setting (
    queue     text not null,
    paused_at timestamptz,
    paused_by text,
    paused_why text,
    has_limits boolean not null default false,
    is_closing boolean not null default false,
    constraint backtick_setting_queue primary key (queue),
    constraint backtick_setting_queue_is_short check (char_length(queue) between 1 and 200)
);
comment on table backtick_setting is 'Settings of queues, a row each; a queue without a row has none.';
comment on column backtick_setting.queue is 'The queue that they hold for.';
comment on column backtick_setting.paused_at is 'Since when nothing is claimed from the queue; null: it is not paused.';

-- ---- backtick_pause: what is paused, beside queues ----------------------------

create table if not exists backtick_pause (
    queue     text        not null,
    kind      text        not null,
    name      text        not null,
    paused_at timestamptz not null,
    paused_by text        not null,
    reason    text,
    constraint backtick_pause_of primary key (queue, kind, name),
    constraint backtick_pause_kind_is_known check (kind in ('worker', 'group', 'schedule'))
);
comment on table backtick_pause is 'Workers, groups and schedules that are paused, a row each; queues are in backtick_setting.';
comment on column backtick_pause.queue is 'The queue in which it is; empty: in all, of a worker, or it is a schedule.';
comment on column backtick_pause.kind is 'worker, group or schedule.';
comment on column backtick_pause.name is 'The worker, the group, or the schedule.';
comment on column backtick_pause.paused_at is 'Since when.';
comment on column backtick_pause.paused_by is 'The role that paused it.';
comment on column backtick_pause.reason is 'Why, for people; null: nobody said.';

-- ---- backtick_limit: what is limited -----------------------------------------

create table if not exists backtick_limit (
    kind       text        not null,
    queue      text        not null,
    name       text        not null default '',
    running    int,
    rate       int,
    period     interval,
    on_failure text,
    max_depth  int,
    on_depth   text,
    depth      bigint,
    depth_at   timestamptz,
    set_at     timestamptz not null,
    set_by     text,
    constraint backtick_limit_of primary key (kind, queue, name),
    constraint backtick_limit_kind_is_known check (kind in ('queue', 'worker', 'groups', 'group')),
    constraint backtick_limit_running_is_not_negative check (running >= 0),
    constraint backtick_limit_rate_is_positive check (rate > 0 and period > interval '0'),
    constraint backtick_limit_rate_has_period check ((rate is null) = (period is null)),
    constraint backtick_limit_on_failure_is_known check (on_failure in ('wait', 'go_on')),
    constraint backtick_limit_depth_is_positive check (max_depth > 0),
    constraint backtick_limit_on_depth_is_known check (on_depth in ('refuse', 'drop'))
);
comment on table backtick_limit is 'Limits, a row each: see bt_limit.';
comment on column backtick_limit.kind is 'queue: of the queue; worker: of one worker in it; groups: of each group in it that has none of its own; group: of one group.';
comment on column backtick_limit.queue is 'The queue.';
comment on column backtick_limit.name is 'The worker, or the group; empty where there is none.';
comment on column backtick_limit.running is 'How many may run at once; null: any number.';
comment on column backtick_limit.rate is 'How many may begin in a period; null: any number.';
comment on column backtick_limit.period is 'The period of the rate; null: there is none.';
comment on column backtick_limit.on_failure is 'Of groups: wait, nothing else of the group begins before a failed job has had its next try; go_on: others do; null: wait if running is 1.';
comment on column backtick_limit.max_depth is 'Of a queue: how many jobs may wait, about; null: any number.';
comment on column backtick_limit.on_depth is 'What becomes of more: refuse, an error; drop, they are not queued; null: refuse.';
comment on column backtick_limit.depth is 'How many waited when it was last looked; null: never.';
comment on column backtick_limit.depth_at is 'When that was.';
comment on column backtick_limit.set_at is 'When it was set.';
comment on column backtick_limit.set_by is 'The role that set it.';

-- ---- backtick_begun: what began, where a rate is limited ------------------------

create table if not exists backtick_begun (
    queue     text        not null,
    group_key text        not null,
    begun_at  timestamptz not null,
    jobs      int         not null
);
comment on table backtick_begun is 'How many jobs claims began, of queues and groups that have a rate; bt_tend_groups removes what is over.';
comment on column backtick_begun.queue is 'The queue.';
comment on column backtick_begun.group_key is 'The group; empty: the queue itself.';
comment on column backtick_begun.begun_at is 'When they were claimed.';
comment on column backtick_begun.jobs is 'How many.';

-- ---- backtick_opening: what opens gates ---------------------------------------

create table if not exists backtick_opening (
    id         bigint generated always as identity,
    queue      text        not null,
    xid        xid8        not null default pg_current_xact_id(),
    group_keys text[],
    job        bigint,
    has_failed boolean     not null default false,
    can_wait   boolean     not null default false,
    noted_at   timestamptz not null,
    constraint backtick_opening_id primary key (queue, xid, id),  -- as backtick_freed
    constraint backtick_opening_is_of_group_or_job check ((group_keys is null) <> (job is null))
);
comment on table backtick_opening is 'Groups that may have room, and jobs that need wait no longer; only added to, and read and removed by claims: see bt_let_in.';
comment on column backtick_opening.id is 'Only tells rows apart.';
comment on column backtick_opening.queue is 'The queue of the jobs that wait.';
comment on column backtick_opening.xid is 'The transaction that noted it.';
comment on column backtick_opening.group_keys is 'The groups, of which jobs came or ended; null: it is about one job.';
comment on column backtick_opening.job is 'A job that waited for one which has ended; null: it is about groups.';
comment on column backtick_opening.has_failed is 'Whether that one ended as exceeded or canceled.';
comment on column backtick_opening.can_wait is 'Whether it is for claims that look below their floors alone: there is more, once what is in has been claimed.';
comment on column backtick_opening.noted_at is 'When it was noted.';

-- ---- backtick_after: which jobs wait for which ---------------------------------

create table if not exists backtick_after (
    waits_for  bigint      not null,
    job        bigint      not null,
    queue      text        not null,
    on_failure text        not null,
    constraint backtick_after_waits_for primary key (waits_for, job),
    constraint backtick_after_on_failure_is_known check (on_failure in ('cancel', 'run'))
);
comment on table backtick_after is 'Jobs that begin when others have ended, a row for each that they wait for.';
comment on column backtick_after.waits_for is 'The job that must have ended.';
comment on column backtick_after.job is 'The job that waits for it.';
comment on column backtick_after.queue is 'The queue of that.';
comment on column backtick_after.on_failure is 'If the one waited for was exceeded or canceled: cancel, it is canceled; run, it runs all the same.';

-- ---- backtick_batch: jobs with a common end -------------------------------------

create table if not exists backtick_batch (
    id         bigint generated always as identity,
    on_done    jsonb,
    on_failed  jsonb,
    parent     bigint,
    created_at timestamptz not null,
    created_by text        not null,
    made_by    xid8        not null default pg_current_xact_id(),
    closed_at  timestamptz,
    ended_at   timestamptz,
    state      text,
    callback   bigint,
    done       bigint,
    exceeded   bigint,
    canceled   bigint,
    constraint backtick_batch_id primary key (id),
    constraint backtick_batch_state_is_an_end check ((state in ('done', 'failed')) = (ended_at is not null))
);
comment on table backtick_batch is 'Batches: jobs with a common end, a row each: see bt_batch.';
comment on column backtick_batch.id is 'Given in order, never used again.';
comment on column backtick_batch.on_done is 'The job that is made when all have ended as done: name, queue, priority, max_tries; null: none.';
comment on column backtick_batch.on_failed is 'The job that is made when all have ended, and not all as done; null: none.';
comment on column backtick_batch.parent is 'The batch that it is of itself; null: none.';
comment on column backtick_batch.created_at is 'When it was made.';
comment on column backtick_batch.created_by is 'The role that made it, which its callback is queued for.';
comment on column backtick_batch.made_by is 'The transaction that made it: in there it does not end.';
comment on column backtick_batch.closed_at is 'Since when it may end; null: who made it still adds to it.';
comment on column backtick_batch.ended_at is 'When all had ended; null: it is open, and takes more jobs.';
comment on column backtick_batch.state is 'done: all of its jobs; failed: some were exceeded or canceled; null: it has not ended.';
comment on column backtick_batch.callback is 'The job that was made at its end; null: none.';
comment on column backtick_batch.done is 'How many of its jobs, and those of batches within, ended as done; null: it has not ended. So are exceeded and canceled.';
comment on column backtick_batch.exceeded is 'How many were exceeded.';
comment on column backtick_batch.canceled is 'How many were canceled.';

-- ---- backtick_ending: the batches that may have ended ----------------------------

create table if not exists backtick_ending (
    id       bigint generated always as identity,
    batch    bigint      not null,
    noted_at timestamptz not null,
    constraint backtick_ending_id primary key (id)
);
comment on table backtick_ending is 'Batches of which a job ended; only added to, and read and removed by bt_end_batches.';
comment on column backtick_ending.id is 'Only tells rows apart.';
comment on column backtick_ending.batch is 'The batch.';
comment on column backtick_ending.noted_at is 'When it was noted.';
-- ---- backtick_stat: numbers over time ------------------------------------------

create table if not exists backtick_stat (
    span         text        not null,
    at           timestamptz not null,
    queue        text        not null,
    worker       text        not null,
    note         bigint,
    noted_at     timestamptz not null,
    done         bigint      not null default 0,
    failed       bigint      not null default 0,
    retried      bigint      not null default 0,
    exceeded     bigint      not null default 0,
    canceled     bigint      not null default 0,
    snoozed      bigint      not null default 0,
    crashed      bigint      not null default 0,
    runs         bigint      not null default 0,
    run_s        float8      not null default 0,
    wait_s       float8      not null default 0,
    run_classes  bigint[],
    wait_classes bigint[],
    ids          bigint,
    constraint backtick_stat_span_is_known check (span in ('note', 'minute', 'hour', 'ever', 'ids'))
);
comment on table backtick_stat is 'Numbers over time, by queue and worker: what runners noted in the last minutes, and its sums: see bt_fold_stats. Look at it by bt_stats.';
comment on column backtick_stat.span is 'note: as a runner said it; minute, hour: the sum of such; ever: of all that were summed up; ids: nothing but ids.';
comment on column backtick_stat.at is 'The minute, or the hour, when the runs ended; -infinity: ever.';
comment on column backtick_stat.queue is 'The queue.';
comment on column backtick_stat.worker is 'The worker.';
comment on column backtick_stat.note is 'The number of the call that noted it; null: no runner did.';
comment on column backtick_stat.noted_at is 'When it was noted, or first summed up.';
comment on column backtick_stat.done is 'Jobs that ended as done.';
comment on column backtick_stat.failed is 'Tries that failed.';
comment on column backtick_stat.retried is 'Those of them after which the job was queued again.';
comment on column backtick_stat.exceeded is 'Jobs that ended as exceeded.';
comment on column backtick_stat.canceled is 'Jobs that ended as canceled.';
comment on column backtick_stat.snoozed is 'How often a worker put off its job.';
comment on column backtick_stat.crashed is 'How often a runner died while it held a job.';
comment on column backtick_stat.runs is 'How many runs the times are of.';
comment on column backtick_stat.run_s is 'Seconds that these ran, their sum.';
comment on column backtick_stat.wait_s is 'Seconds from when they were due until they were claimed, their sum.';
comment on column backtick_stat.run_classes is 'How many of them ran for so long: a number for each of bt_bounds, and one for longer; null: none.';
comment on column backtick_stat.wait_classes is 'How many of them waited for so long; null: none.';
comment on column backtick_stat.ids is 'The last id that a job had been given when that minute began, or some seconds later; null: the row is of what became of jobs.';

-- ---- Columns that tables of before have not -----------------------------------

-- Who upgrades needs all tables for himself for a moment. He takes the locks one by one, as others do, each in an order of
-- its own; so he never waits for one as long as it takes until the server ends somebody for a deadlock, but lets all go.
do $$
declare
    v_all constant text := (
        select string_agg(format('%I', class.relname), ', ' order by class.relkind desc, class.relname)
        from pg_class as class
        where class.relnamespace = (select known.relnamespace from pg_class as known where known.oid = 'backtick_queue'::regclass)
          and class.relname like 'backtick\_%'
          and class.relkind in ('r', 'v')
    );
    v_patience constant text := current_setting('lock_timeout');
begin
    if exists (
        select from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'groups' and not attisdropped
    ) then
        return;
    end if;
    perform set_config('lock_timeout', '100ms', true);
    for v_try in 1 .. 200 loop
        begin
            execute 'lock table ' || v_all || ' in access exclusive mode';
            exit;
        exception when lock_not_available then
            if v_try = 200 then
                raise;
            end if;
            perform pg_sleep(0.05);
        end;
    end loop;
    perform set_config('lock_timeout', v_patience, true);
end;
$$;

do $$
begin
    if not exists (
        select from pg_attribute where attrelid = 'backtick_queue'::regclass and attname = 'enqueued_by' and not attisdropped
    ) then
        alter table backtick_queue add column if not exists enqueued_by text;  -- first without the default: what is there has none
        alter table backtick_queue alter column enqueued_by set default bt_role();
        alter table backtick_done add column if not exists enqueued_by text;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_queue'::regclass and attname = 'attempts' and not attisdropped
    ) then
        alter table backtick_queue
            add column if not exists expires_at timestamptz,
            add column if not exists tags text[],
            add column if not exists snoozes int not null default 0,
            add column if not exists attempts jsonb;
        alter table backtick_done
            add column if not exists expires_at timestamptz,
            add column if not exists tags text[],
            add column if not exists snoozes int not null default 0,
            add column if not exists attempts jsonb,
            add column if not exists result json;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_queue'::regclass and attname = 'due_at' and not attisdropped
    ) then
        alter table backtick_queue
            add column if not exists gate smallint not null default 0,
            add column if not exists group_key text,
            add column if not exists due_at timestamptz,
            add column if not exists key text,
            add column if not exists batch bigint;
        alter table backtick_done
            add column if not exists group_key text,
            add column if not exists key text,
            add column if not exists batch bigint;
    end if;
    if not exists (
        select from pg_attribute where attrelid = 'backtick_schedule'::regclass and attname = 'key' and not attisdropped
    ) then
        alter table backtick_queue add column if not exists is_second boolean;
        alter table backtick_schedule add column if not exists key text;
    end if;
    if not exists (
        select from pg_attribute where attrelid = 'backtick_queue'::regclass and attname = 'headers' and not attisdropped
    ) then
        alter table backtick_queue add column if not exists headers jsonb;
        alter table backtick_done add column if not exists headers jsonb;
    end if;
    if not exists (select from pg_constraint where conname = 'backtick_queue_is_job' and conrelid = 'backtick_queue'::regclass) then
        alter table backtick_queue
            drop constraint if exists backtick_queue_queue_is_short,  -- a check for each rule, as it was
            drop constraint if exists backtick_queue_name_is_short,
            drop constraint if exists backtick_queue_args_are_array_or_object,
            drop constraint if exists backtick_queue_priority_is_0_to_9,
            drop constraint if exists backtick_queue_run_at_has_four_digit_year,
            drop constraint if exists backtick_queue_max_tries_is_positive,
            drop constraint if exists backtick_queue_gate_is_known,
            drop constraint if exists backtick_queue_group_key_is_short,
            drop constraint if exists backtick_queue_key_is_short,
            add constraint backtick_queue_is_job check (
                bt_is_job(queue, name, args, priority, run_at, max_tries, gate, group_key, key)) not valid;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_runner'::regclass and attname = 'drained_at' and not attisdropped
    ) then
        alter table backtick_runner add column if not exists slots int, add column if not exists version text, add column if not exists drained_at timestamptz;
    end if;
    if not exists (
        select from pg_attribute where attrelid = 'backtick_runner'::regclass and attname = 'memory_mb' and not attisdropped
    ) then
        alter table backtick_runner add column memory_mb int;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_uptime'::regclass and attname = 'orphans_at' and not attisdropped
    ) then
        alter table backtick_uptime add column if not exists orphans_at timestamptz;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_uptime'::regclass and attname = 'alerts_at' and not attisdropped
    ) then
        alter table backtick_uptime add column if not exists alerts_at timestamptz;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_setting'::regclass and attname = 'paused_by' and not attisdropped
    ) then
        alter table backtick_setting add column if not exists paused_by text;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_setting'::regclass and attname = 'has_limits' and not attisdropped
    ) then
        alter table backtick_setting
            add column if not exists paused_why text,
            add column if not exists has_limits boolean not null default false,
            add column if not exists is_closing boolean not null default false;
        alter table backtick_uptime add column if not exists groups_at timestamptz;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_schedule'::regclass and attname = 'caught_up' and not attisdropped
    ) then
        alter table backtick_schedule add column if not exists caught_up int not null default 0;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_schedule'::regclass and attname = 'expires_in' and not attisdropped
    ) then
        alter table backtick_schedule add column if not exists expires_in interval, add column if not exists tags text[];
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_schedule'::regclass and attname = 'group_key' and not attisdropped
    ) then
        alter table backtick_schedule add column if not exists group_key text;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'lowest' and not attisdropped
    ) then
        -- Of the claims that are there it is not known: they may hold any job.
        alter table backtick_claim
            add column if not exists lowest bigint not null default 0,
            add column if not exists highest bigint not null default 9223372036854775807;
        alter table backtick_claim
            alter column lowest drop default,
            alter column highest drop default;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'floor' and not attisdropped
    ) then
        alter table backtick_claim add column if not exists floor backtick_floor;
    end if;

    if not exists (
        select from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'groups' and not attisdropped
    ) then
        alter table backtick_claim add column if not exists groups bigint[];
    end if;

    -- What version 3 kept instead: a claim that is under way may still write it.
    if exists (
        select from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'last_job' and attnotnull
    ) then
        alter table backtick_claim
            alter column last_priority drop not null,
            alter column last_run_at drop not null,
            alter column last_job drop not null;
    end if;
end;
$$;
comment on column backtick_claim.lowest is 'The lowest id that was claimed.';
comment on column backtick_claim.highest is 'The highest id that was claimed.';
comment on column backtick_claim.groups is 'Of each of the jobs that was taken from where it waited for the turn of its group (gate 1), a hash of the group: see bt_let_in; null: of none.';
comment on column backtick_claim.floor is 'Where the next claim of a runner with the same workers starts; null: not known.';
comment on column backtick_runner.slots is 'How many jobs of plain workers it runs at once; null: it did not say.';
comment on column backtick_runner.version is 'The version of its backtick.py; null: it did not say.';
comment on column backtick_runner.drained_at is 'When it was told to finish what it has and end; null: it was not.';
comment on column backtick_runner.memory_mb is 'How many megabytes its process had at the last sign of life, its children not counted; null: it did not say.';
comment on column backtick_uptime.orphans_at is 'When runners next look for orphans: see bt_tell_orphans; null: at once.';
comment on column backtick_uptime.groups_at is 'When runners next look for groups that nobody told claims of: see bt_tend_groups; null: at once.';
comment on column backtick_setting.paused_why is 'Why it is paused, for people; null: nobody said.';
comment on column backtick_setting.has_limits is 'Whether claims must look at limits of the queue and its workers, and at rates.';
comment on column backtick_setting.is_closing is 'Whether a limit of groups was lowered: the next claim closes gates first.';
comment on column backtick_uptime.alerts_at is 'When runners that alert next look for findings: see bt_tell_alerts; null: at once.';
comment on column backtick_setting.paused_by is 'The role that paused it; null: it is not paused, or was before roles were recorded.';
comment on column backtick_schedule.caught_up is 'How many fires of one outage have been looked at so far, by catch_up all.';
comment on column backtick_schedule.expires_in is 'How long after it fired a job of it may begin; null: for ever.';
comment on column backtick_schedule.tags is 'The tags of its jobs; null: none.';
comment on column backtick_queue.enqueued_by is 'The role that enqueued it, as bt_role told it; null: before roles were recorded.';
comment on column backtick_done.enqueued_by is 'The role that enqueued it; null: before roles were recorded.';
comment on column backtick_queue.expires_at is 'If it has not begun by then it ends as canceled, with the reason expired; null: never.';
comment on column backtick_queue.tags is 'Words by which people find it; null: none.';
comment on column backtick_queue.headers is 'What goes with it beside its arguments, an object: trace context, tenant, locale; null: nothing.';
comment on column backtick_queue.snoozes is 'How often its worker put it off without using a try.';
comment on column backtick_queue.attempts is 'What became of it so far, an array of objects, oldest first, the last ten failures at most: see bt_job_of; null: nothing yet.';
comment on column backtick_done.expires_at is 'By when it had to begin; null: no matter when.';
comment on column backtick_done.tags is 'Words by which people find it; null: none.';
comment on column backtick_done.snoozes is 'How often its worker put it off without using a try.';
comment on column backtick_done.headers is 'As in backtick_queue.';
comment on column backtick_done.attempts is 'What became of it before it ended, as in backtick_queue; null: nothing.';
comment on column backtick_queue.gate is '0: claims take it, if it is due; 1: it stands in the line of its group, and runs if a claim took it from there; 2: it waits until other jobs have ended.';
comment on column backtick_queue.group_key is 'The group whose limits, order and turns it shares; null: none.';
comment on column backtick_queue.due_at is 'When it was due, if run_at is when its group or the jobs it waited for let it in; null: run_at is.';
comment on column backtick_queue.key is 'Of the jobs of a queue with one key one has not ended, and one more may wait behind it (after_job); null: none.';
comment on column backtick_queue.batch is 'The batch that it is of; null: none.';
comment on column backtick_queue.is_second is 'Of the two places that a key has, true: the second, null: the first; who waits behind a job has the other one.';
comment on column backtick_schedule.key is 'The key of its jobs: a fire is left out while another job has it; null: none.';
comment on column backtick_schedule.group_key is 'The group of its jobs; null: none.';
comment on column backtick_done.group_key is 'The group that it was of; null: none.';
comment on column backtick_done.key is 'The key that it had; null: none.';
comment on column backtick_done.batch is 'The batch that it is of; null: none.';
comment on column backtick_done.result is 'What its worker returned, encoded as arguments are; {"$sealed": text} if they were sealed; null: None, or nothing that can be kept.';

-- ---- Indexes ----------------------------------------------------------------

-- A transaction that stays open keeps the entries of all jobs that have ended since. If the queue is then found empty, the
-- planner takes each index for one page and any of them for as good as another. So which one serves a statement
-- must not be its choice. Hence no id as a column but in the primary key: (id + 0) orders as well, and serves nobody who
-- looks for an id. Hence the hash of a queue's name in one index of the claims, and its name in the other.
--
-- Indexes of so many jobs that nobody may wait while they are made, upgrade.sql has made before; then they are found.

do $$
begin
    -- `drop index if exists` takes no lock if there is none
    drop index if exists backtick_queue_due;  -- of version 3
    drop index if exists backtick_queue_name;  -- of version 3
    drop index if exists backtick_claim_highest;  -- of version 3

    -- bt_claim: the jobs of a queue in the order in which they are due; bt_sleep: the first one to come
    if to_regclass('backtick_queue_order') is null then
        create index backtick_queue_order on backtick_queue (queue, gate, priority, run_at, (id + 0));
    end if;

    -- bt_claim, when jobs of other workers stand before the runner's own; bt_cancel_all of a worker
    if to_regclass('backtick_queue_worker') is null then
        create index backtick_queue_worker on backtick_queue (queue, name, gate, priority, run_at, (id + 0));
    end if;

    -- bt_floor: the few jobs that come after another
    if to_regclass('backtick_queue_after') is null then
        create index backtick_queue_after on backtick_queue (queue, priority, run_at) where after_job is not null;
    end if;

    -- bt_floor: the latest claim
    if to_regclass('backtick_claim_latest') is null then
        create index backtick_claim_latest on backtick_claim (queue, claimed_at);
    end if;

    -- bt_claim: those that may hold given jobs
    if to_regclass('backtick_claim_holder') is null then
        create index backtick_claim_holder on backtick_claim (hashtext(queue), highest);
    end if;

    -- bt_let_in: of a group, which jobs are in, and then the first of those that wait
    if to_regclass('backtick_queue_turn') is null then
        create index backtick_queue_turn on backtick_queue (hashtext(queue), group_key, gate, priority, run_at, (id + 0))
            where group_key is not null;
    end if;

    -- bt_let_in: groups of which a job becomes due that was not when it came; bt_sleep: the first of these to come
    if to_regclass('backtick_queue_later') is null then
        create index backtick_queue_later on backtick_queue (hashtext(queue), run_at, group_key)
            where gate + 0 = 1 and run_at > created_at;
    end if;

    -- bt_room, bt_let_in: how many began in the last period
    if to_regclass('backtick_begun_at') is null then
        create index backtick_begun_at on backtick_begun (queue, group_key, begun_at);
    end if;

    -- bt_put_special: a key is unique, but for one job that waits behind the one that runs
    if to_regclass('backtick_queue_keys') is null then
        create unique index backtick_queue_keys on backtick_queue (queue, key, (is_second is null)) where key is not null;
    end if;
    if to_regclass('backtick_done_key') is null then
        create index backtick_done_key on backtick_done (queue, key, created_at) where key is not null;
    end if;

    -- what a batch has left, the last first; what became of it
    if to_regclass('backtick_queue_left') is null then
        create index backtick_queue_left on backtick_queue (batch, (id + 0)) where batch is not null;
        create index if not exists backtick_done_batch on backtick_done (batch, state) where batch is not null;
    end if;

    -- the batches within a batch; bt_remove_old: those that ended long ago
    if to_regclass('backtick_batch_parent') is null then
        create index backtick_batch_parent on backtick_batch (parent, (ended_at is null)) where parent is not null;
        create index backtick_batch_ended on backtick_batch (state, ended_at) where ended_at is not null;
    end if;

    -- what waits for others, by its own id
    if to_regclass('backtick_after_job') is null then
        create index backtick_after_job on backtick_after (job);
    end if;

    -- a schedule fires each time once, whatever happens
    if to_regclass('backtick_queue_fire') is null then
        create unique index backtick_queue_fire on backtick_queue (schedule, scheduled_for) where schedule is not null;
    end if;

    -- bt_expire: the few jobs that expire
    if to_regclass('backtick_queue_expires') is null then
        create index backtick_queue_expires on backtick_queue (expires_at) where expires_at is not null;
    end if;

    -- bt_matching, of what has ended: the few that did not just succeed, by class, worker and queue; what has tags. Jobs
    -- that are done and have neither an error nor tags stand in none of these, so they cost nothing.
    if to_regclass('backtick_done_class') is null then
        create index backtick_done_class on backtick_done ((error ->> 'class'), finished_at) where error is not null;
    end if;
    if to_regclass('backtick_done_name') is null then
        create index backtick_done_name on backtick_done (name, finished_at) where state <> 'done';
    end if;
    if to_regclass('backtick_done_queue') is null then
        create index backtick_done_queue on backtick_done (queue, finished_at) where state <> 'done';
    end if;
    if to_regclass('backtick_done_tags') is null then
        create index backtick_done_tags on backtick_done using gin (tags) where tags is not null;
    end if;

    -- bt_schedules: the last fires of each
    if to_regclass('backtick_done_schedule') is null then
        create index backtick_done_schedule on backtick_done (schedule, scheduled_for) where schedule is not null;
    end if;

    -- bt_fold_stats and bt_stats: one sum each; what was noted
    if to_regclass('backtick_stat_sum') is null then
        create unique index backtick_stat_sum on backtick_stat (span, at, queue, worker) where span <> 'note';
        create index backtick_stat_note on backtick_stat (noted_at) where span = 'note';
    end if;

    -- bt_remove_old: what ended longest ago, state by state
    if to_regclass('backtick_done_finished') is null then
        create index backtick_done_finished on backtick_done (state, finished_at);
    end if;
end;
$$;

-- ---- Vacuum -------------------------------------------------------------------
--
-- Rows of the queue live for milliseconds, those of claims and runners are few and change all the time:
-- they are cleaned after so many changes, not after a fifth of the table's size, which may be millions.
-- Room in a page lets a changed row stay there, and its index entries with it. To compress the ids of a claim, which
-- live for milliseconds, took a third of the claim's time.

do $$
begin
    if (select reloptions is null from pg_class where oid = 'backtick_queue'::regclass) then
        alter table backtick_queue set (
            autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000, fillfactor = 90);
        alter table backtick_claim set (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, fillfactor = 70);
        alter table backtick_runner set (
            autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, fillfactor = 50);
    end if;
    if (select attstorage <> 'e' from pg_attribute where attrelid = 'backtick_claim'::regclass and attname = 'jobs') then
        alter table backtick_claim alter column jobs set storage external;
    end if;
end;
$$;

-- ---- backtick_job: every job ------------------------------------------------

create or replace view backtick_job as
    select job.id,
           job.queue,
           job.name,
           job.args,
           job.priority,
           coalesce(job.due_at, job.run_at) as run_at,
           case when held.claim is null then 'queued' else 'running' end as state,
           case when held.claim is null then job.tries else job.tries + 1 end as tries,
           job.crashes,
           coalesce(job.max_tries, substring(job.error ->> 'max_tries' from '^[0-9]{1,9}$')::int) as max_tries,
           job.created_at,
           held.claimed_at as started_at,
           null::timestamptz as finished_at,
           held.runner,
           job.error,
           job.schedule,
           job.scheduled_for,
           asked.asked_at as cancel_asked_at,
           job.error ->> 'class' as error_class,
           job.enqueued_by,
           job.expires_at,
           job.tags,
           job.snoozes,
           job.attempts,
           null::json as result,
           said.share as progress,
           said.note,
           job.group_key,
           job.key,
           job.batch,
           job.headers
    from backtick_queue as job
    left join backtick_cancel as asked on asked.job = job.id
    left join backtick_progress as said on said.job = job.id
    left join (
        select claim.id as claim, claim.runner, claim.claimed_at, unnest(claim.jobs) as job
        from backtick_claim as claim
    ) as held on held.job = job.id
    union all
    select id, queue, name, args, priority, run_at, state, tries, crashes,
           coalesce(max_tries, substring(error ->> 'max_tries' from '^[0-9]{1,9}$')::int),
           created_at, started_at, finished_at, runner, error, schedule, scheduled_for, null,
           error ->> 'class', enqueued_by, expires_at, tags, snoozes, attempts, result, null, null,
           group_key, key, batch, headers
    from backtick_done;
comment on view backtick_job is 'Every job: state is queued, running, done, exceeded or canceled; tries counts a running one; cancel_asked_at: somebody canceled it while it ran; error_class: of the last failure, for those who may not read error; progress and note: what a running one said of itself.';

-- ---- backtick_recurring: every schedule -------------------------------------

create or replace view backtick_recurring as
    select schedule.name,
           schedule.worker,
           schedule.interval_ms,
           schedule.spec,
           schedule.tz,
           schedule.args,
           schedule.queue,
           schedule.priority,
           schedule.max_tries,
           schedule.catch_up,
           schedule.overlap,
           schedule.next_run_at,
           schedule.last_run_at,
           schedule.last_late as lateness,
           schedule.last_job,
           job.state as last_state,
           job.error as last_error,
           schedule.skipped,
           schedule.declared_at,
           exists (
               select from backtick_runner as runner
               where schedule.worker = any (runner.names)
                 and schedule.queue = any (runner.queues)
           ) as has_worker,
           schedule.error
    from backtick_schedule as schedule
    left join backtick_job as job on job.id = schedule.last_job;
comment on view backtick_recurring is 'Every schedule: when it fires, what became of its last job, how late that was, whether a living runner knows its worker.';
