# SPDX-License-Identifier: EPL-1.0+
"""Other queues on PostgreSQL beside backtick, in turns, in one run: make bench-peers.

    python .ci/peers.py                          # all workloads, five rounds
    python .ci/peers.py drain bulk --rounds 3

Each has a database of its own on one server (that of BT_DATABASE_URL, or the embedded one), its newest version, and
the settings that its documentation recommends for speed; they stand below and in peers/graphile.mjs. What is
printed are medians, ranges, and backtick's ratio to each in the same round. Graphile Worker needs node and npm.
"""

# How it hangs together: main() sets up the peers in .ci/.peers (their packages) and their databases, and then, round by
# round, has each do each workload. A peer's own part is a program that is started anew for each turn: this file
# once more (`peers.py turn NAME MODE ...`), or graphile.mjs. Drains are timed by a look into the peer's table from
# outside, the same for all; what enqueues times itself.

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from psycopg import sql

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

PACKAGES = HERE / ".peers"
NODE_PACKAGES = ["graphile-worker@0.18.0", "pg@8"]
PYTHON_PACKAGES = ["pgqueuer==1.6.0", "asyncpg", "pgmq==1.1.4", "psycopg[binary,pool]", "croniter", "PyNaCl"]


class Peer(NamedTuple):
    """A queue: how its parts are called, and how its tables are filled and counted from outside."""

    name: str
    fill: str | None  # queues %(count)s jobs of the kind %(kind)s; null: it has no runner
    left: str  # how many there are, at a glance
    one: str = ""  # queues a job `stamp` with the time %(now)s


BACKTICK = Peer(
    "backtick",
    "select count(*) from bt_enqueue_many('peerjobs.' || %(kind)s, array_fill('[1, 2]'::text, array[%(count)s]))",
    "select count(*) from backtick_queue",
    "select bt_enqueue('peerjobs.stamp', json_build_array(%(now)s::float8))",
)
PEERS = [
    BACKTICK,
    Peer(
        "graphile",
        "select count(*) from graphile_worker.add_jobs((select array_agg((%(kind)s, '[1, 2]'::json, null, null, null,"
        " null, null, null)::graphile_worker.job_spec) from generate_series(1, %(count)s)))",
        "select count(*) from graphile_worker._private_jobs",
        "select graphile_worker.add_job('stamp', json_build_array(%(now)s::float8))",
    ),
    Peer(
        "pgqueuer",
        "insert into pgqueuer (priority, entrypoint, payload, status)"
        " select 0, %(kind)s, '[1, 2]'::bytea, 'queued' from generate_series(1, %(count)s)",
        "select count(*) from pgqueuer",
        "insert into pgqueuer (priority, entrypoint, payload, status)"
        " values (0, 'stamp', convert_to(json_build_array(%(now)s::float8)::text, 'UTF8'), 'queued')",
    ),
    Peer("pgmq", None, "select count(*) from pgmq.q_jobs"),
]


