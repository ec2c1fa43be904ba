"""The command table: one row for each command, made by a decorator on the function that runs it.

Decides: what a row holds and how a name finds it.
Must not know: replies, roles, what any one command does.

A row is data for dispatch, arity, role gates, the tracker (keys), cluster slots, COMMAND and its
subcommands, and the table test.

    @command(b"GETDEL", arity=2, flags=WRITE | FAST, keys=FIRST, since="6.2.0", group="string",
             summary="...")
    def getdel(ctx: Context, argv: list[bytes]) -> bytes: ...

A subcommand is a row of its own, named ``b"CLIENT|ID"``; its container needs no function. Names are
upper case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from memstore.engine.context import Context

# Flags as COMMAND INFO prints them, and two of our own at the end.
WRITE: Final = 1 << 0
READONLY: Final = 1 << 1
DENYOOM: Final = 1 << 2
ADMIN: Final = 1 << 3
PUBSUB: Final = 1 << 4
NOSCRIPT: Final = 1 << 5
BLOCKING: Final = 1 << 6
LOADING: Final = 1 << 7
STALE: Final = 1 << 8
SKIP_MONITOR: Final = 1 << 9
SKIP_SLOWLOG: Final = 1 << 10
ASKING: Final = 1 << 11
FAST: Final = 1 << 12
NO_AUTH: Final = 1 << 13
MAY_REPLICATE: Final = 1 << 14
NO_ASYNC_LOADING: Final = 1 << 15
NO_MULTI: Final = 1 << 16
MOVABLEKEYS: Final = 1 << 17
ALLOW_BUSY: Final = 1 << 18
NO_MANDATORY_KEYS: Final = 1 << 19
EVERYWHERE: Final = 1 << 20  # reads the whole database: waits for every uncommitted change of it
# about this connection or this node only (PING, CLIENT, CONFIG): served in any role, reads no key
LOCAL: Final = 1 << 21
FLAG_NAMES: Final = {
    WRITE: "write", READONLY: "readonly", DENYOOM: "denyoom", ADMIN: "admin", PUBSUB: "pubsub",
    NOSCRIPT: "noscript", BLOCKING: "blocking", LOADING: "loading", STALE: "stale",
    SKIP_MONITOR: "skip_monitor", SKIP_SLOWLOG: "skip_slowlog", ASKING: "asking", FAST: "fast",
    NO_AUTH: "no_auth", MAY_REPLICATE: "may_replicate", NO_ASYNC_LOADING: "no_async_loading",
    NO_MULTI: "no_multi", MOVABLEKEYS: "movablekeys", ALLOW_BUSY: "allow_busy",
    NO_MANDATORY_KEYS: "no_mandatory_keys",
}  # fmt: skip

Handler = Callable[["Context", list[bytes]], bytes | None]
KeyFinder = Callable[[list[bytes]], list[bytes]]

# (first, last, step) of the keys in argv; last -1: to the end; (0, 0, 0): none.
NONE: Final = (0, 0, 0)
FIRST: Final = (1, 1, 1)
FIRST_TWO: Final = (1, 2, 1)
ALL: Final = (1, -1, 1)
PAIRS: Final = (1, -1, 2)


class Row:
    __slots__ = (
        "arity", "calls", "complexity", "container", "failed", "find_keys", "first",
        "flags", "group", "handler", "histogram", "last", "name", "rejected", "since",
        "step", "subcommands", "summary", "usec",
    )  # fmt: skip

    def __init__(
        self,
        name: bytes,
        handler: Handler,
        arity: int,
        flags: int,
        keys: tuple[int, int, int],
        find_keys: KeyFinder | None,
        meta: tuple[str, str, str, str],
    ) -> None:
        self.name = name  # b"GET" or b"CLIENT|ID"
        self.handler = handler
        # as in Redis: n exact, -n at least n; counts the name (and the subcommand's)
        self.arity = arity
        self.flags = flags
        self.first, self.last, self.step = keys
        self.find_keys = find_keys
        self.since, self.group, self.summary, self.complexity = meta
        self.subcommands: dict[bytes, Row] = {}
        self.container = False
        self.calls = self.usec = self.rejected = self.failed = 0
        # calls by time, the list that `latency` keeps; empty: none yet, or not wanted
        self.histogram: list[int] = []

    def fits(self, argc: int) -> bool:
        return argc == self.arity if self.arity >= 0 else argc >= -self.arity

    def keys(self, argv: list[bytes]) -> list[bytes]:
        """Return the keys named in ``argv``, whose arity must fit."""
        if self.find_keys is not None:
            return self.find_keys(argv)
        if self.first == 0:
            return []
        last = self.last if self.last >= 0 else len(argv) + self.last
        return argv[self.first : last + 1 : self.step]

    def copy(self) -> Row:
        """Return a row with counters of its own, for one engine."""
        meta = (self.since, self.group, self.summary, self.complexity)
        row = Row(
            self.name,
            self.handler,
            self.arity,
            self.flags,
            (self.first, self.last, self.step),
            self.find_keys,
            meta,
        )
        row.container = self.container
        row.subcommands = {name: sub.copy() for name, sub in self.subcommands.items()}
        return row


_REGISTRY: Final[dict[bytes, Row]] = {}


def command(
    name: bytes,
    arity: int,
    flags: int,
    keys: tuple[int, int, int] = NONE,
    find_keys: KeyFinder | None = None,
    since: str = "1.0.0",
    group: str = "generic",
    summary: str = "",
    complexity: str = "O(1)",
) -> Callable[[Any], Any]:
    """Register the decorated function as the handler of ``name``.
    Raises ValueError if the name is already registered.
    """

    def register(handler: Handler) -> Handler:
        row = Row(name, handler, arity, flags, keys, find_keys, (since, group, summary, complexity))
        parent, _, sub = name.partition(b"|")
        if sub:
            home = _REGISTRY.get(parent)
            if home is None:
                home = _REGISTRY[parent] = Row(
                    parent,
                    _no_handler,
                    -2,
                    0,
                    NONE,
                    None,
                    (since, group, "A container of subcommands", "Depends on subcommand."),
                )
            home.container = True
            taken, place = home.subcommands, sub
        else:
            taken, place = _REGISTRY, name
        if place in taken and not (taken is _REGISTRY and taken[place].container):
            raise ValueError(f"command {name!r} registered twice")
        taken[place] = row
        return handler

    return register


def _no_handler(ctx: Context, argv: list[bytes]) -> bytes:
    raise AssertionError("a container is dispatched by its subcommand")


def build_table() -> dict[bytes, Row]:
    """Return a new table, upper-case names, for one engine.
    Callers take it from `memstore.commands`, which has registered every row.
    """
    return {name: row.copy() for name, row in _REGISTRY.items()}
