"""Commands about the node as a whole that fit nowhere else: its time, SHUTDOWN, unsupported dumps.

Decides: what SHUTDOWN's options ask for.
Must not know: how a node ends or hands over; a request asks the node for it.
"""

from __future__ import annotations

from typing import Final

from memstore.engine import reply
from memstore.engine.command import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    LOCAL,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    READONLY,
    STALE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.requests import AbortShutdown, Shutdown
from memstore.engine.values import parse_integer
from memstore.version import REDIS_VERSION, VERSION

_NO_DUMPS: Final = (
    "ERR memstore takes no dumps: every acknowledged write is on disk in its log already"
)
_SIZE: Final = 32  # rows of LOLWUT's picture by default
_SIZE_MAX: Final = 64


@command(
    b"TIME",
    arity=1,
    flags=LOADING | STALE | FAST | LOCAL,
    since="2.6.0",
    group="server",
    summary="This node's time: seconds and microseconds",
)
def time_(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.bulk_array([b"%d" % (ctx.wall_ms // 1000), b"%d" % (ctx.wall_ms % 1000 * 1000)])


@command(
    b"SHUTDOWN",
    arity=-1,
    flags=ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY | LOCAL,
    group="server",
    summary="End this node, handing over first",
)
def shutdown(ctx: Context, argv: list[bytes]) -> bytes | None:
    words = [arg.upper() for arg in argv[1:]]
    known = {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}
    if (
        not set(words) <= known
        or (b"ABORT" in words and len(words) > 1)
        or (b"SAVE" in words and b"NOSAVE" in words)
    ):
        raise reply.CommandError(reply.SYNTAX)
    engine = ctx.engine
    if words == [b"ABORT"]:
        if not engine.shutting_down:
            raise reply.CommandError("ERR No shutdown in progress.")
        engine.requests.append(AbortShutdown())
        return reply.OK
    # SAVE and NOSAVE have no effect here: acknowledged writes are on disk.
    engine.requests.append(Shutdown(ctx.session, now=b"NOW" in words, force=b"FORCE" in words))
    return None


@command(
    b"SAVE",
    arity=1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI | LOCAL,
    group="server",
    summary="Refused: there are no dumps",
)
def save(ctx: Context, argv: list[bytes]) -> bytes:
    raise reply.CommandError(_NO_DUMPS)


@command(
    b"BGSAVE",
    arity=-1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | LOCAL,
    group="server",
    summary="Refused: there are no dumps",
)
def bgsave(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() != b"SCHEDULE"):
        raise reply.CommandError(reply.SYNTAX)
    raise reply.CommandError(_NO_DUMPS)


@command(
    b"BGREWRITEAOF",
    arity=1,
    flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | LOCAL,
    group="server",
    summary="Refused: the log is not rewritten",
)
def bgrewriteaof(ctx: Context, argv: list[bytes]) -> bytes:
    raise reply.CommandError(_NO_DUMPS)


@command(
    b"LASTSAVE",
    arity=1,
    flags=LOADING | STALE | FAST | LOCAL,
    group="server",
    summary="When this node started: it makes no dumps",
)
def lastsave(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(ctx.engine.facts.started_ms // 1000)


@command(
    b"LOLWUT",
    arity=-1,
    flags=READONLY | FAST | LOCAL,
    since="5.0.0",
    group="server",
    summary="A small picture and the version",
)
def lolwut(ctx: Context, argv: list[bytes]) -> bytes:
    numbers = argv[3:] if len(argv) > 2 and argv[1].upper() == b"VERSION" else argv[1:]
    size = parse_integer(numbers[0]) if numbers else _SIZE
    if size is None:
        raise reply.CommandError(reply.NOT_AN_INTEGER)
    rows = min(max(size, 1), _SIZE_MAX)
    # Pascal's triangle, only odd numbers: a triangle of triangles.
    lines = [
        " " * (rows - y - 1) + " ".join("o" if x & y == x else " " for x in range(y + 1)).rstrip()
        for y in range(rows)
    ]
    picture = "\n".join(lines)
    return ctx.verbatim(
        f"{picture}\n\nmemstore ver. {VERSION}, Redis ver. {REDIS_VERSION}\n".encode()
    )
