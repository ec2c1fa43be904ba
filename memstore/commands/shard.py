"""Commands about the shard: read modes, the progress of other nodes, the choice of the primary.

Decides: MEMSTORE and its subcommands, WAIT and WAITAOF, FAILOVER, and that REPLICAOF has no meaning
here. The two commands of the replicas' links (REPLICA, ACK) are here too.
Must not know: how a handover is done (the command only asks the node), how positions are committed.

A position is the token of a state. ``MEMSTORE POSITION`` returns the position of everything that
this connection has seen or written; any node accepts it in ``MEMSTORE WAITFOR``. A token covers
only committed entries.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

from memstore.commands.cluster import my_id
from memstore.commands.parse import integer
from memstore.engine import reply
from memstore.engine.command import (
    ADMIN,
    BLOCKING,
    LOADING,
    LOCAL,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    command,
)
from memstore.engine.context import Context
from memstore.engine.facts import Facts
from memstore.engine.reply import CommandError, bulk
from memstore.engine.requests import Handover, ReplicaReport, Request, WaitForReplicas
from memstore.engine.session import EVENTUAL, SESSION, STRONG, Session
from memstore.version import VERSION

_LEVELS: Final = {b"STRONG": STRONG, b"SESSION": SESSION, b"EVENTUAL": EVENTUAL}
_INCARNATION_BYTES: Final = 16
_SHARD: Final = LOADING | STALE | LOCAL


def _block(ctx: Context, request: Request) -> None:
    """Block the session; the node sends the reply later."""
    ctx.session.is_blocked = True
    ctx.session.update_fast_path()
    ctx.engine.requests.append(request)


def _seen(facts: Facts, session: Session) -> int:
    """Return the newest position this connection may have seen.
    It covers the connection's own writes. At a primary it also covers everything committed, at a
    replica everything applied.
    """
    return max(session.seen, facts.committed if facts.role == "primary" else facts.applied)


# --------------------------------------------------------------------------- reads


@command(
    b"MEMSTORE|READS",
    arity=-2,
    flags=_SHARD,
    since="7.0.0",
    group="shard",
    summary="Gets or sets how fresh this connection's reads at replicas are.",
)
def memstore_reads(ctx: Context, argv: list[bytes]) -> bytes:
    """MEMSTORE READS [STRONG|SESSION|EVENTUAL]"""
    if len(argv) == 2:
        return bulk(
            next(name for name, level in _LEVELS.items() if level == ctx.session.reads).lower()
        )
    level = _LEVELS.get(argv[2].upper())
    if level is None or len(argv) > 3:
        raise CommandError(reply.SYNTAX)
    if level == SESSION:
        ctx.session.seen = _seen(ctx.engine.facts, ctx.session)
    ctx.session.reads = level
    return reply.OK


@command(
    b"MEMSTORE|POSITION", arity=2, flags=_SHARD | BLOCKING | NOSCRIPT | NO_MULTI, since="7.0.0",
    group="shard", summary="Returns the position of all this connection saw or wrote.",
)  # fmt: skip
def memstore_position(ctx: Context, argv: list[bytes]) -> bytes | None:
    """Answer with the position of what this connection has seen.
    The position of an entry can still move up until its commit, so a primary answers after the
    commit.
    """
    facts, session = ctx.engine.facts, ctx.session
    request = WaitForReplicas(session, session.seen, 0, 0, "position")
    if facts.role != "primary" or is_reached(facts, request):
        return reply.integer(_seen(facts, session))
    _block(ctx, request)
    return None


@command(
    b"MEMSTORE|WAITFOR", arity=-3, flags=_SHARD | BLOCKING | NOSCRIPT | NO_MULTI, since="7.0.0",
    group="shard",
    summary="Waits until this node has applied a position; session reads never go back behind it.",
)  # fmt: skip
def memstore_waitfor(ctx: Context, argv: list[bytes]) -> bytes | None:
    """MEMSTORE WAITFOR position [timeout-ms]"""
    position = integer(argv[2])
    timeout_ms = integer(argv[3]) if len(argv) > 3 else 0
    if position < 0 or timeout_ms < 0 or len(argv) > 4:
        raise CommandError(reply.SYNTAX)
    facts, session = ctx.engine.facts, ctx.session
    # A primary's own reads are never stale, and its sessions have seen no more than it has.
    if facts.role != "primary":
        session.seen = max(session.seen, position)
    if (facts.committed if facts.role == "primary" else facts.applied) >= position:
        return reply.OK
    _block(ctx, WaitForReplicas(session, position, 0, timeout_ms, "waitfor"))
    return None


@command(
    b"WAIT",
    arity=3,
    flags=NOSCRIPT | BLOCKING | LOCAL,
    since="3.0.0",
    group="generic",
    summary="Blocks until this connection's writes are applied by replicas.",
)
def wait(ctx: Context, argv: list[bytes]) -> bytes | None:
    replicas, timeout_ms = integer(argv[1]), _timeout(argv[2])
    return _wait(ctx, WaitForReplicas(ctx.session, ctx.session.seen, replicas, timeout_ms, "wait"))


@command(
    b"WAITAOF",
    arity=4,
    flags=NOSCRIPT | BLOCKING | LOCAL,
    since="7.2.0",
    group="generic",
    summary="Blocks until this connection's writes are committed (numlocal) and applied by "
    "replicas.",
)
def waitaof(ctx: Context, argv: list[bytes]) -> bytes | None:
    local, replicas, timeout_ms = integer(argv[1]), integer(argv[2]), _timeout(argv[3])
    if local not in (0, 1):
        raise CommandError("ERR value is out of range, must be between 0 and 1")
    if replicas < 0:
        raise CommandError("ERR value is out of range, must be positive")
    return _wait(
        ctx, WaitForReplicas(ctx.session, ctx.session.seen, replicas, timeout_ms, "waitaof", local)
    )


def _timeout(arg: bytes) -> int:
    timeout_ms = integer(arg, "ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    return timeout_ms


def _wait(ctx: Context, request: WaitForReplicas) -> bytes | None:
    facts = ctx.engine.facts
    if facts.role != "primary":
        raise CommandError(f"ERR {request.form.upper()} cannot be used with replica instances")
    if is_reached(facts, request) or ctx.session.multi is not None:
        return wait_reply(facts, request)
    _block(ctx, request)
    return None


def replicas_at(facts: Facts, position: int) -> int:
    return sum(1 for replica in facts.replicas if replica.applied >= position)


def is_reached(facts: Facts, request: WaitForReplicas) -> bool:
    """Return True if the condition of ``request`` holds."""
    if request.form == "waitfor":
        return (facts.committed if facts.role == "primary" else facts.applied) >= request.position
    position = request.session.seen  # read each time: an uncommitted entry can move up
    if request.form == "position":
        return facts.committed >= position
    return replicas_at(facts, position) >= request.replicas and (
        not request.local or facts.committed >= position
    )


def wait_reply(facts: Facts, request: WaitForReplicas) -> bytes:
    """Return the answer for the present state, whether the condition holds or not."""
    written = request.session.seen
    count = reply.integer(replicas_at(facts, written))
    if request.form == "wait":
        return count
    if request.form == "position":
        return reply.integer(_seen(facts, request.session))
    if request.form == "waitaof":
        return reply.array([reply.ONE if facts.committed >= written else reply.ZERO, count])
    return (
        reply.OK
        if is_reached(facts, request)
        else reply.error(f"TRYAGAIN position {request.position} was not reached in time")
    )


# --------------------------------------------------------------------------- the primary


def not_primary(facts: Facts) -> CommandError:
    """Return the error for a request that only the primary can carry out.
    It names the primary if this node knows it.
    """
    primary = (facts.primary_host, facts.primary_port)
    known = ""
    if facts.primary_port and primary != (facts.host, facts.port):
        known = f"; the primary is {facts.primary_host}:{facts.primary_port}"
    return CommandError(f"ERR this node is not the primary{known}")


@command(
    b"MEMSTORE|HANDOVER",
    arity=-2,
    flags=_SHARD | ADMIN | NOSCRIPT | NO_MULTI,
    since="7.0.0",
    group="shard",
    summary="Makes another node the primary.",
)
def memstore_handover(ctx: Context, argv: list[bytes]) -> None:
    """MEMSTORE HANDOVER [node-id | host:port]"""
    if len(argv) > 3:
        raise CommandError(reply.SYNTAX)
    if ctx.engine.facts.role != "primary":
        raise not_primary(ctx.engine.facts)
    _block(ctx, Handover(ctx.session, reply.text(argv[2]) if len(argv) == 3 else ""))


@command(
    b"FAILOVER",
    arity=-1,
    flags=ADMIN | NOSCRIPT | STALE | LOCAL | NO_MULTI,
    since="6.2.0",
    group="server",
    summary="Starts a hand-over to a replica.",
)
def failover(ctx: Context, argv: list[bytes]) -> bytes:
    """FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]"""
    if ctx.engine.settings.cluster_enabled:
        raise CommandError(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead."
        )
    wanted, at = "", 1
    while at < len(argv):
        option = argv[at].upper()
        if option == b"TO" and at + 2 < len(argv):
            wanted = f"{reply.text(argv[at + 1])}:{integer(argv[at + 2])}"
            at += 3
        elif option == b"TIMEOUT" and at + 1 < len(argv):
            if integer(argv[at + 1]) <= 0:
                raise CommandError("ERR FAILOVER timeout must be greater than 0")
            at += 2
        elif option == b"ABORT" and len(argv) == 2:
            raise CommandError("ERR No failover in progress.")
        elif option == b"FORCE":
            raise CommandError(
                "ERR a node cannot be made primary by force: the log gives the lead to the first "
                "who asks when the lease is over"
            )
        else:
            raise CommandError(reply.SYNTAX)
    facts = ctx.engine.facts
    if facts.role != "primary":
        raise CommandError("ERR FAILOVER is not valid when server is a replica.")
    if not facts.replicas:
        raise CommandError("ERR FAILOVER requires connected replicas.")
    if wanted and not any(f"{replica.host}:{replica.port}" == wanted for replica in facts.replicas):
        raise CommandError("ERR FAILOVER target HOST and PORT is not a replica.")
    ctx.engine.requests.append(Handover(None, wanted))
    return reply.OK


def _refuse_replicaof(ctx: Context, argv: list[bytes]) -> bytes:
    if ctx.engine.settings.cluster_enabled:
        raise CommandError("ERR REPLICAOF not allowed in cluster mode.")
    raise CommandError(
        "ERR roles are not set by hand: every node follows the shard's log. MEMSTORE HANDOVER "
        "makes another node the primary"
    )


for _name, _since in ((b"REPLICAOF", "5.0.0"), (b"SLAVEOF", "1.0.0")):
    command(
        _name,
        arity=3,
        flags=ADMIN | NOSCRIPT | STALE | LOCAL,
        since=_since,
        group="server",
        summary="Not possible: nodes follow the log.",
    )(_refuse_replicaof)


# --------------------------------------------------------------------------- status


@command(
    b"MEMSTORE|STATUS",
    arity=2,
    flags=_SHARD,
    since="7.0.0",
    group="shard",
    summary="Returns what this node knows of itself and its shard, as JSON.",
)
def memstore_status(ctx: Context, argv: list[bytes]) -> bytes:
    facts = ctx.engine.facts
    status = asdict(facts)
    status["node_id"] = my_id(facts)
    status["version"] = VERSION
    status["lag"] = max(0, facts.committed - facts.applied)
    return ctx.verbatim(json.dumps(status, sort_keys=True).encode())


_HELP: Final = (
    "MEMSTORE <subcommand> [<arg> ...]. Subcommands are:", "HANDOVER [<node-id>|<host:port>]",
    "    Make another node the primary (default: the most caught-up replica).", "POSITION",
    "    The log position of all that this connection has seen or written.",
    "READS [STRONG|SESSION|EVENTUAL]", "    How fresh this connection's reads at replicas are.",
    "STATUS", "    What this node knows of itself, its shard and its log, as JSON.",
    "WAITFOR <position> [<timeout-ms>]", "    Wait until this node has applied a position.", "HELP",
    "    This text.",
)  # fmt: skip


@command(
    b"MEMSTORE|HELP",
    arity=2,
    flags=_SHARD,
    since="7.0.0",
    group="shard",
    summary="Returns a text about the subcommands.",
)
def memstore_help(ctx: Context, argv: list[bytes]) -> bytes:
    return reply.array([reply.simple(line.encode()) for line in _HELP])


# --------------------------------------------------------------------------- the replicas' link


@command(
    b"MEMSTORE|REPLICA",
    arity=8,
    flags=_SHARD | ADMIN | BLOCKING | NOSCRIPT | NO_MULTI,
    since="7.0.0",
    group="shard",
    summary="A replica reports itself.",
)
def memstore_replica(ctx: Context, argv: list[bytes]) -> None:
    """MEMSTORE REPLICA node-id az host port incarnation applied

    The answer (`replica_answer`) comes after a while, or as soon as a client waits for replicas.
    """
    try:
        node, az, host = (arg.decode() for arg in argv[2:5])
        incarnation = bytes.fromhex(argv[6].decode())
    except ValueError:
        raise CommandError(reply.SYNTAX) from None
    port, applied = integer(argv[5]), integer(argv[7])
    # other replies contain them, and some of those replies are lines
    shown = f"{node}{az}{host}".isprintable()
    if (
        len(incarnation) != _INCARNATION_BYTES
        or not 0 < port < 65536
        or applied < 0
        or not node
        or not shown
    ):
        raise CommandError(reply.SYNTAX)
    if ctx.engine.facts.role != "primary":
        raise not_primary(ctx.engine.facts)
    _block(ctx, ReplicaReport(ctx.session, node, az, host, port, incarnation, applied))


def replica_answer(facts: Facts, node: str) -> bytes:
    """Return the answer to a replica's report.
    It has the shard's other replicas, and whether a client waits for replicas now.
    """
    others = [asdict(replica) for replica in facts.replicas if replica.node != node]
    return bulk(
        json.dumps(
            {"replicas": others, "waiting": facts.waiting_for_replicas > 0}, separators=(",", ":")
        ).encode()
    )
