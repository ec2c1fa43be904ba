"""SORT and SORT_RO: the elements of a list, set or sorted set, sorted.

They are sorted by themselves or by what other keys hold.

Decides: their options, the order, what is fetched for each element, what STORE changes and logs.
Must not know: the log, roles, clocks.

BY and GET build key names from the elements. No argument contains these keys, so each key that is
read is added to ``ctx.looked``. For elements of equal weight the order is as follows. Numbers: by
the elements' bytes. ALPHA: a list and a sorted set keep their order; a set is in the order of its
members' bytes (Redis uses its order in memory). Without STORE, ALPHA compares up to a zero byte, as
strcoll does in the C locale. Effects: DEL of what the destination held, then RPUSH in pieces.
"""

from __future__ import annotations

from itertools import islice
from operator import itemgetter
from typing import Final

from memstore.commands.parse import integer, syntax_error
from memstore.engine import reply
from memstore.engine.command import DENYOOM, FIRST, MOVABLEKEYS, READONLY, WRITE, command
from memstore.engine.context import Context
from memstore.engine.limits import check_effects
from memstore.engine.reply import CommandError
from memstore.engine.values.double import parse_double
from memstore.engine.values.hash import Hash
from memstore.engine.values.longstring import LongString
from memstore.engine.values.quicklist import List
from memstore.engine.values.set import Set
from memstore.engine.values.sorted import SortedSet

_NO_DOUBLE: Final = "ERR One or more scores can't be converted into double"
_BLANKS: Final = b" \t\n\v\f\r"
_SMALLEST_NORMAL: Final = 2.2250738585072014e-308
_PIECE: Final = 512  # elements of one RPUSH in the log
_COMPLEXITY: Final = "O(N+M*log(M)), N elements in the collection and M returned"


class _Pattern:
    """The argument of BY or GET: a key's name with a place for the element, and perhaps a hash
    field.
    It is a C string: a zero byte hides the rest.
    """

    __slots__ = ("field", "itself", "prefix", "stands", "suffix")

    def __init__(self, text: bytes) -> None:
        visible = text.partition(b"\x00")[0]
        star = visible.find(b"*")
        self.itself = visible == b"#"
        self.stands = star < 0  # no place for the element: it names no key
        self.prefix, self.suffix = text[:star], text[star + 1 :]
        self.field: bytes | None = None
        arrow = visible.find(b"->", star + 1)
        if arrow >= 0 and arrow + 2 < len(visible):
            self.suffix, self.field = text[star + 1 : arrow], text[arrow + 2 :]

    def fetch(self, ctx: Context, elements: list[bytes]) -> list[bytes | None]:
        """Return for each element what its key holds; None: nothing, or a value of another type."""
        if self.itself:
            return [*elements]
        if self.stands:
            return [None] * len(elements)
        prefix, suffix, field = self.prefix, self.suffix, self.field
        keys = [prefix + element + suffix for element in elements]
        index = ctx.database.index
        ctx.looked += [(index, key) for key in keys] if index else keys
        lookup = ctx.lookup
        if field is None:
            return [
                value
                if type(value) is bytes
                else value.whole()
                if type(value) is LongString
                else None
                for value in map(lookup, keys)
            ]
        return [value.get(field) if type(value) is Hash else None for value in map(lookup, keys)]


class _Options:
    __slots__ = ("alpha", "by", "count", "descending", "gets", "start", "store", "unsorted")

    def __init__(self) -> None:
        self.alpha = self.descending = self.unsorted = False
        self.start, self.count = 0, -1
        self.by: _Pattern | None = None
        self.gets: list[_Pattern] = []
        self.store: bytes | None = None

    def range(self, length: int) -> tuple[int, int]:
        """Return LIMIT's part of this many elements."""
        start = min(max(self.start, 0), length)
        return start, length if self.count < 0 else min(start + self.count, length)


def _parse(ctx: Context, argv: list[bytes], storing: bool) -> _Options:
    found = _Options()
    cluster = ctx.engine.settings.cluster_enabled
    at, size = 2, len(argv)
    while at < size:
        name, left = argv[at].upper(), size - at - 1
        if name == b"ASC":
            found.descending = False
        elif name == b"DESC":
            found.descending = True
        elif name == b"ALPHA":
            found.alpha = True
        elif name == b"LIMIT" and left >= 2:
            found.start, found.count = integer(argv[at + 1]), integer(argv[at + 2])
            at += 2
        elif name == b"STORE" and left and storing:
            at += 1
            found.store = argv[at]
        elif name == b"BY" and left:
            at += 1
            found.by = _Pattern(argv[at])
            found.unsorted = found.unsorted or found.by.stands  # a later BY does not undo it
            if cluster and not found.by.stands:
                raise CommandError("ERR BY option of SORT denied in Cluster mode.")
        elif name == b"GET" and left:
            at += 1
            found.gets.append(_Pattern(argv[at]))
            if cluster:
                raise CommandError("ERR GET option of SORT denied in Cluster mode.")
        else:
            raise syntax_error()
        at += 1
    return found


def _weight(text: bytes) -> float:
    """Read a whole string as C's strtod does: leading blanks are accepted, an empty one is zero.
    Numbers out of range or too small to be exact are refused.
    """
    text = text.partition(b"\x00")[0]
    if not text:
        return 0.0
    text = text.lstrip(_BLANKS)
    found = parse_double(text)
    # An exact decimal spelling of a denormal number has hundreds of digits; a hexadecimal spelling
    # is always exact.
    if found is None or (
        found and -_SMALLEST_NORMAL < found < _SMALLEST_NORMAL and b"x" not in text.lower()
    ):
        raise CommandError(_NO_DOUBLE)
    return found


