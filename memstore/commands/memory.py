"""MEMORY: how much memory keys and the node take.

Decides: what counts as a key's memory (the key, the value, its share of the dicts that hold it).
Must not know: how a type measures itself.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.command import EVERYWHERE, LOADING, LOCAL, READONLY, STALE, command
from memstore.engine.context import Context
from memstore.engine.keyspace import Database, slot_of
from memstore.engine.values import parse_integer
from memstore.engine.values.value_types import typed

_MIB: Final = 1024 * 1024
_EXPIRY_BYTES: Final = 32  # the number that holds the time


def _share(container: dict[bytes, object]) -> int:
    """Return one entry's share of a dict."""
    return container.__sizeof__() // max(1, len(container))


def key_bytes(database: Database, key: bytes, value: object) -> int:
    """Return the memory of a key, its value and its places in the dicts, in bytes."""
    slot = slot_of(key)
    total = key.__sizeof__() + typed(value).size() + _share(database.slots[slot])
    if database.expire_at(key) >= 0:
        total += _EXPIRY_BYTES + _share(dict(database.expires[slot]))
    return total


@command(
    b"MEMORY|USAGE",
    arity=-3,
    flags=READONLY,
    keys=(2, 2, 1),
    since="4.0.0",
    group="server",
    summary="Bytes a key takes",
    complexity="O(N), N samples",
)
def memory_usage(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) not in (3, 5) or (len(argv) == 5 and argv[3].upper() != b"SAMPLES"):
        raise reply.CommandError(reply.SYNTAX)
    if len(argv) == 5:
        samples = parse_integer(argv[4])
        if samples is None:
            raise reply.CommandError(reply.NOT_AN_INTEGER)
        if samples < 0:
            raise reply.CommandError(reply.SYNTAX)
    value = ctx.lookup(argv[2])
    return ctx.nil if value is None else reply.integer(key_bytes(ctx.database, argv[2], value))


@command(
    b"MEMORY|STATS",
    arity=2,
    flags=EVERYWHERE | LOCAL,
    since="4.0.0",
    group="server",
    summary="The node's memory in numbers",
)
def memory_stats(ctx: Context, argv: list[bytes]) -> bytes:
    facts, bulk, integer = ctx.engine.facts, reply.bulk, reply.integer
    parts = [
        *(bulk(b"peak.allocated"), integer(max(facts.rss_peak_bytes, facts.rss_bytes))),
        *(bulk(b"total.allocated"), integer(facts.rss_bytes)),
        *(bulk(b"clients.held"), integer(facts.held_bytes)),
        *(bulk(b"log.uncommitted"), integer(facts.uncommitted_bytes)),
    ]
    overhead = keys = 0
    for database in ctx.keyspace.existing():
        main, expires = (
            _tables(database.slots),
            _tables({id(table): table for table in database.expires}.values()),
        )
        sizes = [
            bulk(b"overhead.hashtable.main"),
            integer(main),
            bulk(b"overhead.hashtable.expires"),
            integer(expires),
        ]
        parts += [bulk(b"db.%d" % database.index), ctx.map(sizes)]
        overhead += main + expires
        keys += len(database)
    parts += [
        *(bulk(b"overhead.total"), integer(overhead)),
        *(bulk(b"keys.count"), integer(keys)),
        *(bulk(b"keys.bytes-per-key"), integer(facts.rss_bytes // keys if keys else 0)),
    ]
    return ctx.map(parts)


def _tables(tables: object) -> int:
    assert isinstance(tables, Sized)
    # Lists and dict views alike.
    return sum(table.__sizeof__() for table in tables)  # type: ignore[attr-defined]  # lists, views


@command(
    b"MEMORY|DOCTOR",
    arity=2,
    flags=LOCAL,
    since="4.0.0",
    group="server",
    summary="What looks wrong about the node's memory",
)
def memory_doctor(ctx: Context, argv: list[bytes]) -> bytes:
    facts, settings = ctx.engine.facts, ctx.engine.settings
    found = []
    if facts.system_memory_bytes and facts.rss_bytes > facts.system_memory_bytes * 3 // 4:
        found.append("The process takes more than three quarters of the machine's memory.")
    if facts.rss_peak_bytes > max(facts.rss_bytes * 3 // 2, 64 * _MIB):
        found.append(
            "The process once took more than one and a half times what it takes now; what it gave "
            "up may be in pieces."
        )
    if facts.uncommitted_bytes > settings.max_uncommitted_bytes // 2:
        found.append(
            "More than half of max-uncommitted-bytes waits for the log: it is slower than the "
            "clients."
        )
    if facts.held_bytes > settings.max_held_bytes // 2:
        found.append("More than half of max-held-bytes is replies that wait for the log.")
    text = "\n".join(found) or "Nothing looks wrong about this node's memory."
    return ctx.verbatim(text.encode() + b"\n")


@command(
    b"MEMORY|PURGE",
    arity=2,
    flags=LOCAL,
    since="4.0.0",
    group="server",
    summary="Accepted; Python gives memory back by itself",
)
def memory_purge(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.OK


@command(
    b"MEMORY|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="4.0.0",
    group="server",
    summary="Show MEMORY's subcommands",
)
def memory_help(ctx: Context, argv: list[bytes]) -> bytes:
    lines = [
        ("DOCTOR", "What looks wrong about the node's memory."),
        ("PURGE", "Accepted and without effect."),
        ("STATS", "The node's memory in numbers."),
        ("USAGE <key> [SAMPLES <count>]", "Bytes that a key takes."),
    ]
    return help_reply("MEMORY", lines)
