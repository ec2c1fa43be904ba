"""LCS: the longest common subsequence of two strings.

Decides: its options, its reply, how much memory it may take.
Must not know: the log, roles, clocks.

L(i, j) is the length for the first i bytes of one string and the first j of the other. The table is
kept as steps, one bit for each cell (Hyyro's bit-parallel form), because Python's big integers
compute a row in one operation. A row belongs to a prefix of the shorter string; its bits run along
the longer one. A bit is 0 where L grows by one.

The way back is the same as in Redis: where two ways are equally long, the second string's index
decreases. It jumps: it reads a row a few times for each byte of the shorter string, so its time is
that of the table. The limit is also Redis': four bytes for each cell must not exceed
proto-max-bulk-len. Here a cell takes one bit, and LEN keeps only the newest row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from memstore.commands.parse import integer, syntax_error
from memstore.engine import reply
from memstore.engine.command import FIRST_TWO, READONLY, command
from memstore.engine.context import Context
from memstore.engine.reply import CommandError
from memstore.engine.values.longstring import LongString

_CELL_BYTES = 4  # the size of a cell of Redis' table; sets the same limit
_LONGEST = (1 << 32) - 2

Range = tuple[int, int, int]  # start in the first string, start in the second, length


def _masks(short: bytes, long: bytes) -> dict[int, int]:
    """Return for each byte of the shorter string the places where the longer one has it."""
    backwards = long[::-1]
    masks: dict[int, int] = {}
    for byte in set(short):
        table = bytearray(b"0" * 256)
        table[byte] = 0x31
        masks[byte] = int(backwards.translate(table), 2) if long else 0
    return masks


def _rows(short: bytes, long: bytes) -> Iterator[int]:
    """Yield the row of each prefix of the shorter string, that of the empty prefix first."""
    full = (1 << len(long)) - 1
    masks = _masks(short, long)
    row = full
    yield row
    for byte in short:
        matched = row & masks[byte]
        row = ((row + matched) | (row - matched)) & full
        yield row


def length_of(a: bytes, b: bytes) -> int:
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    newest = deque(_rows(short, long), maxlen=1)[0]
    return len(long) - newest.bit_count()


def common(a: bytes, b: bytes) -> tuple[bytes, list[Range]]:
    """Return the subsequence and the ranges it consists of, last first."""
    found = bytearray()
    ranges: list[Range] = []
    if len(a) <= len(b):
        rows = list(_rows(a, b))
        previous = _previous_along_b
    else:
        rows = list(_rows(b, a))
        previous = _previous_along_a
    i, j, length = len(a), len(b), 0
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j, length = i - 1, j - 1, length + 1
            found.append(a[i])
            continue
        if length:
            ranges.append((i, j, length))
            length = 0
        i, j = previous(rows, a, b, i, j)
    if length:
        ranges.append((i, j, length))
    found.reverse()
    return bytes(found), ranges


def _previous_along_b(rows: list[int], a: bytes, b: bytes, i: int, j: int) -> tuple[int, int]:
    """Go back from a cell whose bytes differ.
    j decreases to the next place where the bytes agree or where L(i, j) grows. From there i
    decreases.
    """
    growing = (~rows[i] & ((1 << j) - 1)).bit_length()
    if growing == j:
        return i - 1, j
    return i, max(growing, b.rfind(a[i - 1 : i], 0, j) + 1)


def _previous_along_a(rows: list[int], a: bytes, b: bytes, i: int, j: int) -> tuple[int, int]:
    """Go back from a cell whose bytes differ.
    j decreases if L(i, j - 1) is as long. Otherwise i decreases to the next place where the bytes
    agree.

    There is such a place: while the bytes differ and L(i, j - 1) is shorter, L(i - 1, j) is as long
    as L(i, j).
    """
    below = (1 << i) - 1
    if (rows[j] & below).bit_count() == (rows[j - 1] & below).bit_count():
        return i, j - 1
    return a.rfind(b[j - 1 : j], 0, i) + 1, j


def _text(ctx: Context, key: bytes) -> bytes:
    value = ctx.lookup(key)
    if type(value) is LongString:
        return value.whole()
    if value is not None and type(value) is not bytes:
        raise CommandError("ERR The specified keys must contain string values")
    return value or b""


def _pair(start: int, length: int) -> bytes:
    return reply.array([reply.integer(start), reply.integer(start + length - 1)])


@command(
    b"LCS",
    arity=-3,
    flags=READONLY,
    keys=FIRST_TWO,
    since="7.0.0",
    group="string",
    summary="Finds what two strings have in common, in order",
    complexity="O(N*M)",
)
def lcs(ctx: Context, argv: list[bytes]) -> bytes:
    a, b = _text(ctx, argv[1]), _text(ctx, argv[2])
    indexes = length_only = with_length = False
    shortest, at = 0, 3
    while at < len(argv):
        option = argv[at].upper()
        if option == b"IDX":
            indexes = True
        elif option == b"LEN":
            length_only = True
        elif option == b"WITHMATCHLEN":
            with_length = True
        elif option == b"MINMATCHLEN" and at + 1 < len(argv):
            at += 1
            shortest = integer(argv[at])
        else:
            raise syntax_error()
        at += 1
    if indexes and length_only:
        raise CommandError("ERR If you want both the length and indexes, please just use IDX.")
    if max(len(a), len(b)) > _LONGEST:
        raise CommandError("ERR String too long for LCS")
    if (len(a) + 1) * (len(b) + 1) * _CELL_BYTES > ctx.engine.settings.proto_max_bulk_len:
        raise CommandError(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        )
    if length_only:
        return reply.integer(length_of(a, b))
    found, ranges = common(a, b)
    if not indexes:
        return reply.bulk(found)
    matches = []
    for first, second, length in ranges:
        if length >= shortest:
            parts = [_pair(first, length), _pair(second, length)]
            matches.append(reply.array([*parts, reply.integer(length)] if with_length else parts))
    return ctx.map(
        [
            reply.bulk(b"matches"),
            reply.array(matches),
            reply.bulk(b"len"),
            reply.integer(len(found)),
        ]
    )
