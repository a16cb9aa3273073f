# SPDX-License-Identifier: EPL-1.0+
"""Measure backtick on your own database, or two versions of it in turns.

    python .ci/bench.py drain latency                   # these workloads; without names: all, in half an hour
    python .ci/bench.py drain --against HEAD~1 --rounds 7

The database is that of BT_DATABASE_URL, or the embedded one. Everything happens in a scratch schema that is
removed at the end, never in the live queue, and with real runner processes where a workload says runner.
"""

# How it hangs together: main() reads the options. measure() runs workloads, each a function that gets a Bench
# (the scratch schema, and processes that work in it) and returns its figures by name; WORKLOADS, at the end,
# names them. The runners are this file once more, as `bench.py runner`: run_jobs(). compare() measures nothing
# itself: it starts a bench.py for each version, workload and round.
#
# Nothing here is a test. Machines are noisy, so figures are only to be compared if they are of one run, and what
# is compared is measured in turns. Private names of backtick are used where nothing else will do (seal), so that
# this file can drive old versions too.

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import importlib
import itertools
import json
import logging
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nacl.bindings as sodium
import psycopg
import psycopg.types.json
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent

# Which backtick is measured must be known before it is imported.
WHICH = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
WHICH.add_argument(
    "--backtick",
    type=Path,
    default=ROOT,
    metavar="PATH",
    help="measure this backtick.py, or that of this folder",
)
FOLDER: Path = WHICH.parse_known_args()[0].backtick.resolve()
FOLDER = FOLDER.parent if FOLDER.is_file() else FOLDER
if not (FOLDER / "backtick.py").is_file():
    sys.exit(f"bench: there is no backtick.py in {FOLDER}: name the folder that holds it and sql/")
sys.path.insert(0, str(FOLDER))

import backtick as bt  # noqa: E402

Figures = dict[str, Any]

QUEUE = "default"


class BenchError(Exception):
    """What stops a measurement; its text is one line for people."""


# ---- The command line ----------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments say; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    try:
        if arguments[:1] == ["runner"]:
            return run_jobs(Path(arguments[1]), int(arguments[2]), arguments[3])
        options = read_options(arguments)
        config = bt.Config.load()
        url = bt.database_url(config)
        print(f"bench: database {bt.hide_password(url)}", file=sys.stderr)
        if options.against:
            return compare(options, url)
        results = measure(options, dataclasses.replace(config, database_url=url))
        print(json.dumps(results) if options.json else table(results))
        return 0
    except (BenchError, bt.BacktickError, psycopg.Error) as error:
        print(f"bench: {bt.hide_password(' '.join(str(error).split()))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; `workloads` are names that exist. Raises BenchError."""
    about = "\n".join(f"  {name:<10} {(run.__doc__ or '').splitlines()[0]}" for name, run in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python .ci/bench.py",
        parents=[WHICH],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
        epilog=f"workloads:\n{about}",
    )
    parser.add_argument("workloads", nargs="*", metavar="workload", help="from the list below, or all (the default)")
    numbers = {
        "jobs": (200_000, "size of a drained queue"),
        "backlog": (1_000_000, "jobs that only stand in the way"),
        "seconds": (60, "length of sustained, pinned and history"),
        "pool-size": (16, "slots of each runner"),
        "rounds": (5, "with --against: how often each version's turn comes"),
    }
    for name, (default, meaning) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{meaning}; default {default}")
    parser.add_argument(
        "--against", metavar="OTHER", help="compare with the version in this folder, or of this git revision, in turns"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for scripts; of --against all samples")
    options = parser.parse_intermixed_args(arguments)
    for name in numbers:
        if getattr(options, name.replace("-", "_")) < 1:
            parser.error(f"--{name} is {getattr(options, name.replace('-', '_'))}; give a number from 1")
    for name in options.workloads:
        if name not in (*WORKLOADS, "all"):
            raise BenchError(f"there is no workload {name!r}; the workloads are {', '.join(WORKLOADS)}, all")
    if not options.workloads or "all" in options.workloads:
        options.workloads = list(WORKLOADS)
    return options


def measure(options: argparse.Namespace, config: bt.Config) -> dict[str, Figures]:
    """The figures of each workload, and under which conditions they were found."""
    with contextlib.closing(Bench(options, config)) as bench:
        results = {"conditions": bench.conditions()}
        for name in options.workloads:
            bench.say(name)
            bench.install()
            results[name] = WORKLOADS[name](bench)
        bench.say("")
    return results


def table(results: Mapping[str, Figures]) -> str:
    """The figures for people to read."""
    lines = []
    for name, figures in results.items():
        lines += ["", name, *(f"  {what:<66} {shown(figure):>14}" for what, figure in figures.items())]
    return "\n".join(lines[1:])


def shown(figure: object) -> str:
    """A number with a fraction as three digits, or all that stand before the point; anything else as it is."""
    if isinstance(figure, float):
        return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.3g}"
    return str(figure)


# ---- Two versions in turns -------------------------------------------------------------------
#
# In each round each workload is run with both versions, one right after the other, by processes of their own;
# who is first changes from round to round. What a slow minute of the machine does to a figure it does to both,
# so the ratio is taken in each round, and the median of these ratios counts, not the ratio of the medians.
# Where its range lies on both sides of 1, no difference was seen. `--against .` shows how much is noise.


class Version(NamedTuple):
    """What is compared: how it is called in the table, and the folder of its copy."""

    label: str
    folder: Path


class Sample(NamedTuple):
    """A figure that was measured in one round with both versions."""

    old: float
    new: float


def compare(options: argparse.Namespace, url: str) -> int:
    """Run the workloads in turns with two versions; print medians, ranges and ratios. Returns the exit status."""
    conditions: dict[Version, Figures] = {}
    samples: dict[str, dict[str, list[Sample]]] = {name: {} for name in options.workloads}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="backtick-bench-") as place:
        old, new = copies(options, Path(place))
        with contextlib.suppress(KeyboardInterrupt):  # what is complete is shown
            for turn, name in itertools.product(range(options.rounds), options.workloads):
                if name in failures:
                    continue
                results: dict[Version, dict[str, Figures]] = {}
                try:
                    for version in (old, new) if turn % 2 == 0 else (new, old):
                        say(f"round {turn + 1} of {options.rounds}: {name}, {version.label}")
                        results[version] = run_elsewhere(Path(place), version, name, options, url)
                        conditions[version] = results[version]["conditions"]
                except BenchError as error:
                    failures[name] = str(error)
                    continue
                for what, sample in pairs(results[old][name], results[new][name]).items():
                    samples[name].setdefault(what, []).append(sample)
        say("")
    if options.json:
        known = {"versions": [old.label, new.label], "conditions": [conditions.get(old), conditions.get(new)]}
        print(json.dumps(known | samples))
    elif len(conditions) == 2:
        print(comparison(old, new, conditions, samples))
    for name, why in failures.items():
        print(f"bench: {name} is left out: {why}", file=sys.stderr)
    complete = all(len(taken) == options.rounds for figures in samples.values() for taken in figures.values())
    return 0 if complete and all(samples.values()) else 1


def copies(options: argparse.Namespace, place: Path) -> tuple[Version, Version]:
    """The two versions, and this program, copied to `place`: nobody's editing changes them meanwhile."""
    shutil.copy(__file__, place / "bench.py")
    new = Version("here" if FOLDER == ROOT else FOLDER.name, place / "new")
    copy_folder(FOLDER, new.folder)
    given = Path(options.against)
    if given.is_dir():
        old = Version(given.resolve().name, place / "old")
        copy_folder(given, old.folder)
    else:
        commit = git("rev-parse", "--verify", "--quiet", "--short", f"{options.against}^{{commit}}").decode().strip()
        if not commit:
            raise BenchError(f"{options.against!r} is neither a folder nor a git revision of {ROOT}")
        old = Version(commit, place / "old")
        old.folder.mkdir()
        archive = git("archive", commit, "backtick.py", "sql")
        subprocess.run(["tar", "-xC", old.folder], input=archive, check=True)
    if not (old.folder / "backtick.py").is_file():
        raise BenchError(f"there is no backtick.py in {options.against}: name the folder that holds it and sql/")
    return old, new