def drop(peer: Peer, server: str) -> None:
    """Remove a peer's database."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(f"peer_{peer.name}"))
        )


# ---- What is measured ------------------------------------------------------------------------


class Arena:
    """One peer's database and programs."""

    def __init__(self, peer: Peer, server: str, jobs: int) -> None:
        self.peer, self.jobs = peer, jobs
        database = f"peer_{peer.name}"
        drop(peer, server)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        with psycopg.connect(psycopg.conninfo.make_conninfo(server, dbname=database)) as connection:
            info = connection.info
            login = quote(info.user, "") + (f":{quote(info.password, '')}" if info.password else "")
            self.url = f"postgresql://{login}@{quote(info.host, '')}:{info.port}/{database}"  # as all of them read it
        self.connection = psycopg.connect(self.url, autocommit=True)
        self.connection.execute("create table result (id bigint generated always as identity, a int, b int)")
        self.run("install")

    def command(self, *words: object) -> list[str]:
        """The peer's own program."""
        mode, *rest = map(str, words)
        if self.peer.name == "graphile":
            return ["node", str(PACKAGES / "graphile.mjs"), mode, self.url, *rest]
        python = PACKAGES / "venv" / "bin" / "python"
        return [str(python), __file__, "turn", self.peer.name, mode, self.url, *rest]

    def run(self, *words: object) -> str:
        """Run it to its end; what it printed."""
        done = subprocess.run(self.command(*words), check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"peers: {self.peer.name} failed; what it said stands above")
        return done.stdout

    @contextlib.contextmanager
    def runners(self, count: int, place: str = "-") -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many runners."""
        log = subprocess.DEVNULL
        processes = [subprocess.Popen(self.command("run", 0, place), stdout=log, stderr=log) for _ in range(count)]
        try:
            yield processes
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def left(self) -> int:
        """How many jobs there are."""
        row = self.connection.execute(self.peer.left.encode()).fetchone()
        return int(row[0]) if row else 0

    def fill(self, kind: str, count: int) -> None:
        """Queue jobs, and let the server settle."""
        for first in range(0, count, 20_000):
            self.connection.execute(str(self.peer.fill).encode(), {"kind": kind, "count": min(20_000, count - first)})
        self.connection.execute("vacuum analyze")

    def drained(self, kind: str, runners: int, share: float = 1) -> float:
        """Jobs a second at which they are done, from when the first are."""
        self.fill(kind, int(self.jobs * share))
        with self.runners(runners) as processes:
            before = self.left()
            while (left := self.left()) == before:
                if any(process.poll() is not None for process in processes):
                    raise SystemExit(f"peers: a runner of {self.peer.name} ended before it did anything")
                time.sleep(0.01)
            start = time.monotonic()
            end = start + 600
            while self.left() and time.monotonic() < end:
                time.sleep(0.02)
            return left / (time.monotonic() - start)


def drain(arena: Arena) -> float:
    """No-op jobs that wait, one runner; jobs/s."""
    return arena.drained("noop", 1)


def drain_by_two(arena: Arena) -> float:
    """The same, two runners; jobs/s."""
    return arena.drained("noop", 2)


def pinned(arena: Arena) -> float:
    """The same, one runner, while a transaction stays open; jobs/s."""
    with psycopg.connect(arena.url) as other:
        other.execute("set transaction isolation level repeatable read")
        other.execute("select 1 from result limit 1")
        return arena.drained("noop", 1)


def insert(arena: Arena) -> float:
    """Jobs that insert one row each through a pool of 16 connections; jobs/s."""
    return arena.drained("insert", 1, 0.2)


def naps(arena: Arena) -> float:
    """Jobs that sleep for 5 ms, asyncio where there is a choice; jobs/s."""
    return arena.drained("nap", 1, 0.5)


def bulk(arena: Arena) -> float:
    """Enqueueing 1 000 jobs a call, with arguments [1, 2]; jobs/s."""
    return float(arena.run("bulk", arena.jobs))


def single(arena: Arena) -> float:
    """Enqueueing one by one on an own connection; jobs/s."""
    return float(arena.run("single", arena.jobs // 40))


def latency(arena: Arena) -> float:
    """From before an enqueue to the start on an idle runner, p50 of 200; ms, where less is better."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "times")
        place.touch()
        with arena.runners(1, str(place)):
            for number in range(201):
                arena.connection.execute(arena.peer.one.encode(), {"now": time.time()})
                end = time.monotonic() + 60
                while place.read_text().count("\n") <= number and time.monotonic() < end:
                    time.sleep(0.01)
        pairs = [line.split() for line in place.read_text().splitlines()][1:]
        return statistics.median(float(began) - float(sent) for sent, began in pairs) * 1000


WORKLOADS: dict[str, Callable[[Arena], float]] = {
    run.__name__: run for run in (drain, drain_by_two, pinned, insert, naps, bulk, single, latency)
}


# ---- The peers' programs, each for one turn ------------------------------------------------------


BACKTICK_JOBS = """
import asyncio, time, threading
from psycopg_pool import ConnectionPool
from backtick import worker
import os
pool = ConnectionPool(os.environ["PEER_URL"], min_size=16, max_size=16, open=False, kwargs={"autocommit": True})
lock = threading.Lock()
@worker
def noop(a, b): pass
@worker
async def nap(a, b): await asyncio.sleep(0.005)
@worker
def insert(a, b):
    with lock:
        pool.open()
    with pool.connection() as connection:
        connection.execute("insert into result (a, b) values (%s, %s)", (a, b), prepare=True)
@worker
def stamp(sent):
    with open(os.environ["PEER_PLACE"], "a") as file:
        file.write(f"{sent} {time.time()}\\n")
"""


def turn_backtick(mode: str, url: str, count: int, place: str) -> None:
    """One turn of backtick."""
    os.environ |= {"BT_DATABASE_URL": url, "BT_LOG_LEVEL": "warning", "PEER_URL": url, "PEER_PLACE": place}
    import backtick

    if mode == "install":
        backtick.install(backtick.Config.load())
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "peerjobs.py").write_text(BACKTICK_JOBS)
        if mode == "run":
            os.chdir(folder)
            os.execv(sys.executable, [sys.executable, str(HERE.parent / "backtick.py"), "peerjobs"])  # noqa: S606
        sys.path.insert(0, folder)
        import peerjobs  # type: ignore[import-not-found]

        with psycopg.connect(url, autocommit=True) as connection:
            start = time.monotonic()
            if mode == "bulk":
                for _ in range(0, count, 1000):
                    peerjobs.noop.schedule_many([(1, 2)] * 1000, conn=connection)
            else:
                for _ in range(count):
                    peerjobs.noop.schedule(1, 2, conn=connection)
            print(count / (time.monotonic() - start))


