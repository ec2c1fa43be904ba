"""Hash commands: fields and values under one key.

Decides: what each command reads, changes, answers and logs.
Must not know: how a hash is kept (engine.values.hash), the log, roles, clocks.

Changed fields are logged as HSET or HDEL of these fields only, sums as the HSET of the result. HSET
of one field and HGET are on the hot path: they find the slot themselves. The HDEL that empties a
hash also deletes its key, here and in a replay.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from memstore.commands.parse import INT64_MAX, INT64_MIN, integer, syntax_error
from memstore.commands.walk import cursor_of, walk
from memstore.engine import effects, reply
from memstore.engine.command import DENYOOM, FAST, FIRST, READONLY, WRITE, command
from memstore.engine.context import Context
from memstore.engine.keyspace import slot_of
from memstore.engine.reply import HEADS, CommandError, bulk
from memstore.engine.values import longdouble, parse_integer
from memstore.engine.values.hash import Hash
from memstore.engine.values.incremental_dict import IncrementalDict

_CRLF: Final = b"\r\n"
_HSET_HEAD: Final = b"*4\r\n$4\r\nHSET\r\n"
_MANY: Final = len(HEADS)
_NAN: Final = "ERR value is NaN or Infinity"
_INT64_RANGE: Final = f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"
# fields with repetition in one answer; Redis accepts any number, until memory ends
_MOST_REPEATED: Final = 1 << 24


def lookup_hash(ctx: Context, key: bytes) -> Hash | None:
    """The live hash at ``key``, or None; raises WRONGTYPE for another type."""
    value = ctx.lookup(key)
    if value is None or type(value) is Hash:
        return value
    raise CommandError(reply.WRONGTYPE)


def _put(ctx: Context, key: bytes, value: Hash | None, field: bytes, new: bytes) -> bool:
    """Set one field of ``value``, which is at ``key`` (None: it is created). Logs nothing.
    Returns True if the field is new.
    """
    if value is None:
        value = Hash()
        ctx.database.put(key, value)
    settings = ctx.engine.settings
    return value.put(
        field, new, settings.hash_max_listpack_entries, settings.hash_max_listpack_value
    )


# ----------------------------------------------------------------- one field


@command(
    b"HSET",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Sets fields of a hash",
    complexity="O(N), N fields",
)
def hset(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) != 4:
        return reply.integer(_set_pairs(ctx, argv))
    _, key, field, value = argv
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if b"{" not in key else slot_of(key)
    found = database.slots[slot].get(key)
    if database.volatile and key in database.expires[slot]:
        found = ctx.lookup(key)
    if type(found) is Hash:
        data = found.data
        if isinstance(data, IncrementalDict) and not found.listpack:
            new = data.put(field, value)
        else:
            settings = ctx.engine.settings
            new = found.put(
                field, value, settings.hash_max_listpack_entries, settings.hash_max_listpack_value
            )
    elif found is None:
        new = _put(ctx, key, None, field, value)
    else:
        raise CommandError(reply.WRONGTYPE)
    index = database.index
    if index != ctx.unit_db:
        ctx.unit.append(effects.select(index))
        ctx.unit_db = index
    key_length, length, value_length = len(key), len(field), len(value)
    if key_length < _MANY and length < _MANY and value_length < _MANY:
        ctx.unit.append(
            b"".join(
                (
                    _HSET_HEAD,
                    HEADS[key_length],
                    key,
                    _CRLF,
                    HEADS[length],
                    field,
                    _CRLF,
                    HEADS[value_length],
                    value,
                    _CRLF,
                )
            )
        )
    else:
        ctx.unit.append(b"%b%b%b%b" % (_HSET_HEAD, bulk(key), bulk(field), bulk(value)))
    ctx.changed.append((index, key) if index else key)
    return b":1\r\n" if new else b":0\r\n"


def _set_pairs(ctx: Context, argv: list[bytes]) -> int:
    """Set the pairs, log them as one HSET, and return how many fields are new."""
    if len(argv) % 2:
        raise CommandError(
            f"ERR wrong number of arguments for '{reply.text(argv[0].lower())}' command"
        )
    key = argv[1]
    value = lookup_hash(ctx, key)
    if value is None:
        value = Hash()
        ctx.database.put(key, value)
    settings = ctx.engine.settings
    most_pairs, longest = settings.hash_max_listpack_entries, settings.hash_max_listpack_value
    created = 0
    for at in range(2, len(argv), 2):
        created += value.put(argv[at], argv[at + 1], most_pairs, longest)
    ctx.effect(b"HSET", *argv[1:])
    return created


@command(
    b"HMSET",
    arity=-4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Sets fields of a hash (HSET's old name)",
    complexity="O(N), N fields",
)
def hmset(ctx: Context, argv: list[bytes]) -> bytes:
    _set_pairs(ctx, argv)
    return reply.OK


@command(
    b"HSETNX",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Sets a field that does not exist",
)
def hsetnx(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, field, new = argv
    value = lookup_hash(ctx, key)
    if value is not None and field in value:
        return reply.ZERO
    _put(ctx, key, value, field, new)
    ctx.effect(b"HSET", key, field, new)
    return reply.ONE


@command(
    b"HGET",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Returns a field's value",
)
def hget(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, field = argv
    database = ctx.database
    slot = (crc_hqx(key, 0) & 16383) if b"{" not in key else slot_of(key)
    value = database.slots[slot].get(key)
    if database.volatile and key in database.expires[slot]:
        value = ctx.lookup(key)
    if type(value) is Hash:
        return value.encoded(field) or ctx.nil
    if value is None:
        return ctx.nil
    raise CommandError(reply.WRONGTYPE)


@command(
    b"HMGET",
    arity=-3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Returns several fields' values",
    complexity="O(N), N fields",
)
def hmget(ctx: Context, argv: list[bytes]) -> bytes:
    value, nil = lookup_hash(ctx, argv[1]), ctx.nil
    if value is None:
        return reply.array([nil] * (len(argv) - 2))
    return reply.array([value.encoded(field) or nil for field in argv[2:]])


@command(
    b"HEXISTS",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Whether a hash has a field",
)
def hexists(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    return reply.ONE if value is not None and argv[2] in value else reply.ZERO


@command(
    b"HSTRLEN",
    arity=3,
    flags=READONLY | FAST,
    keys=FIRST,
    since="3.2.0",
    group="hash",
    summary="Returns the length of a field's value",
)
def hstrlen(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    found = None if value is None else value.get(argv[2])
    return reply.ZERO if found is None else reply.integer(len(found))


@command(
    b"HDEL",
    arity=-3,
    flags=WRITE | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Deletes fields of a hash",
    complexity="O(N), N fields",
)
def hdel(ctx: Context, argv: list[bytes]) -> bytes:
    key = argv[1]
    value = lookup_hash(ctx, key)
    if value is None:
        return reply.ZERO
    gone = [field for field in argv[2:] if value.remove(field)]
    if not gone:
        return reply.ZERO
    if not len(value):
        ctx.database.remove(key)
    ctx.effect(b"HDEL", key, *gone)
    return reply.integer(len(gone))


# ----------------------------------------------------------------- numbers


@command(
    b"HINCRBY",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Adds to a field's number",
)
def hincrby(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, field, arg = argv
    step = integer(arg)
    value = lookup_hash(ctx, key)
    old = None if value is None else value.get(field)
    number = 0 if old is None else parse_integer(old)
    if number is None:
        raise CommandError("ERR hash value is not an integer")
    number += step
    if not INT64_MIN <= number <= INT64_MAX:
        raise CommandError("ERR increment or decrement would overflow")
    new = b"%d" % number
    _put(ctx, key, value, field, new)
    ctx.effect(b"HSET", key, field, new)
    return b":" + new + b"\r\n"


@command(
    b"HINCRBYFLOAT",
    arity=4,
    flags=WRITE | DENYOOM | FAST,
    keys=FIRST,
    since="2.6.0",
    group="hash",
    summary="Adds to a field's number with decimals",
)
def hincrbyfloat(ctx: Context, argv: list[bytes]) -> bytes:
    _, key, field, arg = argv
    try:
        step = longdouble.parse(arg)
    except longdouble.NotANumber:
        raise CommandError(reply.NOT_A_FLOAT) from None
    if step is longdouble.INFINITE:
        raise CommandError(_NAN)
    value = lookup_hash(ctx, key)
    old = None if value is None else value.get(field)
    try:
        total = longdouble.add(longdouble.parse(b"0" if old is None else old), step)
    except longdouble.NotANumber:
        raise CommandError("ERR hash value is not a float") from None
    if total is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    new = longdouble.show(total)
    _put(ctx, key, value, field, new)
    ctx.effect(b"HSET", key, field, new)
    return bulk(new)


# ----------------------------------------------------------------- the whole hash


@command(
    b"HLEN",
    arity=2,
    flags=READONLY | FAST,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Counts a hash's fields",
)
def hlen(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    return reply.ZERO if value is None else reply.integer(len(value))


@command(
    b"HGETALL",
    arity=2,
    flags=READONLY,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Returns all fields and values",
    complexity="O(N), N fields",
)
def hgetall(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    if value is None:
        return ctx.map([])
    return (
        b"%%%d\r\n" % len(value) if ctx.resp3 else b"*%d\r\n" % (2 * len(value))
    ) + value.encoded_pairs()


@command(
    b"HKEYS",
    arity=2,
    flags=READONLY,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Returns all fields",
    complexity="O(N), N fields",
)
def hkeys(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    return reply.EMPTY_ARRAY if value is None else reply.bulk_array(value.fields())


@command(
    b"HVALS",
    arity=2,
    flags=READONLY,
    keys=FIRST,
    since="2.0.0",
    group="hash",
    summary="Returns all values",
    complexity="O(N), N fields",
)
def hvals(ctx: Context, argv: list[bytes]) -> bytes:
    value = lookup_hash(ctx, argv[1])
    return reply.EMPTY_ARRAY if value is None else reply.bulk_array(value.values())


# ----------------------------------------------------------------- some of it


@command(
    b"HRANDFIELD",
    arity=-2,
    flags=READONLY,
    keys=FIRST,
    since="6.2.0",
    group="hash",
    summary="Returns fields by chance",
    complexity="O(N), N fields returned",
)
def hrandfield(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) == 2:
        value = lookup_hash(ctx, argv[1])
        return ctx.nil if value is None else bulk(value.random(ctx.rng))
    count = integer(argv[2])
    if count == INT64_MIN:
        raise CommandError(_INT64_RANGE)
    if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHVALUES"):
        raise syntax_error()
    with_values = len(argv) == 4
    if count < -_MOST_REPEATED or (with_values and abs(count) > INT64_MAX // 2):
        raise CommandError("ERR value is out of range")
    value = lookup_hash(ctx, argv[1])
    if value is None or count == 0:
        return reply.EMPTY_ARRAY
    if not with_values:
        return reply.bulk_array([field for field, _ in _chosen(ctx, value, count)])
    pairs = _chosen(ctx, value, count)
    if ctx.resp3:
        return reply.array([reply.bulk_array(pair) for pair in pairs])
    return reply.bulk_array([part for pair in pairs for part in pair])


def _chosen(ctx: Context, value: Hash, count: int) -> list[tuple[bytes, bytes]]:
    """Return random pairs: up to ``count`` different ones.
    Negative: exactly that many, with possible repeats.
    """
    rng, size = ctx.rng, len(value)
    small = not isinstance(value.data, IncrementalDict)
    if count >= size:
        return list(value.items())
    if count < 0 and (small or -count > size):
        pairs = list(value.items())
        return [pairs[int(rng.random() * size)] for _ in range(-count)]
    if count > 0 and (small or 3 * count > size):
        return rng.sample(list(value.items()), count)
    fields: list[bytes] = []
    seen: set[bytes] = set()
    while len(fields) < abs(count):
        field = value.random(rng)
        if count > 0:
            if field in seen:
                continue
            seen.add(field)
        fields.append(field)
    return [(field, value.get(field) or b"") for field in fields]


@command(
    b"HSCAN",
    arity=-3,
    flags=READONLY,
    keys=FIRST,
    since="2.8.0",
    group="hash",
    summary="Walks a hash, some pairs a call",
    complexity="O(1) a call, O(N) a walk",
)
def hscan(ctx: Context, argv: list[bytes]) -> bytes:
    cursor = cursor_of(argv)
    return walk(
        lookup_hash(ctx, argv[1]),
        cursor,
        argv,
        lambda pair: pair[0],
        lambda pairs: [part for pair in pairs for part in pair],
    )
