"""HSCAN, SSCAN and ZSCAN: the common parts of their calls and answers.

Decides: the order in which their arguments are checked, COUNT and MATCH, the shape of the answer.
Must not know: what a collection is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from memstore.commands.parse import integer, syntax_error
from memstore.engine import reply
from memstore.engine.glob import compiled
from memstore.engine.reply import CommandError, bulk
from memstore.engine.scan import parse_cursor

DEFAULT_COUNT: Final = 10
_OVER: Final = b"*2\r\n$1\r\n0\r\n*0\r\n"

_Member = TypeVar("_Member")


class Walked(Protocol[_Member]):
    def scan(self, cursor: int, count: int) -> tuple[int, list[_Member]]: ...


def cursor_of(argv: list[bytes]) -> int:
    """Return the cursor of ``COMMAND key cursor [MATCH pattern] [COUNT count]``.
    The caller calls it before it looks up the key: the error of a wrong cursor comes first.
    """
    cursor = parse_cursor(argv[2])
    if cursor is None:
        raise CommandError("ERR invalid cursor")
    return cursor


def walk(
    value: Walked[_Member] | None,
    cursor: int,
    argv: list[bytes],
    name_of: Callable[[_Member], bytes],
    show: Callable[[list[_Member]], list[bytes]],
) -> bytes:
    """Return the reply of one step of a scan.
    The pattern is matched against ``name_of`` a member; ``show`` makes the parts of the answer.
    """
    if value is None:
        return _OVER  # as in Redis, the options are not checked
    count, pattern = _options(argv)
    cursor, found = value.scan(cursor, count)
    if pattern != b"*":
        matches = compiled(pattern)
        found = [member for member in found if matches(name_of(member))]
    return reply.array([bulk(b"%d" % cursor), reply.bulk_array(show(found))])


def _options(argv: list[bytes]) -> tuple[int, bytes]:
    count, pattern = DEFAULT_COUNT, b"*"
    for at in range(3, len(argv), 2):
        option = argv[at].upper()
        if at + 1 == len(argv) or option not in (b"COUNT", b"MATCH"):
            raise syntax_error()
        if option == b"MATCH":
            pattern = argv[at + 1]
            continue
        count = integer(argv[at + 1])
        if count < 1:
            raise syntax_error()
    return count, pattern