async def turn_pgqueuer(mode: str, url: str, count: int, place: str) -> None:
    """One turn of PgQueuer: batches of 500, no bound on what runs at once."""
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    if mode == "install":
        await queries.install()
    elif mode == "run":
        import json

        queue = PgQueuer(AsyncpgDriver(connection))
        pool = await asyncpg.create_pool(url, min_size=16, max_size=16)

        @queue.entrypoint("noop")
        async def noop(job: Any) -> None:
            pass

        @queue.entrypoint("nap")
        async def nap(job: Any) -> None:
            await asyncio.sleep(0.005)

        @queue.entrypoint("insert")
        async def insert(job: Any) -> None:
            await pool.execute("insert into result (a, b) values ($1, $2)", *json.loads(job.payload))

        @queue.entrypoint("stamp")
        async def stamp(job: Any) -> None:
            with open(place, "a") as file:  # noqa: ASYNC230
                file.write(f"{json.loads(job.payload)[0]} {time.time()}\n")

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.shutdown.set)
        await queue.run(batch_size=500)
    else:
        start = time.monotonic()
        if mode == "bulk":
            for _ in range(0, count, 1000):
                await queries.enqueue(["noop"] * 1000, [b"[1, 2]"] * 1000, [0] * 1000)
        else:
            for _ in range(count):
                await queries.enqueue("noop", b"[1, 2]")
        print(count / (time.monotonic() - start))


def turn_pgmq(mode: str, url: str, count: int, place: str) -> None:
    """One turn of pgmq, whose functions are called as its client calls them."""
    import pgmq

    with psycopg.connect(url, autocommit=True) as connection:
        if mode == "install":
            connection.execute("create schema if not exists pgmq")
            connection.execute((Path(pgmq.__file__).parent / "sql" / "pgmq.sql").read_bytes())
            connection.execute("select pgmq.create('jobs')")
            return
        messages = ["[1, 2]"] * 1000
        start = time.monotonic()
        if mode == "bulk":
            for _ in range(0, count, 1000):
                connection.execute("select pgmq.send_batch('jobs', %s::jsonb[])", [messages]).fetchall()
        else:
            for _ in range(count):
                connection.execute("select pgmq.send('jobs', '[1, 2]'::jsonb)").fetchall()
        print(count / (time.monotonic() - start))


# ---- The rounds ------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments say; returns the exit status."""
    if arguments[:1] == ["turn"]:
        name, mode, url, *rest = arguments[1:]
        count, place = int(rest[0]) if rest else 0, rest[1] if rest[1:] else ""
        turn: Any = {"backtick": turn_backtick, "pgqueuer": turn_pgqueuer, "pgmq": turn_pgmq}[name]
        made = turn(mode, url, count, place)
        if made is not None:
            asyncio.run(made)
        return 0

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"{', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer's turn comes; default 5")
    parser.add_argument("--jobs", type=int, default=100_000, help="size of a drained queue; default 100000")
    options = parser.parse_args(arguments)
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"there is no workload {sorted(unknown)[0]!r}; there are {', '.join(WORKLOADS)}")
    peers = fetch()
    import backtick

    server = backtick.database_url(backtick.Config.load())
    for name in options.workloads or WORKLOADS:
        samples: dict[str, list[float]] = {}
        for number in range(options.rounds):
            order = peers[number % len(peers) :] + peers[: number % len(peers)]
            for peer in order:
                if peer.fill or name in ("bulk", "single"):
                    print(f"{name}: round {number + 1}, {peer.name}", file=sys.stderr)
                    samples.setdefault(peer.name, []).append(WORKLOADS[name](Arena(peer, server, options.jobs)))
        show(name, samples)
    for peer in peers:
        drop(peer, server)
    return 0


def fetch() -> list[Peer]:
    """Install the peers' packages into .ci/.peers; those that can be had."""
    PACKAGES.mkdir(exist_ok=True)
    python = PACKAGES / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", PACKAGES / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES], check=True)
    shutil.copy(HERE / "peers" / "graphile.mjs", PACKAGES)
    npm = shutil.which("npm")
    if not (npm and shutil.which("node")):
        print("there is no node or npm here: Graphile Worker is left out", file=sys.stderr)
        return [peer for peer in PEERS if peer.name != "graphile"]
    if not (PACKAGES / "node_modules").exists():
        subprocess.run([npm, "install", "--silent", "--prefix", PACKAGES, *NODE_PACKAGES], check=True)
    return PEERS


def show(name: str, samples: dict[str, list[float]]) -> None:
    """Medians, ranges and ratios of a workload."""
    print(f"\n{name}: {(WORKLOADS[name].__doc__ or '').strip()}")
    for peer, figures in samples.items():
        ratios = [ours / theirs for ours, theirs in zip(samples["backtick"], figures, strict=True)]
        print(
            f"  {peer:<10} {statistics.median(figures):>12,.1f} ({min(figures):,.1f} to {max(figures):,.1f})"
            + (
                ""
                if peer == "backtick"
                else f"   backtick: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
