"""Strings as numbers: INCR and its family.

Decides: which strings are numbers, when a sum does not fit, what is logged.
Must not know: the log, roles, clocks. Integer steps are logged unchanged: a replay applies them to
the same state. The sum of a float step is logged as the SET of its digits.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from memstore.commands.parse import INT64_MAX, INT64_MIN, integer
from memstore.commands.strings import store
from memstore.engine import effects, reply
from memstore.engine.command import DENYOOM, FAST, FIRST, WRITE, command
from memstore.engine.context import Context
from memstore.engine.keyspace import BRACE, slot_of
from memstore.engine.reply import CommandError, bulk
from memstore.engine.values import longdouble, parse_integer
from memstore.engine.values.longstring import LongString

_OVERFLOW: Final = "ERR increment or decrement would overflow"


def _add(ctx: Context, key: bytes, step: int, head: bytes, arg: bytes | None) -> bytes:
    """Add ``step`` and log ``head``'s command on the key. The expiry stays.
    This is on the hot path: it finds the slot and reads the number itself.
    """
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if BRACE not in key else slot_of(key)
    items = database.slots[slot]
    value = items.get(key)
    if database.volatile and key in database.expires[slot]:
        value = ctx.lookup(key)
    if value is None:
        number = step
    elif type(value) is bytes:
        found = parse_integer(value)
        if found is None:
            raise CommandError(reply.NOT_AN_INTEGER)
        number = found + step
        if not INT64_MIN <= number <= INT64_MAX:
            raise CommandError(_OVERFLOW)
    else:  # a long string has more digits than any number
        raise CommandError(reply.NOT_AN_INTEGER if type(value) is LongString else reply.WRONGTYPE)
    items[key] = text = b"%d" % number
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    ctx.unit.append(head + bulk(key) if arg is None else head + bulk(key) + bulk(arg))
    ctx.changed.append((index, key) if index else key)
    return b":" + text + b"\r\n"


@command(
    b"INCR",
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Adds one to a number",
)
def incr(ctx: Context, argv: list[bytes]) -> bytes:
    return _add(ctx, argv[1], 1, b"*2\r\n$4\r\nINCR\r\n", None)


@command(
    b"DECR",
    arity=2,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Takes one from a number",
)
def decr(ctx: Context, argv: list[bytes]) -> bytes:
    return _add(ctx, argv[1], -1, b"*2\r\n$4\r\nDECR\r\n", None)


@command(
    b"INCRBY",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Adds to a number",
)
def incrby(ctx: Context, argv: list[bytes]) -> bytes:
    return _add(ctx, argv[1], integer(argv[2]), b"*3\r\n$6\r\nINCRBY\r\n", argv[2])


@command(
    b"DECRBY",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="1.0.0",
    group="string",
    summary="Takes from a number",
)
def decrby(ctx: Context, argv: list[bytes]) -> bytes:
    step = integer(argv[2])
    if step == INT64_MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(ctx, argv[1], -step, b"*3\r\n$6\r\nDECRBY\r\n", argv[2])


@command(
    b"INCRBYFLOAT",
    arity=3,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.6.0",
    group="string",
    summary="Adds to a number with decimals",
)
def incrbyfloat(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = ctx.lookup_string(key)
    try:
        total = longdouble.add(
            longdouble.parse(b"0" if value is None else value), longdouble.parse(argv[2])
        )
    except longdouble.NotANumber:
        raise CommandError(reply.NOT_A_FLOAT) from None
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    shown = longdouble.show(total)
    store(ctx, key, shown, ctx.database.expire_at(key))
    return reply.bulk(shown)
