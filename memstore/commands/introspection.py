"""COMMAND: the command table as clients read it. Every reply here is made from the rows.

Decides: how a row is shown (flags, key specifications, ACL categories), which keys a command line
names.
Must not know: what any one command does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.command import (
    ADMIN,
    BLOCKING,
    FAST,
    FLAG_NAMES,
    LOADING,
    LOCAL,
    MOVABLEKEYS,
    PUBSUB,
    READONLY,
    STALE,
    WRITE,
    Row,
    command,
)
from memstore.engine.context import Context
from memstore.engine.glob import compiled

_FLAGS: Final = LOADING | STALE | LOCAL
_META: Final = "server"

# ACL categories. Most follow from a row's flags and group; the others are listed here.
_ORDER: Final = [
    b"keyspace", b"read", b"write", b"set", b"sortedset", b"list", b"hash", b"string", b"bitmap",
    b"hyperloglog", b"geo", b"stream", b"pubsub", b"admin", b"fast", b"slow", b"blocking",
    b"dangerous", b"connection", b"transaction", b"scripting",
]  # fmt: skip
_BY_GROUP: Final = {
    "generic": b"keyspace", "string": b"string", "list": b"list", "hash": b"hash", "set": b"set",
    "sorted-set": b"sortedset", "stream": b"stream", "bitmap": b"bitmap",
    "hyperloglog": b"hyperloglog", "geo": b"geo", "connection": b"connection",
    "transactions": b"transaction", "scripting": b"scripting", "pubsub": b"pubsub",
}  # fmt: skip
_BY_FLAG: Final = [
    (WRITE, (b"write",)), (READONLY, (b"read",)), (ADMIN, (b"admin", b"dangerous")),
    (PUBSUB, (b"pubsub",)), (FAST, (b"fast",)), (BLOCKING, (b"blocking",)),
]  # fmt: skip
_EXTRA: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"KEYS": (b"dangerous",), b"SORT": (b"dangerous",), b"SORT_RO": (b"dangerous",),
    b"FLUSHALL": (b"keyspace", b"dangerous"), b"FLUSHDB": (b"keyspace", b"dangerous"),
    b"SWAPDB": (b"keyspace", b"dangerous"), b"DBSIZE": (b"keyspace",), b"INFO": (b"dangerous",),
    b"ROLE": (b"admin", b"dangerous"), b"LASTSAVE": (b"admin", b"dangerous"),
    b"MIGRATE": (b"dangerous",), b"RESTORE": (b"dangerous",), b"READONLY": (b"connection",),
    b"READWRITE": (b"connection",), b"ASKING": (b"connection",),
}  # fmt: skip
_SORTED: Final = (b"set", b"sortedset", b"list")
_NOT_BY_GROUP: Final = {
    b"WAIT": (b"connection",),
    b"WAITAOF": (b"connection",),
    b"SORT": _SORTED,
    b"SORT_RO": _SORTED,
}


def categories(row: Row) -> list[bytes]:
    """Return the ACL categories of a row, in the order of the reply."""
    found: set[bytes] = set()
    if row.container and not row.flags:
        return [b"slow"]
    top = row.name.partition(b"|")[0]
    if row.name in _NOT_BY_GROUP:
        found.update(_NOT_BY_GROUP[row.name])
    elif row.group in _BY_GROUP:
        found.add(_BY_GROUP[row.group])
    for flag, names in _BY_FLAG:
        if row.flags & flag and not (flag == READONLY and row.group == "scripting"):
            found.update(names)
    found.update(_EXTRA.get(row.name, ()))
    if top == b"COMMAND":
        found.add(b"connection")
    if b"fast" not in found:
        found.add(b"slow")
    return [name for name in _ORDER if name in found]


def _every(table: dict[bytes, Row]) -> Iterator[Row]:
    """Yield all rows, subcommands after their container."""
    for row in table.values():
        yield row
        yield from row.subcommands.values()


def _named(ctx: Context, name: bytes) -> Row | None:
    """Find a row by ``get`` or ``config|get``."""
    parent, _, sub = name.upper().partition(b"|")
    row: Row | None = ctx.engine.table.get(parent)
    return row.subcommands.get(sub) if row is not None and sub else row


# --------------------------------------------------------------------------- COMMAND INFO


def _statuses(ctx: Context, words: list[bytes]) -> bytes:
    return ctx.set([reply.simple(word) for word in words])


def _flag_words(row: Row) -> list[bytes]:
    flags = row.flags | (MOVABLEKEYS if row.find_keys is not None else 0)
    return [name.encode() for bit, name in FLAG_NAMES.items() if flags & bit]


def _key_specs(ctx: Context, row: Row) -> bytes:
    """Return what Redis calls key specifications.
    Rows whose keys have no fixed place have none: COMMAND GETKEYS answers for them.
    """
    if row.first == 0 or row.find_keys is not None:
        return ctx.set([])
    access = [b"RO", b"access"] if row.flags & READONLY else [b"RW", b"access", b"update"]
    bulk, integer = reply.bulk, reply.integer
    last = row.last if row.last < 0 else row.last - row.first
    start = ctx.map(
        [
            bulk(b"type"),
            bulk(b"index"),
            bulk(b"spec"),
            ctx.map([bulk(b"index"), integer(row.first)]),
        ]
    )
    extent = ctx.map(
        [
            bulk(b"lastkey"),
            integer(last),
            bulk(b"keystep"),
            integer(row.step),
            bulk(b"limit"),
            integer(0),
        ]
    )
    find = ctx.map([bulk(b"type"), bulk(b"range"), bulk(b"spec"), extent])
    return ctx.set(
        [
            ctx.map(
                [
                    bulk(b"flags"),
                    _statuses(ctx, access),
                    bulk(b"begin_search"),
                    start,
                    bulk(b"find_keys"),
                    find,
                ]
            )
        ]
    )


def told(ctx: Context, row: Row) -> bytes:
    """Return a row as COMMAND INFO shows it."""
    return reply.array(
        [
            reply.bulk(row.name.lower()),
            reply.integer(row.arity),
            _statuses(ctx, _flag_words(row)),
            *(reply.integer(n) for n in (row.first, row.last, row.step)),
            _statuses(ctx, [b"@" + name for name in categories(row)]),
            ctx.set([]),
            _key_specs(ctx, row),
            (reply.array if row.subcommands else ctx.set)(
                [told(ctx, sub) for sub in row.subcommands.values()]
            ),
        ]
    )


@command(
    b"COMMAND",
    arity=-1,
    flags=_FLAGS,
    since="2.8.13",
    group=_META,
    summary="The whole command table",
    complexity="O(N), N commands",
)
def command_all(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.array([told(ctx, row) for row in ctx.engine.table.values()])


@command(
    b"COMMAND|COUNT",
    arity=2,
    flags=_FLAGS,
    since="2.8.13",
    group=_META,
    summary="How many commands there are",
)
def command_count(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(len(ctx.engine.table))


@command(
    b"COMMAND|INFO",
    arity=-2,
    flags=_FLAGS,
    since="2.8.13",
    group=_META,
    summary="Rows of the command table",
    complexity="O(N), N names",
)
def command_info(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) == 2:
        return reply.array([told(ctx, row) for row in ctx.engine.table.values()])
    rows = [_named(ctx, name) for name in argv[2:]]
    return reply.array([told(ctx, row) if row is not None else ctx.nil for row in rows])


# --------------------------------------------------------------------------- COMMAND DOCS


def _documented(ctx: Context, row: Row) -> list[bytes]:
    """Return name and documentation, as two parts of a map."""
    facts = [
        (b"summary", row.summary),
        (b"since", row.since),
        (b"group", row.group),
        (b"complexity", row.complexity),
    ]
    parts = [reply.bulk(part) for name, text in facts if text for part in (name, text.encode())]
    if row.subcommands:
        parts += [
            reply.bulk(b"subcommands"),
            ctx.map([part for sub in row.subcommands.values() for part in _documented(ctx, sub)]),
        ]
    return [reply.bulk(row.name.lower()), ctx.map(parts)]


@command(
    b"COMMAND|DOCS",
    arity=-2,
    flags=_FLAGS,
    since="7.0.0",
    group=_META,
    summary="What commands do",
    complexity="O(N), N commands",
)
def command_docs(ctx: Context, argv: list[bytes]) -> bytes:
    rows = (
        list(ctx.engine.table.values())
        if len(argv) == 2
        else [row for name in argv[2:] if (row := _named(ctx, name)) is not None]
    )
    return ctx.map([part for row in rows for part in _documented(ctx, row)])


# --------------------------------------------------------------------------- COMMAND GETKEYS


def _keys(ctx: Context, line: list[bytes]) -> tuple[Row, list[bytes]]:
    """Return the row of a command line, and the keys it names. Raises CommandError."""
    row = ctx.engine.table.get(line[0].upper())
    if row is not None and row.container and row.subcommands and len(line) > 1:
        row = row.subcommands.get(line[1].upper(), None if not row.flags else row)
    if row is None:
        raise reply.CommandError("ERR Invalid command specified")
    if row.first == 0 and row.find_keys is None:
        raise reply.CommandError("ERR The command has no key arguments")
    if not row.fits(len(line)):
        raise reply.CommandError("ERR Invalid number of arguments specified for command")
    keys = row.keys(line)
    if row.find_keys is not None and not keys:
        raise reply.CommandError("ERR Invalid arguments specified for command")
    return row, keys


@command(
    b"COMMAND|GETKEYS",
    arity=-4,
    flags=_FLAGS,
    since="2.8.13",
    group=_META,
    summary="The keys a command line names",
    complexity="O(N), N arguments",
)
def command_getkeys(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.bulk_array(_keys(ctx, argv[2:])[1])


@command(
    b"COMMAND|GETKEYSANDFLAGS",
    arity=-4,
    flags=_FLAGS,
    since="7.0.0",
    group=_META,
    summary="The keys a command line names, and what is done to each",
)
def command_getkeysandflags(ctx: Context, argv: list[bytes]) -> bytes:
    row, keys = _keys(ctx, argv[2:])
    access = [b"RO", b"access"] if row.flags & READONLY else [b"RW", b"access", b"update"]
    return reply.array([reply.array([reply.bulk(key), _statuses(ctx, access)]) for key in keys])


# --------------------------------------------------------------------------- COMMAND LIST


@command(
    b"COMMAND|LIST",
    arity=-2,
    flags=_FLAGS,
    since="7.0.0",
    group=_META,
    summary="Names of commands",
    complexity="O(N), N commands",
)
def command_list(ctx: Context, argv: list[bytes]) -> bytes:
    rows = list(_every(ctx.engine.table))
    if len(argv) == 5 and argv[2].upper() == b"FILTERBY":
        by, what = argv[3].upper(), argv[4]
        if by == b"MODULE":
            rows = []
        elif by == b"ACLCAT":
            rows = [row for row in rows if what.lower() in categories(row)]
        elif by == b"PATTERN":
            matches = compiled(what, nocase=True)
            rows = [row for row in rows if matches(row.name)]
        else:
            raise reply.CommandError(reply.SYNTAX)
    elif len(argv) != 2:
        raise reply.CommandError(reply.SYNTAX)
    return reply.bulk_array([row.name.lower() for row in rows])


@command(
    b"COMMAND|HELP",
    arity=2,
    flags=_FLAGS,
    since="5.0.0",
    group=_META,
    summary="Show COMMAND's subcommands",
)
def command_help(ctx: Context, argv: list[bytes]) -> bytes:
    lines = [
        ("(no subcommand)", "The whole command table."),
        ("COUNT", "How many commands there are."),
        ("DOCS [<name> ...]", "What commands do."),
        ("GETKEYS <command line>", "The keys that a command line names."),
        ("GETKEYSANDFLAGS <command line>", "The same, with what is done to each key."),
        ("INFO [<name> ...]", "Rows of the command table."),
        ("LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <glob>)]", "Names of commands."),
    ]
    return help_reply("COMMAND", lines)