def _visible(text: bytes) -> bytes:
    return text.partition(b"\x00")[0] if b"\x00" in text else text


def _by_number(ctx: Context, elements: list[bytes], options: _Options) -> list[bytes]:
    if options.by is None:
        weights = [_weight(element) for element in elements]
    else:
        weights = [
            0.0 if value is None else _weight(value) for value in options.by.fetch(ctx, elements)
        ]
    return [
        element
        for _, element in sorted(zip(weights, elements, strict=True), reverse=options.descending)
    ]


def _by_text(ctx: Context, elements: list[bytes], options: _Options) -> list[bytes]:
    whole = options.store is not None
    if options.by is None:
        return sorted(elements, key=None if whole else _visible, reverse=options.descending)
    values = options.by.fetch(ctx, elements)
    keys = [
        (value is not None, value if whole or value is None else _visible(value))
        for value in values
    ]
    return [
        element
        for _, element in sorted(
            zip(keys, elements, strict=True), key=itemgetter(0), reverse=options.descending
        )
    ]


def _unsorted(value: List | Set | SortedSet, options: _Options) -> list[bytes]:
    """Return the elements in their present order, and only LIMIT's part."""
    length = len(value)
    start, stop = options.range(length)
    if isinstance(value, Set):
        return list(islice(value, start, stop))
    if options.descending:
        start, stop = length - stop, length - start
    elements = value.items(start, stop) if isinstance(value, List) else value.part(start, stop)[0]
    return elements[::-1] if options.descending else elements


def _chosen(ctx: Context, value: List | Set | SortedSet, options: _Options) -> list[bytes]:
    """Return the elements of the answer, in order."""
    if options.unsorted:
        if not isinstance(value, Set) or options.store is None:
            return _unsorted(value, options)
        options.alpha, options.by = True, None  # the order of a stored result has a meaning
    if isinstance(value, Set):
        elements = sorted(value) if options.alpha else list(value)
    else:
        elements = value.items() if isinstance(value, List) else value.part(0, len(value))[0]
    ordered = (
        _by_text(ctx, elements, options) if options.alpha else _by_number(ctx, elements, options)
    )
    start, stop = options.range(len(ordered))
    return ordered[start:stop]


def _fetched(ctx: Context, elements: list[bytes], gets: list[_Pattern]) -> list[bytes | None]:
    """Return what each GET finds for the first element, then for the second, and so on."""
    columns = [pattern.fetch(ctx, elements) for pattern in gets]
    return [value for row in zip(*columns, strict=True) for value in row]


def _store(ctx: Context, key: bytes, items: list[bytes]) -> bytes:
    check_effects(ctx, items)
    index = ctx.database.index
    # if the key did not exist and the result is empty, no effect names the key
    ctx.looked.append((index, key) if index else key)
    there = ctx.lookup(key) is not None
    if there:
        ctx.database.remove(key)
        ctx.effect(b"DEL", key)
    if items:
        value = List()
        value.push(items, False)
        ctx.database.put(key, value)
        for at in range(0, len(items), _PIECE):
            ctx.effect(b"RPUSH", key, *items[at : at + _PIECE])
    return reply.integer(len(items))


def _sort(ctx: Context, argv: list[bytes], storing: bool) -> bytes:
    options = _parse(ctx, argv, storing)
    value = ctx.lookup(argv[1])
    if value is None:
        value = List()
    elif type(value) not in (List, Set, SortedSet):
        raise CommandError(reply.WRONGTYPE)
    chosen = _chosen(ctx, value, options)
    if options.store is not None:
        found = _fetched(ctx, chosen, options.gets) if options.gets else chosen
        return _store(ctx, options.store, [item or b"" for item in found])
    if not options.gets:
        return reply.bulk_array(chosen)
    nil, bulk = ctx.nil, reply.bulk
    return reply.array(
        [nil if item is None else bulk(item) for item in _fetched(ctx, chosen, options.gets)]
    )


def _keys(argv: list[bytes]) -> list[bytes]:
    """Return the sorted key and the key of the last STORE."""
    store: list[bytes] = []
    at = 2
    while at < len(argv):
        name = argv[at].upper()
        if name == b"STORE" and at + 1 < len(argv):
            store = [argv[at + 1]]
        at += 3 if name == b"LIMIT" else 2 if name in (b"BY", b"GET", b"STORE") else 1
    return [argv[1], *store]


@command(
    b"SORT",
    arity=-2,
    flags=WRITE | DENYOOM | MOVABLEKEYS,
    keys=FIRST,
    find_keys=_keys,
    since="1.0.0",
    summary="Returns or stores the elements of a list, a set or a sorted set in order",
    complexity=_COMPLEXITY,
)
def sort(ctx: Context, argv: list[bytes]) -> bytes:
    return _sort(ctx, argv, True)


@command(
    b"SORT_RO",
    arity=-2,
    flags=READONLY | MOVABLEKEYS,
    keys=FIRST,
    since="7.0.0",
    summary="Returns the elements of a list, a set or a sorted set in order",
    complexity=_COMPLEXITY,
)
def sort_ro(ctx: Context, argv: list[bytes]) -> bytes:
    return _sort(ctx, argv, False)
