"""CONFIG: reading and changing the settings of this node.

CONFIG SET changes one node: other nodes and the next start do not see it.

Decides: how several settings change together (all or none).
Must not know: what a setting means. The table of `memstore.engine.settings` has the names of the
settings and the values they take.
"""

from __future__ import annotations

from typing import Any, Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.command import ADMIN, LOADING, LOCAL, NOSCRIPT, STALE, Row, command
from memstore.engine.context import Context
from memstore.engine.glob import compiled, is_literal
from memstore.engine.settings import Setting, SettingError, all_names, find, parse, shown

_FLAGS: Final = ADMIN | NOSCRIPT | LOADING | STALE | LOCAL


@command(
    b"CONFIG|GET",
    arity=-3,
    flags=_FLAGS,
    since="2.0.0",
    group="server",
    summary="Settings of this node by glob patterns",
    complexity="O(N), N patterns",
)
def config_get(ctx: Context, argv: list[bytes]) -> bytes:
    found: dict[str, Setting] = {}
    for pattern in argv[2:]:
        if is_literal(pattern):
            name = reply.text(pattern)
            row = find(name)
            if row is not None and name.lower() not in (other.lower() for other in found):
                found[name] = row
            continue
        matches = compiled(pattern, nocase=True)
        for name in all_names():
            row = find(name)
            if row is not None and matches(name.encode()):
                found[name] = row
    settings = ctx.engine.settings
    parts = [
        reply.bulk(text.encode("utf-8", "surrogateescape"))
        for name, row in found.items()
        for text in (name, shown(row, settings))
    ]
    return ctx.map(parts)


def _refused(name: bytes, reason: str) -> reply.CommandError:
    return reply.CommandError(
        f"ERR CONFIG SET failed (possibly related to argument '{reply.text(name)}') - {reason}"
    )


@command(
    b"CONFIG|SET",
    arity=-4,
    flags=_FLAGS,
    since="2.0.0",
    group="server",
    summary="Change settings of this node until it ends",
    complexity="O(N), N settings",
)
def config_set(ctx: Context, argv: list[bytes]) -> bytes:
    if len(argv) % 2:
        raise reply.CommandError(reply.SYNTAX)
    pairs = list(zip(argv[2::2], argv[3::2], strict=True))
    rows: dict[str, Setting] = {}
    for name, _ in pairs:
        row = find(reply.text(name))
        if row is None:
            raise reply.CommandError(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{reply.text(name)}'"
            )
        if not row.runtime:
            raise _refused(name, "can't set immutable config")
        if row.name in rows:
            raise _refused(name, "duplicate parameter")
        rows[row.name] = row
    values: list[tuple[str, Any]] = []
    for (name, value), row in zip(pairs, rows.values(), strict=True):
        try:
            present = getattr(ctx.engine.settings, row.attribute)
            values.append((row.attribute, parse(row, reply.text(value), present)))
        except SettingError as error:
            raise _refused(name, str(error)) from None
        most = ctx.engine.settings.most_clients
        if row.name == "maxclients" and values[-1][1] > most:
            raise _refused(
                name,
                "The operating system is not able to handle the specified number of clients, try "
                f"with {most}",
            )
    # Nothing can fail from here: all of them change.
    for attribute, new in values:
        setattr(ctx.engine.settings, attribute, new)
    return reply.OK


@command(
    b"CONFIG|RESETSTAT",
    arity=2,
    flags=_FLAGS,
    since="2.0.0",
    group="server",
    summary="Set this node's statistics to zero",
)
def config_resetstat(ctx: Context, argv: list[bytes]) -> bytes:
    engine = ctx.engine
    engine.facts.reset_stats()
    engine.error_counts.clear()
    engine.expired_keys = 0
    engine.latency.histograms.clear()
    for row in engine.table.values():
        _reset(row)
        for sub in row.subcommands.values():
            _reset(sub)
    return reply.OK


def _reset(row: Row) -> None:
    row.histogram = []
    row.calls = row.usec = row.rejected = row.failed = 0


@command(
    b"CONFIG|REWRITE",
    arity=2,
    flags=_FLAGS,
    since="2.8.0",
    group="server",
    summary="Not here: the settings file is written by people",
)
def config_rewrite(ctx: Context, argv: list[bytes]) -> bytes:
    if not ctx.engine.settings.config_file:
        raise reply.CommandError("ERR The server is running without a config file")
    raise reply.CommandError("ERR memstore does not write its settings file; edit it by hand")


@command(
    b"CONFIG|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="5.0.0",
    group="server",
    summary="Show CONFIG's subcommands",
)
def config_help(ctx: Context, argv: list[bytes]) -> bytes:
    lines = [
        ("GET <pattern> [<pattern> ...]", "Settings of this node whose names match."),
        (
            "SET <name> <value> [<name> <value> ...]",
            "Change settings of this node until it ends; all or none.",
        ),
        ("RESETSTAT", "Set the statistics in INFO to zero."),
        ("REWRITE", "Refused: the settings file is written by people."),
    ]
    return help_reply("CONFIG", lines)
