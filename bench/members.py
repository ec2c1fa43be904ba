"""Bytes a list's member takes beside redis-server, by resident memory: `python -m bench members
[--kinds NAMES] [--sizes 10,1000,1000000]`.

Decides: what elements look like and how many lists hold them.
Must not know: how a list is kept. Every figure is the growth of a process' resident memory over the
load, divided by the members; a process of its own holds each kind and size. Ours is an engine that
applies what a replica would (a push of one element each); redis-server is told the same over a
socket. What MEMORY USAGE says of our lists stands beside it.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

from memstore.commands import build_table
from memstore.commands.memory import key_bytes
from memstore.engine.engine import Engine
from memstore.engine.settings import Settings
from tests.system.client import pack
from tests.system.cluster import PlainRedis
from tests.system.points.memory import resident

MEMBERS = 2_000_000
SIZES = (10, 1000, 1_000_000)
BATCH = 1000  # pushes applied or sent at once

KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "xxx": lambda rng: b"xxx",
    "1 digit": lambda rng: b"%d" % rng.randrange(10),
    "2 digits": lambda rng: b"%d" % rng.randrange(10, 100),
    "3 digits": lambda rng: b"%d" % rng.randrange(100, 1000),
    "5 digits": lambda rng: b"%d" % rng.randrange(10_000, 100_000),
    "7 digits": lambda rng: b"%d" % rng.randrange(1_000_000, 10_000_000),
    "1-7 digits": lambda rng: b"%d" % rng.randrange(10 ** rng.randint(1, 7)),
    "64 bit": lambda rng: b"%d" % rng.randrange(-(1 << 63), 1 << 63),
}


def pushes(kind: str, size: int) -> Iterator[bytes]:
    """Commands in batches: they make lists of ``size`` elements, MEMBERS elements in total."""
    rng, make = random.Random(1), KINDS[kind]
    for number in range(MEMBERS // size):
        key = b"list:%d" % number
        for start in range(0, size, BATCH):
            yield b"".join(
                [pack(b"RPUSH", key, make(rng)) for _ in range(min(BATCH, size - start))]
            )


def ours(kind: str, size: int) -> tuple[float, float]:
    """Bytes a member by resident memory and by MEMORY USAGE."""
    engine = Engine(Settings(), random.Random(1), build_table())
    database = engine.keyspace.database(0)
    gc.collect()
    before = resident(os.getpid())
    for batch in pushes(kind, size):
        engine.apply(batch, 1)
    gc.collect()
    grown = resident(os.getpid()) - before
    told = sum(
        key_bytes(database, key, value) for slot in database.slots for key, value in slot.items()
    )
    return grown / MEMBERS, told / MEMBERS


def theirs(kind: str, size: int) -> float:
    with (
        PlainRedis("--appendonly", "no") as redis,
        socket.create_connection(redis.addresses()[0]) as connection,
    ):
        assert redis.child is not None
        connection.sendall(pack(b"CLIENT", b"REPLY", b"OFF"))
        before = resident(redis.child.pid)
        for batch in pushes(kind, size):
            connection.sendall(batch)
        connection.sendall(pack(b"CLIENT", b"REPLY", b"ON"))
        if connection.recv(100) != b"+OK\r\n":
            raise RuntimeError("redis-server did not take the load")
        return (resident(redis.child.pid) - before) / MEMBERS


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench members",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument(
        "--one", nargs=2, metavar=("KIND", "SIZE"), help="one figure of ours, in this process"
    )
    args = parser.parse_args(argv)
    if args.one:
        print(*ours(args.one[0], int(args.one[1])))
        return 0
    print(
        "| elements | a list has | redis-server | ours | ratio | MEMORY USAGE |\n| --- | --- | "
        "--- | --- | --- | --- |"
    )
    for kind in args.kinds.split(","):
        for size in map(int, args.sizes.split(",")):
            their = theirs(kind, size)
            child = subprocess.run(
                [sys.executable, "-m", "bench", "members", "--one", kind, str(size)],
                check=True,
                capture_output=True,
                text=True,
            )
            grown, told = map(float, child.stdout.split())
            print(
                f"| {kind} | {size} | {their:.1f} | {grown:.1f} | {grown / their:.2f} | "
                f"{told:.1f} |",
                flush=True,
            )
    return 0
