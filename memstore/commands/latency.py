"""LATENCY: slow events, and histograms of every command's time.

Decides: how the records are shown.
Must not know: how time was measured; `memstore.engine.latency` keeps the records.
"""

from __future__ import annotations

from typing import Final

from memstore.commands.help import help_reply
from memstore.engine import reply
from memstore.engine.command import ADMIN, LOADING, LOCAL, NOSCRIPT, STALE, Row, command
from memstore.engine.context import Context
from memstore.engine.latency import Event, cumulative

_FLAGS: Final = ADMIN | NOSCRIPT | LOADING | STALE | LOCAL
_GRAPH_ROWS: Final = 8


@command(
    b"LATENCY|LATEST",
    arity=2,
    flags=_FLAGS,
    since="2.8.13",
    group="server",
    summary="Each event's newest spike and worst ever",
)
def latency_latest(ctx: Context, argv: list[bytes]) -> bytes:
    integer = reply.integer
    return reply.array(
        [
            reply.array(
                [
                    reply.bulk(name),
                    integer(event.samples[-1][0]),
                    integer(event.samples[-1][1]),
                    integer(event.max_ms),
                ]
            )
            for name, event in ctx.engine.latency.events.items()
        ]
    )


@command(
    b"LATENCY|HISTORY",
    arity=3,
    flags=_FLAGS,
    since="2.8.13",
    group="server",
    summary="An event's spikes",
)
def latency_history(ctx: Context, argv: list[bytes]) -> bytes:
    event = ctx.engine.latency.events.get(argv[2])
    samples = list(event.samples) if event is not None else []
    return reply.array(
        [reply.array([reply.integer(second), reply.integer(ms)]) for second, ms in samples]
    )


@command(
    b"LATENCY|RESET",
    arity=-2,
    flags=_FLAGS,
    since="2.8.13",
    group="server",
    summary="Forget events",
)
def latency_reset(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.integer(ctx.engine.latency.reset_events(argv[2:]))


@command(
    b"LATENCY|GRAPH",
    arity=3,
    flags=_FLAGS,
    since="2.8.13",
    group="server",
    summary="An event's spikes as a picture",
)
def latency_graph(ctx: Context, argv: list[bytes]) -> bytes:
    event = ctx.engine.latency.events.get(argv[2])
    if event is None:
        raise reply.CommandError(f"ERR No samples available for event '{reply.text(argv[2])}'")
    return ctx.verbatim(
        _graph(reply.text(argv[2]), event, ctx.wall_ms // 1000).encode("utf-8", "surrogateescape")
    )


def _graph(name: str, event: Event, now_s: int) -> str:
    values = [ms for _, ms in event.samples]
    high, low = max(values), min(values)
    lines = [f"{name} - high {high} ms, low {low} ms (all time high {event.max_ms} ms)", "-" * 80]
    heights = [round(_GRAPH_ROWS * (ms - low) / (high - low)) if high > low else 1 for ms in values]
    for level in range(max(heights), 0, -1):
        lines.append("".join("#" if height >= level else " " for height in heights).rstrip())
    oldest, newest = (max(0, now_s - event.samples[i][0]) for i in (0, -1))
    lines.append(f"{len(values)} spikes, from {oldest} s to {newest} s ago")
    return "\n".join(lines) + "\n"


@command(
    b"LATENCY|DOCTOR",
    arity=2,
    flags=_FLAGS,
    since="2.8.13",
    group="server",
    summary="What the spikes say",
)
def latency_doctor(ctx: Context, argv: list[bytes]) -> bytes:
    settings, events = ctx.engine.settings, ctx.engine.latency.events
    if not settings.latency_monitor_threshold_ms:
        return ctx.verbatim(
            b"Spikes are not watched. CONFIG SET latency-monitor-threshold <milliseconds> begins "
            b"it.\n"
        )
    if not events:
        return ctx.verbatim(b"No spike has been seen.\n")
    lines = []
    for name, event in events.items():
        values = [ms for _, ms in event.samples]
        lines.append(
            f"{reply.text(name)}: {len(values)} spikes, {sum(values) // len(values)} ms on "
            f"average, worst ever {event.max_ms} ms."
        )
    if b"command" in events or b"fast-command" in events:
        lines.append("SLOWLOG GET shows which commands took long.")
    lines.append(
        f"The longest turn of the event loop took {ctx.engine.facts.longest_turn_us // 1000} ms."
    )
    return ctx.verbatim("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")


@command(
    b"LATENCY|HISTOGRAM",
    arity=-2,
    flags=_FLAGS,
    since="7.0.0",
    group="server",
    summary="How long commands took",
    complexity="O(N), N commands",
)
def latency_histogram(ctx: Context, argv: list[bytes]) -> bytes:
    histograms = ctx.engine.latency.histograms
    names = (
        [name for asked in argv[2:] for name in _histogram_names(ctx, asked.upper())]
        if len(argv) > 2
        else list(histograms)
    )
    parts = []
    for name in dict.fromkeys(names):
        steps = cumulative(histograms[name])
        if steps:
            buckets = ctx.map([reply.integer(number) for step in steps for number in step])
            body = [
                reply.bulk(b"calls"),
                reply.integer(steps[-1][1]),
                reply.bulk(b"histogram_usec"),
                buckets,
            ]
            parts += [reply.bulk(name.lower()), ctx.map(body)]
    return ctx.map(parts)


def _histogram_names(ctx: Context, asked: bytes) -> list[bytes]:
    """A container's name stands for its subcommands."""
    row: Row | None = ctx.engine.table.get(asked)
    names = [asked] if row is None else [row.name, *(sub.name for sub in row.subcommands.values())]
    return [name for name in names if name in ctx.engine.latency.histograms]


@command(
    b"LATENCY|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="2.8.13",
    group="server",
    summary="Show LATENCY's subcommands",
)
def latency_help(ctx: Context, argv: list[bytes]) -> bytes:
    lines = [
        ("DOCTOR", "What the spikes say."),
        ("GRAPH <event>", "An event's spikes as a picture."),
        ("HISTOGRAM [<command> ...]", "How long commands took, cumulative, in microseconds."),
        ("HISTORY <event>", "An event's spikes."),
        ("LATEST", "Each event's newest spike and worst ever."),
        ("RESET [<event> ...]", "Forget events."),
    ]
    return help_reply("LATENCY", lines)
