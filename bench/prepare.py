"""The data that the collections' tests need: lists, sets and sorted sets of the right size, the
same on both servers.

Decides: which key a test of redis-benchmark uses and what the key holds before the test. For tests
whose own preparation would be measured too, it also decides the command line.
Must not know: how a load is run or its results.
Invariant: a test that pops finds at least as many members as it asks for, so it never pops an empty
key.
"""

from __future__ import annotations

from tests.system.client import Blocking

VALUE = "x" * 100
MEMBERS_A_COMMAND = 500
LRANGE_LENGTH = 10_000  # much more than a range takes

POPS = {"lpop": "mylist", "rpop": "mylist", "spop": "myset", "zpopmin": "myzset"}
ADDS = {"lpush": "mylist", "rpush": "mylist", "sadd": "myset", "hset": "myhash", "zadd": "myzset"}
RANGES = {"lrange_100": 100, "lrange_600": 600}
COLLECTIONS = ["lpush", "rpush", "lpop", "rpop", "sadd", "hset", "spop", "zadd", "zpopmin", *RANGES]


def load_arguments(test: str) -> list[str]:
    """The end of redis-benchmark's command line. Its own LRANGE tests first push as many times as
    they read, and the pushes would be measured too.
    """
    if test in RANGES:
        return ["LRANGE", "mylist", "0", str(RANGES[test] - 1)]
    return []


def prepare(port: int, test: str, requests: int) -> None:
    """Prepare the keys before each measurement of a collection's test. A test that adds starts
    without a key, as redis-benchmark does on an empty server.
    """
    if test in ADDS:
        _fill(port, ADDS[test], 0)
    elif test in POPS:
        _fill(port, POPS[test], requests)
    elif test in RANGES:
        _fill(port, "mylist", LRANGE_LENGTH)


def _fill(port: int, key: str, members: int) -> None:
    with Blocking(("127.0.0.1", port), timeout=120.0) as connection:
        # also the keys of other tests, which would only take memory
        for kind in ("mylist", "myset", "myhash", "myzset"):
            connection.call("DEL", kind)
        for start in range(0, members, MEMBERS_A_COMMAND):
            reply = connection.call(
                *_filling(key, range(start, min(members, start + MEMBERS_A_COMMAND)))
            )
            assert isinstance(reply, int), reply


def _filling(key: str, numbers: range) -> list[object]:
    command: list[object] = [{"mylist": "RPUSH", "myset": "SADD", "myzset": "ZADD"}[key], key]
    for number in numbers:
        if key == "myzset":
            command.append(number)
        command.append(VALUE if key == "mylist" else f"element:{number:012d}")
    return command
