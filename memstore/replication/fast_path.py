"""Which commands the shard's fast loop may run, and which lines no client of ours sends.

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

# Change the session or the database under the batch, or look at more than their keys:
# not for the fast loop.
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

# Beside those that Redis calls fast:
# their work is in proportion to the bytes that they take and give.
_QUICK: Final = frozenset((
    b"SET", b"SETEX", b"PSETEX", b"MSET", b"MSETNX", b"GETRANGE", b"SUBSTR", b"DEL", b"RENAME",
    b"HGETALL", b"HKEYS", b"HVALS", b"HRANDFIELD", b"LRANGE", b"LINDEX", b"LSET", b"LMOVE",
    b"RPOPLPUSH", b"SMEMBERS", b"SRANDMEMBER", b"ZRANGE", b"ZREVRANGE", b"ZRANDMEMBER",
))  # fmt: skip
_NOT_QUICK: Final = frozenset((b"APPEND",))  # may copy what was there

# bytes: behind a reply of so many the driver looks at the clock,
# and at what the client has not read
LARGE_REPLY: Final = 16 * 1024

_HTTP: Final = (b"POST", b"HOST:")


def no_handler(context: Context, argv: list[bytes]) -> bytes:
    raise AssertionError("no row has been found yet")


NO_ROW: Final = Row(b"", no_handler, 0, 0, (0, 0, 0), None, ("", "", "", ""))


def is_hostile(argv: list[bytes]) -> bool:
    """Whether the line belongs to an HTTP request: a web page made its reader's browser speak to
    this port. Redis looks for the same two words.
    """
    return argv[0].upper() in _HTTP


def is_quick(row: Row) -> bool:
    """Whether many of them may run without a look at the clock. Of any other command each may take
    long: its work depends on what is stored.
    """
    return row.name in _QUICK or (bool(row.flags & FAST) and row.name not in _NOT_QUICK)


def is_plain(row: Row, cluster: bool) -> bool:
    """Whether the fast loop may run the command: it answers at once, looks at the keys its row
    names and leaves session and database alone.
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