def copy_folder(source: Path, target: Path) -> None:
    """Copy what is measured: the file and its SQL."""
    target.mkdir()
    for name in ("backtick.py", "sql"):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        elif (source / name).exists():
            shutil.copy(source / name, target / name)


def git(*arguments: str) -> bytes:
    """What git prints, nothing if it fails."""
    return subprocess.run(["git", "-C", ROOT, *arguments], check=False, stdout=subprocess.PIPE).stdout


def run_elsewhere(
    place: Path, version: Version, name: str, options: argparse.Namespace, url: str
) -> dict[str, Figures]:
    """The results of one workload with one version, from a process of its own. Raises BenchError."""
    command = [sys.executable, str(place / "bench.py"), name, "--json", "--backtick", str(version.folder)]
    for option in ("jobs", "backlog", "seconds", "pool_size"):
        command += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
    # A session of its own: Ctrl-C is for us, who then let it clean up.
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command, env=os.environ | {"BT_DATABASE_URL": url}, text=True, **pipes) as process:
        try:
            said, problem = process.communicate()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        why = (problem.strip().splitlines() or ["it said nothing"])[-1].removeprefix("bench: ")
        raise BenchError(f"{version.label} ended with status {process.returncode}: {why}")
    results: dict[str, Figures] = json.loads(said)
    return results


def pairs(old: Figures, new: Figures) -> dict[str, Sample]:
    """The figures that are numbers in both."""
    both = {what: (old[what], new[what]) for what in new if what in old}
    return {what: Sample(*map(float, pair)) for what, pair in both.items() if all(map(is_number, pair))}


def is_number(figure: object) -> bool:
    return isinstance(figure, (int, float)) and not isinstance(figure, bool) and not math.isnan(figure)


def comparison(
    old: Version,
    new: Version,
    conditions: Mapping[Version, Figures],
    samples: Mapping[str, Mapping[str, Sequence[Sample]]],
) -> str:
    """The comparison for people to read."""
    lines = ["conditions"]
    for what, figure in conditions[new].items():
        other = conditions[old].get(what)
        differs = "" if other == figure else f" (of {old.label}: {shown(other)})"
        lines.append(f"  {what:<66} {shown(figure)}{differs}")
    for name, figures in samples.items():
        rounds = max(map(len, figures.values()), default=0)
        heads = (old.label, new.label, f"{new.label} / {old.label}")
        lines += ["", f"{name + f', {rounds} rounds':<68} " + " ".join(f"{head:>26}" for head in heads)]
        for what, taken in figures.items():
            figure = [middle_and_range(values, shown) for values in zip(*taken, strict=True)]
            ratio = middle_and_range([sample.new / sample.old for sample in taken if sample.old], "{:.3f}".format)
            lines.append(f"  {what:<66} " + " ".join(f"{column:>26}" for column in (*figure, ratio)))
    return "\n".join(lines)


def middle_and_range(values: Sequence[float], show: Callable[[float], str]) -> str:
    """The median, and in brackets the lowest and the highest."""
    if not values:
        return "-"
    return f"{show(float(statistics.median(values)))} ({show(min(values))} to {show(max(values))})"


# ---- The scratch schema, and what works in it --------------------------------------------------


