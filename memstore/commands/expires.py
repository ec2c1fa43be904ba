"""When keys expire: EXPIRE and its family, TTL and its family, PERSIST.

Decides: what each command reads, changes, answers and logs.
Must not know: the log, roles, clocks. Every change is logged as ``PEXPIREAT key ms``, ``PERSIST
key`` or, for a time that has passed, ``DEL key``.
"""

from __future__ import annotations

from memstore.commands.parse import INT64_MAX, INT64_MIN, integer, invalid_expire
from memstore.engine import reply
from memstore.engine.command import FAST, FIRST, READONLY, WRITE, command
from memstore.engine.context import DELETE_EXPIRED, Context
from memstore.engine.reply import CommandError


def _conditions(argv: list[bytes]) -> set[bytes]:
    found = set()
    for arg in argv[3:]:
        name = arg.upper()
        if name not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(f"ERR Unsupported option {reply.text(arg)}")
        found.add(name)
    if b"NX" in found and len(found) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in found and b"LT" in found:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return found


def _allowed(conditions: set[bytes], current: int, at_ms: int) -> bool:
    """``current`` -1: the key does not expire, which counts as later than any time."""
    return not (
        (b"NX" in conditions and current >= 0)
        or (b"XX" in conditions and current < 0)
        or (b"GT" in conditions and (current < 0 or at_ms <= current))
        or (b"LT" in conditions and 0 <= current <= at_ms)
    )


def _expire(ctx: Context, argv: list[bytes], unit_ms: int, relative: bool, name: str) -> bytes:
    conditions = _conditions(argv) if len(argv) > 3 else set()
    at_ms = integer(argv[2])
    if unit_ms > 1 and not -(-INT64_MIN // unit_ms) <= at_ms <= INT64_MAX // unit_ms:
        raise invalid_expire(name)
    at_ms *= unit_ms
    start_ms = ctx.wall_ms if relative else 0
    if at_ms > INT64_MAX - start_ms:
        raise invalid_expire(name)
    at_ms += start_ms
    key = argv[1]
    if ctx.lookup(key) is None:
        return reply.ZERO
    if conditions and not _allowed(conditions, ctx.database.expire_at(key), at_ms):
        return reply.ZERO
    if at_ms <= ctx.wall_ms and ctx.expiry == DELETE_EXPIRED:
        ctx.database.remove(key)
        ctx.effect(b"DEL", key)
    else:
        ctx.database.set_expire(key, at_ms)
        ctx.effect(b"PEXPIREAT", key, b"%d" % at_ms)
    return reply.ONE


@command(
    b"EXPIRE",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.0.0",
    summary="Sets a key's time to live in seconds",
)
def expire(ctx: Context, argv: list[bytes]) -> bytes:
    return _expire(ctx, argv, 1000, True, "expire")


@command(
    b"PEXPIRE",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="2.6.0",
    summary="Sets a key's time to live in milliseconds",
)
def pexpire(ctx: Context, argv: list[bytes]) -> bytes:
    return _expire(ctx, argv, 1, True, "pexpire")


@command(
    b"EXPIREAT",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="1.2.0",
    summary="Sets the second at which a key expires",
)
def expireat(ctx: Context, argv: list[bytes]) -> bytes:
    return _expire(ctx, argv, 1000, False, "expireat")


@command(
    b"PEXPIREAT",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="2.6.0",
    summary="Sets the millisecond at which a key expires",
)
def pexpireat(ctx: Context, argv: list[bytes]) -> bytes:
    return _expire(ctx, argv, 1, False, "pexpireat")


@command(
    b"PERSIST",
    arity=2,
    flags=WRITE | FAST,
    keys=FIRST,
    since="2.2.0",
    summary="Takes a key's expiry away",
)
def persist(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    if ctx.lookup(key) is None or not ctx.database.persist(key):
        return reply.ZERO
    ctx.effect(b"PERSIST", key)
    return reply.ONE


def _left(ctx: Context, key: bytes, absolute: bool, seconds: bool) -> bytes:
    if ctx.lookup(key) is None:
        return reply.MINUS_TWO
    at_ms = ctx.database.expire_at(key)
    if at_ms < 0:
        return reply.MINUS_ONE
    left = at_ms if absolute else max(0, at_ms - ctx.due_ms)
    return reply.integer((left + 500) // 1000 if seconds else left)


@command(
    b"TTL",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="1.0.0",
    summary="Returns how many seconds a key has left",
)
def ttl(ctx: Context, argv: list[bytes]) -> bytes:
    return _left(ctx, argv[1], False, True)


@command(
    b"PTTL",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.6.0",
    summary="Returns how many milliseconds a key has left",
)
def pttl(ctx: Context, argv: list[bytes]) -> bytes:
    return _left(ctx, argv[1], False, False)


@command(
    b"EXPIRETIME",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="7.0.0",
    summary="Returns the second at which a key expires",
)
def expiretime(ctx: Context, argv: list[bytes]) -> bytes:
    return _left(ctx, argv[1], True, True)


@command(
    b"PEXPIRETIME",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="7.0.0",
    summary="Returns the millisecond at which a key expires",
)
def pexpiretime(ctx: Context, argv: list[bytes]) -> bytes:
    return _left(ctx, argv[1], True, False)
