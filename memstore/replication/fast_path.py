"""Which commands the shard's fast loop may run, and which lines come from no Redis client.

Decides: that a row is plain; that a line is part of an HTTP request.
Must not know: sessions, positions, roles.
"""

from __future__ import annotations

from typing import Final

from memstore.engine.command import (
    ADMIN,
    BLOCKING,
    EVERYWHERE,
    FAST,
    LOCAL,
    MAY_REPLICATE,
    MOVABLEKEYS,
    NO_AUTH,
    NO_MULTI,
    PUBSUB,
    Row,
)
from memstore.engine.context import Context

# These change the session or the database during the batch, or look at more than their keys,
# so the fast loop does not run them.
_NOT_PLAIN: Final = frozenset(
    (
        b"EXEC",
        b"DISCARD",
        b"MULTI",
        b"WATCH",
        b"UNWATCH",
        b"SELECT",
        b"SWAPDB",
        b"FLUSHALL",
        b"FLUSHDB",
        b"MOVE",
        b"COPY",
    )
)

# Quick besides those that Redis calls fast:
# their work is proportional to the bytes that they take and return.
_QUICK: Final = frozenset((
    b"SET", b"SETEX", b"PSETEX", b"MSET", b"MSETNX", b"GETRANGE", b"SUBSTR", b"DEL", b"RENAME",
    b"HGETALL", b"HKEYS", b"HVALS", b"HRANDFIELD", b"LRANGE", b"LINDEX", b"LSET", b"LMOVE",
    b"RPOPLPUSH", b"SMEMBERS", b"SRANDMEMBER", b"ZRANGE", b"ZREVRANGE", b"ZRANDMEMBER",
))  # fmt: skip
_NOT_QUICK: Final = frozenset((b"APPEND",))  # may copy the old value

# bytes: after a reply of this size the driver reads the clock and checks how much the client has
# not read
LARGE_REPLY: Final = 16 * 1024

_HTTP: Final = (b"POST", b"HOST:")


def no_handler(context: Context, argv: list[bytes]) -> bytes:
    raise AssertionError("no row has been found yet")


NO_ROW: Final = Row(b"", no_handler, 0, 0, (0, 0, 0), None, ("", "", "", ""))


def is_hostile(argv: list[bytes]) -> bool:
    """Whether the line belongs to an HTTP request: a web page made a browser speak to this port.
    Redis checks for the same two words.
    """
    return argv[0].upper() in _HTTP


def is_quick(row: Row) -> bool:
    """Whether many of them may run before the driver reads the clock. A command that is not quick
    may take long alone: its work depends on what is stored.
    """
    return row.name in _QUICK or (bool(row.flags & FAST) and row.name not in _NOT_QUICK)


def is_plain(row: Row, cluster: bool) -> bool:
    """Whether the fast loop may run the command. Such a command answers at once, looks only at the
    keys that its row names, and changes neither session nor database.
    """
    if (
        row.container
        or row.name in _NOT_PLAIN
        or row.flags
        & (
            LOCAL
            | EVERYWHERE
            | NO_AUTH
            | NO_MULTI
            | BLOCKING
            | PUBSUB
            | ADMIN
            | MOVABLEKEYS
            | MAY_REPLICATE
        )
    ):
        return False
    if row.first == 0 or row.find_keys is not None:
        return False
    return not cluster or row.first == row.last