class Bench:
    """A scratch schema, the processes that work in it, and what their work costs."""

    def __init__(self, options: argparse.Namespace, config: bt.Config) -> None:
        self.options = options
        schema = f"backtick_bench_{os.getpid()}"
        self.config = dataclasses.replace(config, schema=schema, log_level="warning", seal="")
        self.connection = self.connect()
        self.folder = tempfile.TemporaryDirectory(prefix="backtick-bench-")

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of our own in autocommit, whose search_path is the scratch schema."""
        connection = psycopg.connect(
            self.config.database_url, autocommit=True, application_name="bench", target_session_attrs="read-write"
        )
        psycopg.types.json.set_json_loads(lambda data: data, connection)  # as a runner's connection has it
        connection.execute(sql.SQL("set search_path to {}").format(sql.Identifier(self.config.schema)))
        return connection

    def install(self) -> None:
        """Empty tables, whatever was there before."""
        self.drop()
        bt.install(self.config)

    def drop(self) -> None:
        """Remove the scratch schema."""
        name = sql.Identifier(self.config.schema)
        self.connection.execute(sql.SQL("drop schema if exists {} cascade").format(name))

    def close(self) -> None:
        """Leave nothing behind."""
        self.drop()
        self.connection.close()
        self.folder.cleanup()

    def conditions(self) -> Figures:
        """What the figures depend on, and nobody can change afterwards."""
        read_ahead = [thing.READ_AHEAD for thing in vars(bt).values() if hasattr(thing, "READ_AHEAD")]
        return {
            "backtick": bt.__version__,
            "PostgreSQL": self.ask("show server_version"),
            "Python": sys.version.split()[0],
            "cores": os.cpu_count(),
            "server on this machine": bool(self.server_pids()),
            **{name: self.ask(f"show {name}") for name in ("synchronous_commit", "fsync", "shared_buffers")},
            "jobs of a drained queue": self.options.jobs,
            "slots of a runner": self.options.pool_size,
            "jobs claimed ahead, at most": next(iter(read_ahead), None),
            "arguments of a job": "[]",
        }

    def ask(self, query: str, *parameters: Any, **named: Any) -> Any:
        """The one value that a query in the scratch schema gives."""
        row = self.connection.execute(query.encode(), named or parameters).fetchone()
        return row[0] if row else None

    def say(self, text: str) -> None:
        """Show how far it is, on a terminal."""
        say(text)

    def bar(self, what: str, share: float) -> None:
        """Show how much of a work is done, from 0 to 1, on a terminal."""
        say(f"{what} [{'#' * int(share * 40):<40}] {share:4.0%}")

    def wait_until(self, done: Callable[[], float], what: str, patience_s: float = 900) -> None:
        """Wait until a share of the work, from 0 to 1, is all of it; with a progress bar."""
        end = time.monotonic() + patience_s
        while (share := done()) < 1:
            if time.monotonic() > end:
                raise BenchError(f"{what} did not come to an end within {patience_s:.0f} s")
            self.bar(what, share)
            time.sleep(0.05)

    def fill(self, count: int, name: str = "bench.noop", args: str = "[]", **options: Any) -> None:
        """Queue so many jobs; `options` are parameters of bt_enqueue_many."""
        for first in range(0, count, 20_000):
            self.bar("queueing jobs", first / count)
            call(self.connection, "bt_enqueue_many", p_name=name, p_args=[args] * min(20_000, count - first), **options)

    @contextlib.contextmanager
    def runners(self, count: int, nap_ms: int = 0, how: str = "plain", **settings: Any) -> Iterator[list[int]]:
        """Runner processes, ready and asleep; gives their process ids.

        Their no-op jobs take `nap_ms` milliseconds; `how` is a name of WORKERS; `settings` are a runner's.
        """
        values = dataclasses.asdict(self.config) | {"queues": QUEUE, "pool_size": self.options.pool_size} | settings
        environment = os.environ | {f"BT_{key.upper()}": str(value) for key, value in values.items()}
        command = [sys.executable, __file__, "runner", self.folder.name, str(nap_ms), how, "--backtick", str(FOLDER)]
        processes = [subprocess.Popen(command, env=environment) for _ in range(count)]

        def asleep() -> float:
            if any(process.poll() is not None for process in processes):
                raise BenchError("a runner ended while it was to start; what it said stands above")
            return float(self.ask("select count(*) from backtick_runner where asleep_until is not null")) / count

        try:
            self.wait_until(asleep, "starting runners")
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()

    def drain(
        self,
        processes: int = 1,
        *,
        total: int = 0,
        nap_ms: int = 0,
        waits: Counter[str] | None = None,
        how: str = "plain",
        args: str = "[]",
        **settings: Any,
    ) -> Figures:
        """Runners take what is queued; from the first completion to the last, by the database's clock.

        Jobs take `nap_ms` milliseconds; `waits` counts what the runners' connections were seen waiting for; `how` is
        a name of WORKERS; `settings` are a runner's.
        """
        total = total or self.options.jobs
        self.ask(f"select bt_pause('{QUEUE}')")
        left = self.ask("select count(*) from backtick_queue where name = 'bench.noop' and run_at < now()")
        self.fill(total - left, args=args)
        with self.runners(processes, nap_ms, how, **settings) as pids:
            start = self.ask("select coalesce(max(id), 0) from backtick_done")
            counted = self.count_ended()
            wal = self.ask("select pg_current_wal_insert_lsn()")
            server, runner = self.server_cpu_s(), sum(map(cpu_s, pids))
            self.ask(f"select bt_resume('{QUEUE}')")

            def share() -> float:
                if waits is not None:
                    waits.update(self.seen_waiting())
                return self.share_done(total, counted, start)

            self.wait_until(share, "draining")
            figures = {
                "CPU of the server, ms per 1000 jobs": (self.server_cpu_s() - server) * 1e6 / total,
                "CPU of the runners, ms per 1000 jobs": (sum(map(cpu_s, pids)) - runner) * 1e6 / total,
                "WAL, bytes a job": float(self.ask("select pg_current_wal_insert_lsn() - %s", wal)) / total,
            }
        span = "select max(finished_at) - min(finished_at) from backtick_done where name = 'bench.noop'"
        return {"jobs/s": (total - 1) / self.ask(span).total_seconds(), **figures}

    def count_ended(self) -> int:
        """How many jobs were ever written to the history, as the server counts for nothing, a bit late."""
        return int(self.ask("select pg_stat_get_tuples_inserted('backtick_done'::regclass)"))

    def share_done(self, total: int, counted: int, after: int = 0) -> float:
        """Which share of so many no-op jobs is done: about, and exactly at the end, once runners lie down.

        `counted` is what count_ended() said before; ids up to `after` are not of these jobs.
        """
        share = (self.count_ended() - counted) / total
        if share > 0.97 and self.ask("select bool_and(asleep_until is not null) from backtick_runner"):
            done = "select count(*) from backtick_done where name = 'bench.noop' and id > %s"
            return float(self.ask(done, after)) / total
        return min(0.99, share)

    def seen_waiting(self) -> list[str]:
        """What the runners' connections wait for just now."""
        query = (
            "select case when state = 'active' then coalesce(wait_event_type || ' ' || wait_event, 'running')"
            " else 'waiting for the runner' end from pg_stat_activity where application_name = 'backtick'"
        )
        return [state for (state,) in self.connection.execute(query).fetchall()]

    def insert_rate(self, connections: int) -> float:
        """Jobs/s that so many connections queue one by one, each with a commit, in loops on the server."""
        each = max(200, 8000 // connections)
        loop = f"do $$ begin for n in 1 .. {each} loop perform bt_enqueue('bench.unknown'); commit; end loop; end $$"
        with contextlib.ExitStack() as stack:
            ours = [stack.enter_context(self.connect()) for _ in range(connections)]
            threads = [threading.Thread(target=one.execute, args=(loop.encode(),)) for one in ours]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return connections * each / (time.perf_counter() - start)

    def stamps(self) -> list[float]:
        """How many ms after they were queued jobs of bench.stamp began, each told once; of runners that have ended."""
        files = list(Path(self.folder.name).glob("stamps-*"))
        late = [float(line) for path in files for line in path.read_text().split()]
        for path in files:
            path.unlink()
        return late

    def server_pids(self) -> list[int]:
        """The server's processes, if it runs here."""
        pids = [pid for (pid,) in self.connection.execute("select pid from pg_stat_activity").fetchall()]
        return pids if all(map(is_postgres, pids)) else []

    def server_cpu_s(self) -> float:
        """CPU seconds that the server has used, in processes that have ended too; NaN if it is elsewhere."""
        pids = self.server_pids()
        if not pids:
            return math.nan
        parent = int(proc_stat(self.connection.info.backend_pid)[1])
        return sum(map(cpu_s, pids)) + cpu_s(parent, children=True)


def run_jobs(folder: Path, nap_ms: int, how: str) -> int:
    """A runner with the workers of the benchmarks, until a signal ends it; started by Bench.runners()."""
    stamps = os.open(folder / f"stamps-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def stamp(sent: float) -> None:
        os.write(stamps, f"{(time.time() - sent) * 1000}\n".encode())

    if how == "process":  # its processes import the worker
        (folder / "bench_worker.py").write_text(IN_A_PROCESS)
        sys.path.insert(0, str(folder))
        importlib.import_module("bench_worker")
    else:
        bt.register(WORKERS[how](nap_ms / 1000), "bench.noop")
    bt.register(lambda: time.sleep(3600), "bench.nap")
    bt.register(stamp, "bench.stamp")
    logging.basicConfig(level=logging.WARNING)
    runner = bt.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop(0, wait=False))
    while not runner.join(timeout=3600):
        pass
    os._exit(int(runner.failed))  # although naps may be under way in threads, which nothing can end


def plain(nap_s: float) -> Callable[..., Any]:
    """A worker in a thread that does nothing for so long."""
    return (lambda *_: time.sleep(nap_s)) if nap_s else (lambda *_: None)


def on_the_loop(nap_s: float) -> Callable[..., Any]:
    """The same of asyncio."""

    async def nothing(*_: object) -> None:
        if nap_s:
            await asyncio.sleep(nap_s)

    return nothing


IN_A_PROCESS = """
import backtick

@backtick.worker(name="bench.noop", process=True)
def nothing(*_):
    pass
"""

INSERT = b"insert into bench_row values (1)"
POOLED = 16  # connections of the pool, as many as there are threads by default


def pool_of(kind: str, **options: Any) -> Any:
    """A pool of psycopg_pool's, connected to the scratch schema in autocommit: one round trip an insert."""
    try:
        pools = importlib.import_module("psycopg_pool")
    except ImportError:
        raise BenchError("this needs psycopg_pool: pip install psycopg_pool") from None
    settings = {"autocommit": True, "options": f"-c search_path={os.environ['BT_SCHEMA']}"}
    return getattr(pools, kind)(
        os.environ["BT_DATABASE_URL"], min_size=POOLED, max_size=POOLED, timeout=600, kwargs=settings, **options
    )


def inserting(_: float) -> Callable[..., Any]:
    """A worker in a thread that inserts a row, by a connection of a pool."""
    pool = pool_of("ConnectionPool", open=True)

    def insert(*_: object) -> None:
        with pool.connection() as connection:
            connection.execute(INSERT)

    return insert


def inserting_on_the_loop(_: float) -> Callable[..., Any]:
    """The same of asyncio."""
    pool = pool_of("AsyncConnectionPool", open=False)
    opening: list[asyncio.Task[None]] = []

    async def insert(*_: object) -> None:
        opening.extend([asyncio.create_task(pool.open())] if not opening else [])
        await asyncio.shield(opening[0])
        async with pool.connection() as connection:
            await connection.execute(INSERT)

    return insert


WORKERS: dict[str, Callable[[float], Callable[..., Any]]] = {
    "plain": plain,
    "asyncio": on_the_loop,
    "insert": inserting,
    "asyncio insert": inserting_on_the_loop,
}


def call(connection: psycopg.Connection[Any], function: str, **parameters: Any) -> list[Any]:
    """Call a bt_ function, in a transaction of its own; returns its rows."""
    casts = {"p_args": "::text[]", "p_names": "::text[]", "p_ids": "::bigint[]", "p_queues": "::text[]"}
    given = ", ".join(f"{name} => %s{casts.get(name, '')}" for name in parameters)
    return connection.execute(f"select * from {function}({given})".encode(), list(parameters.values())).fetchall()


def say(text: str) -> None:
    """Show how far it is, on a terminal, in place of what stood there."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def quantiles(samples: Sequence[float], percents: Sequence[int] = (50, 90, 99)) -> dict[str, float]:
    ordered = sorted(samples) or [math.nan]
    return {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in percents} | {"max": ordered[-1]}


def proc_stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_postgres(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    return False


def cpu_s(pid: int, children: bool = False) -> float:
    """CPU seconds that a process has used; with those of its ended children, if told. 0 if it has ended."""
    try:
        fields = proc_stat(pid)
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if children else 13])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(proc_stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# ---- Workloads -------------------------------------------------------------------------------


def drain(bench: Bench) -> Figures:
    """A queue of no-op jobs is drained: by one runner process, and by two."""
    one = bench.drain(1)
    bench.install()
    two = bench.drain(2)
    figures = {f"one runner: {what}": figure for what, figure in one.items()}
    figures |= {f"two runners: {what}": figure for what, figure in two.items()}
    return figures | {"two runners, times as fast as one": two["jobs/s"] / one["jobs/s"]}


def on_asyncio(bench: Bench) -> Figures:
    """Jobs of async workers, no-ops and sleeps of 5 ms, beside no-ops in threads."""
    threads = bench.drain()["jobs/s"]
    figures: Figures = {"no-ops in threads, jobs/s": threads}
    for what, nap_ms in (("no-ops", 0), ("sleeps of 5 ms", 5)):
        bench.install()
        rates = bench.drain(nap_ms=nap_ms, total=min(bench.options.jobs, 100_000), how="asyncio")
        figures[f"{what} on asyncio, jobs/s"] = rates["jobs/s"]
        figures[f"{what} on asyncio, times no-ops in threads"] = rates["jobs/s"] / threads
        figures[f"{what} on asyncio, CPU of the runner, ms per 1000 jobs"] = rates[
            "CPU of the runners, ms per 1000 jobs"
        ]
    return figures


def insert(bench: Bench) -> Figures:
    """Jobs that insert a row each, through a pool of connections: in threads, and on asyncio."""
    rates: dict[str, float] = {}
    for what, how in (("in threads", "insert"), ("on asyncio", "asyncio insert")):
        bench.install()
        bench.connection.execute("create table bench_row (n int)")
        rates[what] = bench.drain(total=min(bench.options.jobs, 30_000), how=how)["jobs/s"]
    figures: Figures = {f"one insert a job {what}, jobs/s": rate for what, rate in rates.items()}
    return figures | {"on asyncio, times as fast as in threads": rates["on asyncio"] / rates["in threads"]}


def processes(bench: Bench) -> Figures:
    """No-op jobs in two processes."""
    rates = bench.drain(total=min(bench.options.jobs, 100_000), how="process", pool_size=2)
    return {f"two processes: {what}": figure for what, figure in rates.items()}


def args(bench: Bench) -> Figures:
    """Jobs with the arguments [1, 2]: drained, and queued by Python one by one and in bulk, beside plain inserts.

    What is inserted beside are the same rows in a table with an index, by the same connection.
    """
    rates = bench.drain(args="[1, 2]")
    figures: Figures = {f"one runner: {what}": figure for what, figure in rates.items()}
    both = [rates[f"CPU of the {whose}, ms per 1000 jobs"] for whose in ("server", "runners")]
    figures["one runner: CPU of both, us a job"] = sum(both)
    bench.install()
    bt._connections.use(bench.config)
    entry = bt.register(lambda a, b: None, "bench.pair")
    begun, calls = time.perf_counter(), [(1, 2)] * 1000
    for n in range(50):
        bench.bar("queueing in bulk", n / 50)
        bt.schedule_many(entry.name, calls)
    figures["schedule_many, 1 000 a call, jobs/s"] = 50_000 / (time.perf_counter() - begun)
    bench.connection.execute("create table bench_row (id bigint generated always as identity primary key, args json)")
    row = b"insert into bench_row (args) values (%s::text::json) returning id"
    with bench.connect() as own:
        for what, count, one in (
            ("one by one", 2000, lambda: bt.schedule(entry.name, 1, 2)),
            ("one by one, conn= in autocommit", 2000, lambda: bt.schedule(entry.name, 1, 2, conn=own)),
            ("plain inserts, one by one", 2000, lambda: own.execute(row, ["[1, 2]"]).fetchone()),
        ):
            begun = time.perf_counter()
            for _ in range(count):
                one()
            figures[f"{what}, jobs/s"] = count / (time.perf_counter() - begun)
        for what, one in (
            ("in one transaction, conn=", lambda: bt.schedule(entry.name, 1, 2, conn=own)),
            ("plain inserts, in one transaction", lambda: own.execute(row, ["[1, 2]"]).fetchone()),
        ):
            begun = time.perf_counter()
            with own.transaction():
                for _ in range(5000):
                    one()
            figures[f"{what}, us a job"] = (time.perf_counter() - begun) * 1e6 / 5000
    bt.unregister(entry.name)
    return figures


def of_queues(bench: Bench) -> Figures:
    """A runner of a thousand queues: what it costs when idle, and how late it begins a job of any of them."""
    names = [f"queue{n}" for n in range(1000)]
    seconds = min(15, bench.options.seconds)
    count = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    with bench.runners(1, queues=",".join(names)) as (pid,):
        time.sleep(2)
        calls, cpu = bench.ask(count), cpu_s(pid)
        time.sleep(seconds)
        idle_calls, idle_cpu = float(bench.ask(count) - calls), cpu_s(pid) - cpu
        for n in range(500):
            bench.bar("latency", n / 500)
            time.sleep(0.02)
            stamp = "select bt_enqueue('bench.stamp', json_build_array(%s::float8), %s)"
            bench.ask(stamp, time.time(), names[n * 7 % 1000])
        bench.wait_until(lambda: float(not bench.ask("select count(*) from backtick_queue")), "ending")
    late = quantiles(bench.stamps(), (50, 99))
    return {
        "idle: transactions a second": idle_calls / seconds,
        "idle: CPU of the runner, % of a core": idle_cpu / seconds * 100,
    } | {f"from bt_enqueue to the worker's start, ms, {p}": ms for p, ms in late.items()}


def history(bench: Bench) -> Figures:
    """A runner at 20 000 jobs/s that keeps what is done for a minute: twice a minute to fill it, then --seconds.

    What the tables hold and take is looked at once a second.
    """
    pace, kept_s, seconds = 20_000, 60, bench.options.seconds
    batch = ["[1, 2]"] * 200
    begun = time.monotonic()
    end = begun + 2 * kept_s + seconds
    sizes: list[tuple[float, int, float, float]] = []  # seconds, jobs done, age of the oldest, MB
    looks = (
        "select pg_stat_get_tuples_inserted('backtick_done'::regclass), (select extract(epoch from bt_now() -"
        " min(finished_at))::float8 from backtick_done where state = 'done'),"
        " pg_total_relation_size('backtick_done') / 1e6::float8"
    )

    def produce() -> None:
        with bench.connect() as connection:
            for n in itertools.count():
                time.sleep(max(0.0, begun + n * len(batch) / pace - time.monotonic()))
                if time.monotonic() > end:
                    break
                call(connection, "bt_enqueue_many", p_name="bench.noop", p_args=batch)

    with bench.runners(1, max_completed_ms=kept_s * 1000):
        begun = time.monotonic()
        end = begun + 2 * kept_s + seconds
        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        while (now := time.monotonic()) < end:
            bench.bar("running", (now - begun) / (end - begun))
            sizes.append((now - begun, *bench.connection.execute(looks.encode()).fetchone()))  # type: ignore[misc]
            time.sleep(max(0.0, now + 1 - time.monotonic()))
        producer.join()
    filled = [look for look in sizes if look[0] >= 2 * kept_s]
    tenth = max(1, len(filled) // 10)
    spans = {"before it removes any": [look for look in sizes if look[0] < kept_s], "afterwards": filled}
    figures: Figures = {
        f"jobs/s done, {when}": (looked[-1][1] - looked[0][1]) / (looked[-1][0] - looked[0][0])
        for when, looked in spans.items()
    }
    figures["jobs/s wanted"] = pace
    figures[f"age of the oldest, s, of {kept_s} wanted, median"] = statistics.median(look[2] for look in filled)
    figures["the same, at the end"] = filled[-1][2]
    figures["MB of the history, after two minutes"] = statistics.median(look[3] for look in filled[:tenth])
    return figures | {"MB of the history, at the end": statistics.median(look[3] for look in filled[-tenth:])}


def latency(bench: Bench) -> Figures:
    """An idle runner gets a job every 30 ms; beside it, in turns, a bare NOTIFY that is answered by a SELECT.

    The NOTIFY comes alone, which waits for no disk, and with a row that is written, as a job is.
    """
    count = 700
    ways = {
        "a bare NOTIFY and SELECT": "select pg_notify('backtick_bench', %s::float8::text)",
        "the same with a row written": "with written as (insert into bench_row values (1) returning n)"
        " select pg_notify('backtick_bench', %s::float8::text) from written",
    }
    heard: list[float] = []

    def answer(listener: psycopg.Connection[Any]) -> None:
        while len(heard) < 2 * count:
            for note in listener.notifies(timeout=10, stop_after=1):
                sent = float(note.payload)
            listener.execute("select 1")
            heard.append((time.time() - sent) * 1000)

    bench.connection.execute("create table bench_row (n int)")
    with bench.runners(1), bench.connect() as listener:
        listener.execute("listen backtick_bench")
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        for n in range(count):
            bench.bar("latency", n / count)
            time.sleep(0.01)
            bench.ask("select bt_enqueue('bench.stamp', json_build_array(%s::float8))", time.time())
            for query in ways.values():
                time.sleep(0.01)
                bench.ask(query, time.time())
        thread.join(10)
    late = bench.stamps()
    ours = quantiles(late, (50, 95, 99))
    figures = {f"from bt_enqueue to the worker's start, ms, {p}": ms for p, ms in ours.items()}
    for way, samples in zip(ways, (heard[::2], heard[1::2]), strict=True):
        bare = quantiles(samples, (50, 95, 99))
        figures |= {f"{way}, ms, {p}": ms for p, ms in bare.items()}
        figures |= {f"{way}: {p}, ours is so many times": ours[p] / bare[p] for p in ("p50", "p99")}
    return figures


def result(bench: Bench) -> Figures:
    """How long after the end of a job result() has its value; then, in turns, drains of jobs with and without results.

    And of jobs without, while two hundred threads wait for another job.
    """
    settings = dataclasses.asdict(bench.config)
    bt._connections.use(bench.config)
    ways = {"None": bt.register(lambda: None, "bench.none"), '{"n": 1}': bt.register(lambda: {"n": 1}, "bench.dict")}
    stamp = bt.register(time.time, "bench.ended")
    late = []
    with bt.start(**settings):
        for n in range(500):
            bench.bar("result", n / 1000)
            time.sleep(0.01)
            ended = bt.result(bt.schedule(stamp.name), 60)
            late.append((time.time() - ended) * 1000)
    never = bt.schedule_at(dt.timedelta(hours=1), stamp.name)
    jobs, rates = min(30_000, bench.options.jobs), {(way, waiters): 0.0 for way in ways for waiters in (0, 200)}
    for turn, (way, waiters) in itertools.product(range(3), rates):
        bench.bar("result", 0.5 + turn / 6)
        call(bench.connection, "bt_enqueue_many", p_name=ways[way].name, p_args=["[]"] * jobs)
        waiting = [bt._connections.wait_for(never) for _ in range(waiters)]
        begun = time.perf_counter()
        bt.start(**settings, drain=True).join(timeout=600)
        rates[way, waiters] = max(rates[way, waiters], jobs / (time.perf_counter() - begun))
        for future in waiting:
            future.cancel()
    for entry in (*ways.values(), stamp):
        bt.unregister(entry.name)
    figures: Figures = {
        f"from the worker's end to result(), ms, {p}": ms for p, ms in quantiles(late, (50, 95, 99)).items()
    }
    figures |= {f"jobs/s that return {way}": rates[way, 0] for way in ways}
    figures['those that return {"n": 1}, beside None'] = rates['{"n": 1}', 0] / rates["None", 0]
    return figures | {"with 200 who wait, beside none": rates["None", 200] / rates["None", 0]}


def sustained(bench: Bench) -> Figures:
    """Producers and one runner together."""
    rates = load(bench)
    return {"jobs/s done while as many are queued": sum(rates) / 10, "the slowest tenth, jobs/s": min(rates)}


def load(bench: Bench) -> list[float]:
    """Two producers queue batches of 100, as fast as one runner takes them; jobs/s done in each tenth of the time."""
    seconds: int = bench.options.seconds
    batch = [f"[{n}]" for n in range(100)]
    end = math.inf
    tally = itertools.count()
    # The index of what is done has no dead entries, whatever is held.
    near = "select coalesce(max(id), 0) > %s - 20000 from backtick_done"

    def produce() -> None:
        with bench.connect() as connection:
            while time.monotonic() < end:
                ids = call(connection, "bt_enqueue_many", p_name="bench.noop", p_args=batch)
                if next(tally) % 20 == 0:
                    while connection.execute(near, ids[-1]).fetchone() == (False,):
                        time.sleep(0.005)

    with bench.runners(1):
        threads = [threading.Thread(target=produce, daemon=True) for _ in range(2)]
        start = bench.ask("select clock_timestamp()")
        end = time.monotonic() + seconds
        for thread in threads:
            thread.start()
        bench.wait_until(lambda: (seconds - end + time.monotonic()) / seconds, "running", seconds + 900)
        for thread in threads:
            thread.join()
        stop = bench.ask("select clock_timestamp()")
        query = (
            "select array(select count(done.id) * 1.0 / %(tenth)s from generate_series(0, 9) as part (n) left join"
            " backtick_done as done on floor(extract(epoch from finished_at - %(start)s) / %(tenth)s) = part.n"
            " group by part.n order by part.n)"
        )
        return [float(rate) for rate in bench.ask(query, tenth=(stop - start).total_seconds() / 10, start=start)]


def enqueue(bench: Bench) -> Figures:
    """Jobs queued one by one, each with a commit of its own, in loops on the server; and in bulk."""
    figures: Figures = {}
    with bench.runners(1):
        bench.fill(bench.options.pool_size, "bench.nap", p_priority=0)  # busy: awake, and every slot is taken
        bench.wait_until(lambda: bool(bench.ask("select asleep_until is null from backtick_runner")), "waiting")
        for count in (1, 8, 32):
            figures[f"{count} connections, runner busy, jobs/s"] = bench.insert_rate(count)
        figures["32 connections, times the rate without any NOTIFY, median"] = statistics.median(cost_of_asking(bench))
    bench.install()
    with bench.runners(1):
        for count in (1, 8, 32):
            figures[f"{count} connections, runner asleep, jobs/s"] = bench.insert_rate(count)
    bench.install()
    batch, start = [f"[{n}]" for n in range(10_000)], time.perf_counter()
    for _ in range(20):
        call(bench.connection, "bt_enqueue_many", p_name="bench.noop", p_args=batch)
    figures["bulk, 10 000 a call, jobs/s"] = 200_000 / (time.perf_counter() - start)
    return figures


def cost_of_asking(bench: Bench) -> list[float]:
    """The rate of insertion, five times, as a share of that of a bt_put_job that does not ask who sleeps."""
    asks = "exists (\n        select from backtick_runner"
    never_asks = f"false and {asks}"
    definition = bench.ask("select pg_get_functiondef('bt_put_job'::regproc)")
    if asks not in definition:
        raise BenchError("bt_put_job is not as this benchmark knows it, which takes the question out of it")
    ratios = []
    for _ in range(5):
        bench.connection.execute(definition.replace(asks, never_asks).encode())
        without = bench.insert_rate(32)
        bench.connection.execute(definition.encode())
        ratios.append(bench.insert_rate(32) / without)
    return ratios


def backlog(bench: Bench) -> Figures:
    """A drain with others' jobs in the way, against one without, each after the other."""
    tomorrow = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
    ways: dict[str, dict[str, Any]] = {
        "future jobs": {"p_priority": 0, "p_run_at": tomorrow},
        "jobs of unknown workers": {"name": "bench.unknown", "p_priority": 0},
        "jobs of a queue that nobody serves": {"name": "bench.unknown", "p_queue": "unserved", "p_priority": 0},
        "ready jobs": {},
    }
    figures: Figures = {}
    for what, options in ways.items():
        bench.install()
        alone = bench.drain()["jobs/s"]
        bench.install()
        bench.fill(bench.options.backlog, **options)
        if what == "ready jobs":  # they are drained, too
            with_backlog = bench.drain(total=bench.options.jobs + bench.options.backlog)["jobs/s"]
        else:
            with_backlog = bench.drain()["jobs/s"]
        figures[f"with {bench.options.backlog} {what}, jobs/s"] = with_backlog
        figures[f"with {bench.options.backlog} {what}, times that without"] = with_backlog / alone
    return figures


def pinned(bench: Bench) -> Figures:
    """As sustained, while another session holds a snapshot, so that nothing dead can be removed; and without.

    Then how late a job starts, 100 a second, after an ANALYZE has found the queue empty, and full of dead rows.
    """
    figures: Figures = {}
    with bench.connect() as holder:
        holder.execute("begin isolation level repeatable read")
        holder.execute("select 1")
        for how in ("a held snapshot", "no held snapshot"):
            rates = load(bench)
            figures |= {f"{how}: first tenth, jobs/s": rates[0], f"{how}: last tenth, jobs/s": rates[-1]}
            figures[f"{how}: last to first"] = rates[-1] / rates[0]
            with bench.runners(1):
                bench.wait_until(lambda: float(not bench.ask("select count(*) from backtick_queue")), "ending")
                bench.connection.execute("analyze backtick_queue, backtick_claim, backtick_runner")
                for _ in range(1000):
                    time.sleep(0.01)
                    bench.ask("select bt_enqueue('bench.stamp', json_build_array(%s::float8))", time.time())
                bench.wait_until(lambda: float(not bench.ask("select count(*) from backtick_queue")), "ending")
            late = quantiles(bench.stamps(), (50, 99))
            figures |= {f"{how}: from bt_enqueue to the worker's start, ms, {name}": ms for name, ms in late.items()}
            holder.execute("commit")
            bench.install()
    return figures


def limits(bench: Bench) -> Figures:
    """Groups of limit 1 beside plain jobs; a full group in front of others; thousands of full groups, or for later."""
    figures: Figures = groups_of_one(bench) | behind_a_full_group(bench)
    return figures | among_full_groups(bench)


def groups_of_one(bench: Bench) -> Figures:
    """Drains of 1000 groups of limit 1, 100 jobs each, and of as many plain jobs, in turns."""
    total = min(bench.options.jobs, 100_000)
    rates: dict[str, list[float]] = {"plain jobs": [], "1000 groups of limit 1": []}
    for _, (what, measured) in itertools.product(range(3), rates.items()):
        bench.install()
        if what != "plain jobs":
            call(bench.connection, "bt_limit", p_queue=QUEUE, p_groups=True, p_running=1)
            for n in range(1000):
                bench.bar("queueing groups", n / 1000)
                bench.fill(total // 1000, p_group=f"group {n}")
        measured.append(bench.drain(total=total)["jobs/s"])
    figures: Figures = {f"{what}, jobs/s": statistics.median(measured) for what, measured in rates.items()}
    ratios = [grouped / plain for plain, grouped in zip(*rates.values(), strict=True)]
    return figures | {"1000 groups of limit 1, times plain jobs": statistics.median(ratios)}


def behind_a_full_group(bench: Bench) -> Figures:
    """Drains of plain jobs with a full group's in front of them, and without, in turns."""
    rates = {name: list[float]() for name in ("without", f"with {bench.options.backlog} of a full group in front")}
    for _, (what, measured) in itertools.product(range(2), rates.items()):
        bench.install()
        call(bench.connection, "bt_limit", p_queue=QUEUE, p_group="full", p_running=1)
        bench.fill(1, "bench.nap", p_group="full")
        if what != "without":
            bench.fill(bench.options.backlog, "bench.nap", p_group="full")
        measured.append(bench.drain()["jobs/s"])
    figures: Figures = {f"{what}, jobs/s": max(measured) for what, measured in rates.items()}
    without, behind = figures.values()
    return figures | {"in front, times that without": behind / without}


def among_full_groups(bench: Bench) -> Figures:
    """How late jobs of a group start, 50 a second, while 9990 of 10 000 others are full or have jobs for later only."""
    tomorrow = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
    left = "select count(*) from backtick_queue where group_key = 'one'"
    figures: Figures = {}
    for how in ("no held snapshot", "a held snapshot"):
        bench.install()
        call(bench.connection, "bt_limit", p_queue=QUEUE, p_groups=True, p_running=1)
        for n in range(10_000):
            bench.bar("queueing groups", n / 10_000)
            if n < 9990:
                bench.fill(2, "bench.full", p_group=f"group {n}", p_run_at=None if n % 2 else tomorrow)
            else:
                bench.fill(2, p_group=f"group {n}")
        names = {"p_host": "bench", "p_pid": os.getpid(), "p_lock": False, "p_lease_ms": 3_600_000}
        ((other,),) = call(bench.connection, "bt_register_runner", p_queues=[QUEUE], p_names=["bench.full"], **names)
        held = 0
        while held < 4995:  # so these are full, by what runs
            held += len(
                call(
                    bench.connection,
                    "bt_claim",
                    p_runner=other,
                    p_queue=QUEUE,
                    p_limit=1000,
                    p_names=["bench.full"],
                    p_whole=True,
                )
            )
        with bench.connect() as holder, bench.runners(1):
            if how == "a held snapshot":
                holder.execute("begin isolation level repeatable read")
                holder.execute("select 1")
            for _ in range(500):
                time.sleep(0.02)
                bench.ask(
                    "select bt_enqueue('bench.stamp', json_build_array(%s::float8), p_group => 'one')", time.time()
                )
            bench.wait_until(lambda: float(not bench.ask(left)), "ending")
        late = quantiles(bench.stamps(), (50, 99))
        figures |= {
            f"{how}, 9990 groups full or for later: a job of another starts after, ms, {name}": ms
            for name, ms in late.items()
        }
    return figures


def memory(bench: Bench) -> Figures:
    """The runner's resident memory, over a backlog of no-op jobs."""
    total = bench.options.backlog
    bench.ask(f"select bt_pause('{QUEUE}')")
    bench.fill(total)
    marks: dict[str, float] = {}
    with bench.runners(1) as (pid,):
        counted = bench.count_ended()
        bench.ask(f"select bt_resume('{QUEUE}')")

        def share() -> float:
            done = bench.share_done(total, counted)
            if "after a tenth, MB" not in marks and done > 0.1:
                marks["after a tenth, MB"] = rss_mb(pid)
            return done

        bench.wait_until(share, "draining")
        marks["at the end, MB"] = rss_mb(pid)
    return {"jobs": total, **marks}


def idle(bench: Bench) -> Figures:
    """What a runner costs that has nothing to do."""
    seconds = min(30, bench.options.seconds)
    count = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    with bench.runners(1) as (pid,):
        time.sleep(2)
        calls, cpu, server, end = bench.ask(count), cpu_s(pid), bench.server_cpu_s(), time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(1)
        cpu, server = cpu_s(pid) - cpu, bench.server_cpu_s() - server
        calls = bench.ask(count) - calls
    return {
        "CPU of the runner, % of a core": cpu / seconds * 100,
        "CPU of the server, % of a core": server / seconds * 100,
        "transactions a second": float(calls / seconds),
    }


def scale(bench: Bench) -> Figures:
    """More and more runners on one queue, with jobs of several lengths; and what they wait for."""
    figures: Figures = {}
    for ms, counts, jobs in (
        (0, (1, 2, 5, 10, 20), bench.options.jobs),
        (10, (1, 5, 20), 20_000),
        (1000, (5, 20), 1000),
    ):
        for count in counts:
            bench.install()
            waits: Counter[str] = Counter()
            rates = bench.drain(count, total=min(jobs, bench.options.jobs), nap_ms=ms, waits=waits)
            ideal = f" of {count * bench.options.pool_size * 1000 // ms}" if ms else ""
            figures[f"{count:>2} runners, jobs of {ms:>4} ms{ideal}, jobs/s"] = rates["jobs/s"]
        shares = sorted(waits.items(), key=lambda item: -item[1])[:4]
        figures[f"{counts[-1]:>2} runners, jobs of {ms:>4} ms, their connections' time"] = ", ".join(
            f"{what} {n / max(1, sum(waits.values())):.0%}" for what, n in shares
        )
    return figures


def share(bench: Bench) -> Figures:
    """Two runners of 8 slots share 100 jobs of a second each: seven rounds, the last of them with 4 jobs."""
    bench.options.pool_size, slots = 8, bench.options.pool_size
    rates = bench.drain(2, total=100, nap_ms=1000)
    bench.options.pool_size = slots
    fewest = "select min(count) from (select count(*) from backtick_done group by runner) as share"
    ends = "select max(last) - min(last) from (select max(finished_at) as last from backtick_done group by runner) as r"
    return {
        "seconds from the first end to the last, 6 if shared": 99 / rates["jobs/s"],
        "jobs of the runner that had fewer": bench.ask(fewest),
        "seconds that one was done before the other": bench.ask(ends).total_seconds(),
    }


def claim(bench: Bench) -> Figures:
    """A claim of 200 jobs alone, and with a million others in the queue that it must not slow down for."""
    figures: Figures = {}
    with bench.connect() as connection:
        ((runner,),) = call(
            connection, "bt_register_runner", p_queues=[QUEUE], p_host="bench", p_pid=os.getpid(), p_lock=False
        )

        def claim_ms() -> float:
            best = math.inf
            for _ in range(20):
                start = time.perf_counter()
                rows = call(connection, "bt_claim", p_runner=runner, p_queue=QUEUE, p_limit=200, p_names=["known"])
                best = min(best, time.perf_counter() - start)
                call(connection, "bt_release", p_claim=rows[0][0], p_ids=[row[1] for row in rows])
            return best * 1000

        bench.fill(2_000, "known")
        figures["claim of 200, ms, alone"] = claim_ms()
        tomorrow = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
        bench.fill(1_000_000, "known", p_priority=0, p_run_at=tomorrow)
        figures["claim of 200, ms, with 1M future jobs"] = claim_ms()
        bench.fill(1_000_000, "unknown", p_priority=0)
        figures["claim of 200, ms, and 1M of unknown workers"] = claim_ms()
    return figures


def cron(bench: Bench) -> Figures:
    """The server's time for bt_next_cron, over all vectors; croniter beside it on those that it understands."""
    import croniter

    lines = (bt.SQL_FOLDER / "cron_vectors.jsonl").read_text().splitlines()
    vectors = [vector for vector in map(json.loads, lines) if "next" in vector]
    bench.connection.execute(
        "create function measure(p_spec text, p_tz text, p_after timestamptz) returns float8 language plpgsql as $$"
        " declare v_start timestamptz := clock_timestamp(); begin"
        " for i in 1 .. 20 loop perform bt_next_cron(p_spec, p_tz, p_after); end loop;"
        " return extract(epoch from clock_timestamp() - v_start) * 1e6 / 20; end $$"
    )
    samples, ratios = [], []
    for vector in vectors:
        us = bench.ask("select measure(%s, %s, %s)", vector["spec"], vector["tz"], vector["after"])
        samples.append(us)
        if "basic" in vector["tags"]:
            start = time.perf_counter()
            after = dt.datetime.fromisoformat(vector["after"].replace("Z", "+00:00"))
            with contextlib.suppress(croniter.CroniterError):
                croniter.croniter(vector["spec"], after, second_at_beginning=True).get_next(dt.datetime)
                ratios.append((time.perf_counter() - start) * 1e6 / us)
    figures: Figures = {"vectors": len(samples)}
    figures |= {f"bt_next_cron with parse, us, {name}": us for name, us in quantiles(samples).items()}
    return figures | {"croniter took so many times as long, median": quantiles(ratios)["p50"]}


def fire(bench: Bench) -> Figures:
    """How long after its second a job of a schedule starts, on an idle runner: three schedules for 30 seconds."""
    late: list[float] = []

    def note() -> None:
        job = bt.current_job()
        if job and job.scheduled_for:
            late.append((time.time() - job.scheduled_for.timestamp()) * 1000)

    entry = bt.register(note, "backtick.bench")
    with bt.start(**dataclasses.asdict(bench.config)) as runner:
        for n in range(3):
            time.sleep(0.33)
            each_second = {"p_worker": entry.name, "p_interval_ms": 1000, "p_overlap": "allow"}
            call(bench.connection, "bt_schedule_recurring", p_name=f"bench {n}", **each_second)
        runner.join(timeout=30)
    bt.unregister(entry.name)
    return {"fires": len(late)} | {f"from the second to the start, ms, {n}": ms for n, ms in quantiles(late).items()}


def schedules(bench: Bench) -> Figures:
    """Ten thousand schedules are due at once, half of them by cron; beside them a job is queued every 10 ms."""
    count = 10_000
    make = (
        "select count(bt_schedule_recurring('recurring ' || n, 'bench.noop', 3600000)),"
        " count(bt_schedule_cron('cron ' || n, 'bench.noop', '0 0 * * * *')) from generate_series(1, %s) as n"
    )
    with bench.runners(1):
        bench.ask(make, count // 2)
        start = time.perf_counter()
        bench.connection.execute("update backtick_schedule set next_run_at = bt_now() - interval '1 s'")
        left = count
        while left:
            bench.bar("firing", 1 - left / count)
            for _ in range(10):
                time.sleep(0.01)
                bench.ask("select bt_enqueue('bench.stamp', json_build_array(%s::float8))", time.time())
            left = bench.ask("select count(*) from backtick_schedule where next_run_at <= bt_now()")
        fired_s = time.perf_counter() - start
        bench.wait_until(lambda: float(not bench.ask("select count(*) from backtick_queue")), "ending")
    late = bench.stamps()
    figures: Figures = {f"seconds until {count} schedules had fired": fired_s}
    return figures | {
        f"jobs beside, from bt_enqueue to the worker's start, ms, {name}": ms for name, ms in quantiles(late).items()
    }


def seal(bench: Bench) -> Figures:
    """Draining jobs that do nothing, sealed beside clear ones in turn; the best of three rounds each."""
    jobs, text = 20_000, bt.encode_args((7, "ada@example.org"), {})
    public, private = sodium.crypto_box_keypair()
    secret_key = {"secret_key": bt._format_key("secret", sodium.randombytes(32))}
    pair = {"public_key": bt._format_key("public", public), "private_key": bt._format_key("private", private)}
    kinds: dict[str, tuple[dict[str, str], int]] = {  # and how many are sealed together
        "clear": ({}, 0),
        "secret key": (secret_key, 1),
        "key pair, scheduled one by one": (pair, 1),
        "key pair, schedule_many of 1000": (pair, 1000),
    }
    nothing = dict.fromkeys(("secret_key", "public_key", "private_key"), "")
    files = {f"{name}_file": "" for name in nothing}
    entry = bt.register(lambda number, address: None, "backtick.bench")
    rates, seal_us = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, math.inf)
    for turn, (kind, (keys, size)) in itertools.product(range(3), kinds.items()):
        bench.bar(f"sealing: {kind}", turn / 3)
        settings = dataclasses.asdict(bench.config) | nothing | files | keys
        keyring = bt._keyring(bt.Config(**settings))
        begun, texts = time.perf_counter(), [text] * jobs
        if keys:
            groups = [texts[i : i + size] for i in range(0, jobs, size)]
            texts = [sealed for group in groups for sealed in bt._seal(keyring, "args", QUEUE, entry.name, group)]
            seal_us[kind] = min(seal_us[kind], (time.perf_counter() - begun) * 1e6 / jobs)
        call(bench.connection, "bt_enqueue_many", p_name=entry.name, p_args=texts)
        begun = time.perf_counter()
        bt.start(**settings, drain=True).join(timeout=600)
        rates[kind] = max(rates[kind], jobs / (time.perf_counter() - begun))
    bt.unregister(entry.name)
    figures: Figures = {f"jobs a second, {kind}": rate for kind, rate in rates.items()}
    figures |= {f"beside clear ones, {kind}": rates[kind] / rates["clear"] for kind in kinds if kind != "clear"}
    return figures | {f"to seal one, us, {kind}": us for kind, us in seal_us.items() if kind != "clear"}


# What each page asks, as sql/dashboard/page.js does.
PAGES = {
    "overview": ["status", "runners", "schedules?fires=1", "stats?by=all&step=1min", "states"],
    "jobs": ["jobs?limit=50", "states"],
    "jobs of a queue": ["jobs?queue=queue7&limit=50", "states?queue=queue7"],
    "jobs exceeded": ["jobs?state=exceeded&limit=50", "states"],
    "job": ["show?id=17&cut=20000"],
    "queues": ["queues", "limits", "groups", "pauses", "stats?by=queue&step=5min&brief=true"],
    "workers": ["workers?since=24h", "stats?by=worker&step=5min&brief=true", "pauses"],
    "failures": ["failures?since=24h"],
    "schedules": ["schedules", "pauses"],
    "runners": ["runners"],
    "database": ["doctor", "sizes", "status"],
}


def pages(bench: Bench) -> Figures:
    """Each page with --backlog jobs queued and ten times as many ended, in 1000 queues; and what viewers cost."""
    queued, run = bench.options.backlog, bench.connection.execute
    bench.bar("filling", 0.0)
    run(
        "insert into backtick_queue (queue, name, created_at) select 'queue' || n %% 1000, 'worker' || n %% 500, now()"
        " from generate_series(1, %s) as n",
        [queued],
    )
    run(
        "insert into backtick_done (id, queue, name, args, priority, run_at, state, tries, crashes, created_at,"
        " started_at, finished_at, error)"
        " select 1000000000 + n, 'queue' || n %% 1000, 'worker' || n %% 500, '[1, 2]', 5, at,"
        " case when n %% 100 < 2 then 'exceeded' else 'done' end, 1, 0, at, at, at,"
        ' case when n %% 100 < 2 then \'{"class": "ValueError"}\'::jsonb end'
        " from (select n, now() - n * interval '7 days' / %s as at from generate_series(1, %s) as n) as job",
        [queued * 10, queued * 10],
    )
    bench.ask(
        "select count(bt_schedule_cron('s' || n, 'worker' || n, '0 30 2 * * *', 'UTC'))"
        " from generate_series(1, 300) as n"
    )
    bench.ask(
        "select count(bt_register_runner(p_host => 'host' || n, p_pid => 1, p_queues => array['queue' || n],"
        " p_names => array['worker' || n], p_lock => false, p_lease_ms => 3600000))"
        " from generate_series(1, 200) as n"
    )
    run(
        "insert into backtick_stat (span, at, noted_at, queue, worker, done, failed, retried, exceeded, canceled,"
        " snoozed, crashed, runs, run_s, wait_s)"
        " select 'minute', date_trunc('minute', now()) - m * interval '1 min', now(),"
        " 'queue' || q, 'worker' || q % 500, 10, 1, 1, 0, 0, 0, 0, 10, 1, 1"
        " from generate_series(0, 59) as m, generate_series(1, 1000, 5) as q"
    )
    run("vacuum analyze")
    config = dataclasses.replace(bench.config, database_url=bt.database_url(bench.config))
    page = bt._Dashboard(config)
    server = bt._Http("127.0.0.1:0", {}, page)
    port, figures = server.server_address[1], Figures()

    def ask(path: str) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=60) as answer:
            answer.read()

    try:
        page.viewer.FRESH_S = page.viewer.REST = 0.0
        for name, paths in PAGES.items():
            took, cpu_s = [], bench.server_cpu_s()
            for _ in range(20):
                start = time.perf_counter()
                for path in paths:
                    ask(path)
                took.append((time.perf_counter() - start) * 1000)
            figures |= {f"{name}, ms, {q}": ms for q, ms in quantiles(took, (50, 95)).items()}
            figures[f"{name}, ms of the server's CPU"] = (bench.server_cpu_s() - cpu_s) * 50
            bench.bar("asking", len(figures) / 2 / len(PAGES))
        page.viewer.FRESH_S, page.viewer.REST = bt._Viewer.FRESH_S, bt._Viewer.REST
        run("delete from backtick_runner")
        run("delete from backtick_schedule")  # each runner would say that nobody knows their workers
        rates = []
        for looks_on in (False, True, True, False):
            stop = threading.Event()

            def view(stop: threading.Event = stop) -> None:
                while not stop.wait(2.0):  # as the page does, at most
                    for path in (*PAGES["overview"], *PAGES["queues"]):
                        ask(path)

            viewers = [threading.Thread(target=view, daemon=True) for _ in range(5 * looks_on)]
            for viewer in viewers:
                viewer.start()
            rates.append(bench.drain(1)["jobs/s"])
            run("delete from backtick_done where name = 'bench.noop'")
            stop.set()
            for viewer in viewers:
                viewer.join()
        figures["jobs/s"], figures["jobs/s, with five viewers"] = (rates[0] + rates[3]) / 2, (rates[1] + rates[2]) / 2
    finally:
        server.close()
    return figures


WORKLOADS: dict[str, Callable[[Bench], Figures]] = {
    "drain": drain,
    "asyncio": on_asyncio,
    "insert": insert,
    "processes": processes,
    "args": args,
    "queues": of_queues,
    "history": history,
    "latency": latency,
    "result": result,
    "sustained": sustained,
    "enqueue": enqueue,
    "backlog": backlog,
    "pinned": pinned,
    "limits": limits,
    "memory": memory,
    "idle": idle,
    "scale": scale,
    "share": share,
    "claim": claim,
    "cron": cron,
    "fire": fire,
    "schedules": schedules,
    "seal": seal,
    "pages": pages,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
