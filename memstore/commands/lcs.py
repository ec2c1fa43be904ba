"""LCS: the longest common subsequence of two strings.

Decides: its options and its reply. Must not know: the log, roles, clocks.
The table of lengths is kept as its rows' steps, one bit a cell (Hyyrö's bit-parallel form), because Python's big integers fill a row in one go:
a bit of row i at j is 0 where the length for (i, j + 1) is one more than for (i, j). Where two ways back are equally long, the second string's
index is lowered, as Redis does it.
"""

from __future__ import annotations

from memstore.commands.parse import integer, syntax_error
from memstore.engine import reply
from memstore.engine.command import FIRST_TWO, READONLY, command
from memstore.engine.context import Context
from memstore.engine.reply import CommandError

_CELL_BYTES = 4  # what Redis takes a cell of its table; sets the same limit
_LONGEST = (1 << 32) - 2

Range = tuple[int, int, int]  # start in the first string, start in the second, length


def _rows(a: bytes, b: bytes) -> list[bytes]:
    """For each prefix of ``a``, the steps along ``b``, lowest bit first."""
    width = len(b)
    full = (1 << width) - 1
    backwards = b[::-1]
    masks: dict[int, int] = {}
    for byte in set(a):
        table = bytearray(b"0" * 256)
        table[byte] = 0x31
        masks[byte] = int(backwards.translate(bytes(table)), 2) if width else 0
    row, rows, size = full, [], width // 8 + 1
    rows.append(row.to_bytes(size, "little"))
    for byte in a:
        matched = row & masks[byte]
        row = ((row + matched) | (row - matched)) & full
        rows.append(row.to_bytes(size, "little"))
    return rows


def common(a: bytes, b: bytes) -> tuple[bytes, list[Range]]:
    """The subsequence and the stretches it is made of, last first."""
    rows = _rows(a, b)
    found = bytearray()
    ranges: list[Range] = []
    i, j, length = len(a), len(b), 0
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j, length = i - 1, j - 1, length + 1
            found.append(a[i])
            continue
        if length:
            ranges.append((i, j, length))
            length = 0
        if rows[i][(j - 1) >> 3] >> ((j - 1) & 7) & 1:
            j -= 1
        else:
            i -= 1
    if length:
        ranges.append((i, j, length))
    found.reverse()
    return bytes(found), ranges


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
    values = [ctx.lookup(argv[1]), ctx.lookup(argv[2])]
    if any(value is not None and type(value) is not bytes for value in values):
        raise CommandError("ERR The specified keys must contain string values")
    a, b = [value or b"" for value in values]
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
        raise CommandError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    found, ranges = common(a, b)
    if length_only:
        return reply.integer(len(found))
    if not indexes:
        return reply.bulk(found)
    matches = []
    for first, second, length in ranges:
        if length >= shortest:
            parts = [_pair(first, length), _pair(second, length)]
            matches.append(reply.array([*parts, reply.integer(length)] if with_length else parts))
    return ctx.map([reply.bulk(b"matches"), reply.array(matches), reply.bulk(b"len"), reply.integer(len(found))])
