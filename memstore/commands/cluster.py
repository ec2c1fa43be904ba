"""The CLUSTER family: one shard that owns every slot, in Redis Cluster's words.

Decides: how a cluster client sees what this node knows of its shard (`Facts`).
Must not know: how it is known, or which node is the real primary: MOVED corrects a client that got
an old state.

Commands cannot move slots or add nodes: nodes find one another in the log.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memstore.commands.parse import integer
from memstore.engine import expiry, reply
from memstore.engine.command import ADMIN, EVERYWHERE, FAST, LOADING, LOCAL, STALE, command
from memstore.engine.context import Context
from memstore.engine.facts import Facts
from memstore.engine.keyspace import SLOTS, slot_of
from memstore.engine.reply import CommandError, bulk
from memstore.engine.requests import AskToLead

DISABLED: Final = "ERR This instance has cluster support disabled"
# cluster clients expect a bus port beside the port; nothing listens on it
BUS_OFFSET: Final = 10_000


class ClusterNode(NamedTuple):
    """A node of the shard as a cluster client sees it."""

    id: str
    host: str
    port: int
    az: str
    leads: bool
    myself: bool
    applied: int
    online: bool
    failing: bool = False  # it was the last primary, and there is no primary now


def _enabled(ctx: Context) -> Facts:
    if not ctx.engine.settings.cluster_enabled:
        raise CommandError(DISABLED)
    return ctx.engine.facts


def my_id(facts: Facts) -> str:
    return facts.node_id or facts.run_id


def shard_nodes(facts: Facts) -> list[ClusterNode]:
    """Return the nodes of the shard: the primary first, then the replicas by id.
    If there is no primary, the last primary is first, as redis-server still names a dead one. Most
    cluster clients fail on a topology without a primary, and wait at CLUSTERDOWN.
    """
    leads = facts.role == "primary"
    me = ClusterNode(
        my_id(facts),
        facts.host,
        facts.port,
        facts.az,
        leads,
        True,
        facts.applied,
        facts.role != "restoring",
    )
    nodes = {me.id: me}
    if not leads and facts.primary_port:
        nodes[facts.primary_id] = ClusterNode(
            facts.primary_id,
            facts.primary_host,
            facts.primary_port,
            facts.primary_az,
            True,
            False,
            facts.committed,
            True,
        )
    elif not leads and facts.last_primary is not None:
        last = facts.last_primary
        nodes[last.node] = ClusterNode(
            last.node,
            last.host,
            last.port,
            last.az,
            True,
            last.node == me.id,
            last.applied,
            False,
            True,
        )
    # A client that knew only a fresh primary would have no other node to ask if that one failed.
    for other in (*facts.replicas, *facts.expected_replicas):
        if other.node not in nodes:
            nodes[other.node] = ClusterNode(
                other.node, other.host, other.port, other.az, False, False, other.applied, True
            )
    return sorted(nodes.values(), key=lambda node: (not node.leads, node.id))


# --------------------------------------------------------------------------- slots and nodes


@command(
    b"CLUSTER|SLOTS",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Returns the mapping of cluster slots to nodes.",
)
def cluster_slots(ctx: Context, argv: list[bytes]) -> bytes:
    nodes = shard_nodes(_enabled(ctx))
    if not nodes[0].leads:
        return reply.EMPTY_ARRAY
    described = [
        reply.array(
            [bulk(n.host.encode()), reply.integer(n.port), bulk(n.id.encode()), reply.EMPTY_ARRAY]
        )
        for n in nodes
        if n.online or n.leads
    ]
    return reply.array([reply.array([reply.integer(0), reply.integer(SLOTS - 1), *described])])


@command(
    b"CLUSTER|SHARDS",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="7.0.0",
    group="cluster",
    summary="Returns the mapping of cluster slots to shards.",
)
def cluster_shards(ctx: Context, argv: list[bytes]) -> bytes:
    described = []
    for node in shard_nodes(_enabled(ctx)):
        host = bulk(node.host.encode())
        fields = {
            b"id": bulk(node.id.encode()), b"port": reply.integer(node.port), b"ip": host,
            b"endpoint": host, b"role": bulk(b"master" if node.leads else b"replica"),
            b"replication-offset": reply.integer(node.applied),
            b"health": bulk(b"fail" if node.failing else b"online" if node.online else b"loading"),
        }  # fmt: skip
        described.append(
            ctx.map([part for name, value in fields.items() for part in (bulk(name), value)])
        )
    slots = reply.array([reply.integer(0), reply.integer(SLOTS - 1)])
    return reply.array([ctx.map([bulk(b"slots"), slots, bulk(b"nodes"), reply.array(described)])])


@command(
    b"CLUSTER|NODES",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Returns the cluster configuration for a node.",
)
def cluster_nodes(ctx: Context, argv: list[bytes]) -> bytes:
    facts = _enabled(ctx)
    text = "".join(line + "\n" for line in _node_lines(facts, shard_nodes(facts)))
    return ctx.verbatim(text.encode())


def _node_lines(facts: Facts, nodes: list[ClusterNode]) -> list[str]:
    primary = nodes[0].id if nodes[0].leads else "-"
    lines = []
    for node in nodes:
        flags = (
            ("myself," if node.myself else "")
            + ("master" if node.leads else "slave")
            + (",fail?" if node.failing and not node.myself else "")
        )
        line = (
            f"{node.id} {node.host}:{node.port}@{node.port + BUS_OFFSET} {flags} "
            f"{'-' if node.leads else primary} 0 0 {facts.term} connected"
        )
        lines.append(line + (f" 0-{SLOTS - 1}" if node.leads else ""))
    return lines


@command(
    b"CLUSTER|REPLICAS",
    arity=3,
    flags=ADMIN | STALE | LOCAL,
    since="5.0.0",
    group="cluster",
    summary="Lists the replica nodes of a primary node.",
)
def cluster_replicas(ctx: Context, argv: list[bytes]) -> bytes:
    facts = _enabled(ctx)
    nodes = shard_nodes(facts)
    wanted = reply.text(argv[2])
    node = _node(nodes, wanted)
    if not node.leads:
        raise CommandError("ERR The specified node is not a master")
    return reply.bulk_array(
        [
            line.encode()
            for line, n in zip(_node_lines(facts, nodes), nodes, strict=True)
            if not n.leads
        ]
    )


@command(
    b"CLUSTER|COUNT-FAILURE-REPORTS", arity=3, flags=ADMIN | STALE | LOCAL, since="3.0.0",
    group="cluster", summary="Returns the number of active failure reports active for a node.",
)  # fmt: skip
def cluster_count_failure_reports(ctx: Context, argv: list[bytes]) -> bytes:
    _node(shard_nodes(_enabled(ctx)), reply.text(argv[2]))
    return reply.ZERO  # nodes do not vote about one another: the log decides


def _node(nodes: list[ClusterNode], wanted: str) -> ClusterNode:
    for node in nodes:
        if node.id == wanted:
            return node
    raise CommandError(f"ERR Unknown node {wanted}")


@command(
    b"CLUSTER|MYID",
    arity=2,
    flags=STALE | LOADING | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Returns the ID of a node.",
)
def cluster_myid(ctx: Context, argv: list[bytes]) -> bytes:
    return bulk(my_id(_enabled(ctx)).encode())


@command(
    b"CLUSTER|INFO",
    arity=2,
    flags=STALE | LOADING | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Returns information about the state of a node.",
)
def cluster_info(ctx: Context, argv: list[bytes]) -> bytes:
    facts = _enabled(ctx)
    nodes = shard_nodes(facts)
    led = nodes[0].leads and not nodes[0].failing
    fields = {
        "cluster_state": "ok" if led else "fail", "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": SLOTS if led else 0, "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0 if led else SLOTS, "cluster_known_nodes": len(nodes),
        "cluster_size": 1, "cluster_current_epoch": facts.term, "cluster_my_epoch": facts.term,
        "cluster_stats_messages_sent": 0, "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }  # fmt: skip
    return ctx.verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode())


@command(
    b"CLUSTER|LINKS",
    arity=2,
    flags=STALE | LOCAL,
    since="7.0.0",
    group="cluster",
    summary="Returns a list of all TCP links to and from peer nodes.",
)
def cluster_links(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    return reply.EMPTY_ARRAY  # there is no cluster bus


# --------------------------------------------------------------------------- keys and slots


@command(
    b"CLUSTER|KEYSLOT",
    arity=3,
    flags=STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Returns the hash slot for a key.",
)
def cluster_keyslot(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    return reply.integer(slot_of(argv[2]))


@command(
    b"CLUSTER|COUNTKEYSINSLOT",
    arity=3,
    flags=STALE | EVERYWHERE,
    since="3.0.0",
    group="cluster",
    summary="Returns the number of keys in a hash slot.",
)
def cluster_countkeysinslot(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    slot = integer(argv[2])
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot")
    return reply.integer(len(_live_keys(ctx, slot)))


@command(
    b"CLUSTER|GETKEYSINSLOT",
    arity=4,
    flags=STALE | EVERYWHERE,
    since="3.0.0",
    group="cluster",
    summary="Returns the key names in a hash slot.",
)
def cluster_getkeysinslot(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    slot, count = integer(argv[2]), integer(argv[3])
    if not 0 <= slot < SLOTS or count < 0:
        raise CommandError("ERR Invalid slot or number of keys")
    return reply.bulk_array(_live_keys(ctx, slot)[:count])


def _live_keys(ctx: Context, slot: int) -> list[bytes]:
    database = ctx.keyspace.database(0)
    return expiry.live(ctx, database, slot, list(database.slots[slot]))


# --------------------------------------------------------------------- what commands cannot change


@command(
    b"CLUSTER|FAILOVER",
    arity=-2,
    flags=ADMIN | STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Asks the primary to hand over to this replica.",
)
def cluster_failover(ctx: Context, argv: list[bytes]) -> bytes:
    facts = _enabled(ctx)
    if len(argv) > 3 or (len(argv) == 3 and argv[2].upper() not in (b"FORCE", b"TAKEOVER")):
        raise CommandError(reply.SYNTAX)
    if facts.role == "primary":
        raise CommandError("ERR You should send CLUSTER FAILOVER to a replica")
    if len(argv) == 3:
        raise CommandError(
            "ERR a node cannot take the lead by force: the log gives it to the first who asks "
            "when the primary's lease is over"
        )
    if not facts.link_up:
        raise CommandError(
            "ERR Primary is down or failed; a replica takes over by itself when the lease is over"
        )
    ctx.engine.requests.append(AskToLead())
    return reply.OK


def _not_here(name: bytes, arity: int, since: str, summary: str) -> None:
    def refuse(ctx: Context, argv: list[bytes]) -> bytes:
        _enabled(ctx)
        raise CommandError(
            f"ERR CLUSTER {reply.text(name)} is not possible: the shard owns every slot, and its "
            "nodes find one another in the log"
        )

    command(
        b"CLUSTER|" + name,
        arity=arity,
        flags=ADMIN | STALE | LOCAL,
        since=since,
        group="cluster",
        summary=summary,
    )(refuse)


for _name, _arity, _since, _summary in (
    (b"ADDSLOTS", -3, "3.0.0", "Assigns hash slots to a node."),
    (b"ADDSLOTSRANGE", -4, "7.0.0", "Assigns ranges of hash slots to a node."),
    (b"BUMPEPOCH", 2, "3.0.0", "Advances the cluster config epoch."),
    (b"DELSLOTS", -3, "3.0.0", "Takes hash slots from a node."),
    (b"DELSLOTSRANGE", -4, "7.0.0", "Takes ranges of hash slots from a node."),
    (b"FLUSHSLOTS", 2, "3.0.0", "Takes all hash slots from a node."),
    (b"FORGET", 3, "3.0.0", "Removes a node from the nodes known."),
    (b"MEET", -4, "3.0.0", "Makes two nodes know one another."),
    (b"REPLICATE", 3, "3.0.0", "Makes a node a replica of another."),
    (b"RESET", -2, "3.0.0", "Makes a node forget the cluster."),
    (b"SAVECONFIG", 2, "3.0.0", "Writes the cluster's configuration to disk."),
    (b"SET-CONFIG-EPOCH", 3, "3.0.0", "Sets the config epoch of a new node."),
    (b"SETSLOT", -4, "3.0.0", "Binds a hash slot to a node."),
):
    _not_here(_name, _arity, _since, _summary)


_HELP: Final = (
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNT-FAILURE-REPORTS <node-id>", "    Always 0 for a known node: the log decides who leads.",
    "COUNTKEYSINSLOT <slot>", "    How many keys <slot> holds.", "FAILOVER",
    "    At a replica: ask the primary to hand over to it.", "GETKEYSINSLOT <slot> <count>",
    "    Names of keys in <slot>.", "INFO", "    State of the cluster.", "KEYSLOT <key>",
    "    The hash slot of <key>.", "LINKS", "    Empty: there is no cluster bus.", "MYID",
    "    This node's id.", "NODES", "    The nodes known, one a line:",
    "    <id> <ip:port> <flags> <primary> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>", "    The replicas of the primary <node-id>.", "SHARDS",
    "    Slot ranges and the nodes that serve them.", "SLOTS",
    "    Slot ranges with primary and replicas: address, port and id of each.", "HELP",
    "    This text.",
)  # fmt: skip


@command(
    b"CLUSTER|HELP",
    arity=2,
    flags=LOADING | STALE | LOCAL,
    since="5.0.0",
    group="cluster",
    summary="Returns a text about the subcommands.",
)
def cluster_help(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    return reply.array([reply.simple(line.encode()) for line in _HELP])


# ------------------------------------------------------------ the connection's side of cluster mode


@command(
    b"READONLY",
    arity=1,
    flags=FAST | LOADING | STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Enables read-only queries at a replica.",
)
def readonly(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    ctx.session.readonly = True
    return reply.OK


@command(
    b"READWRITE",
    arity=1,
    flags=FAST | LOADING | STALE | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Enables read-write queries at a replica.",
)
def readwrite(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    ctx.session.readonly = False
    return reply.OK


@command(
    b"ASKING",
    arity=1,
    flags=FAST | LOCAL,
    since="3.0.0",
    group="cluster",
    summary="Signals that a cluster client is following an -ASK redirect.",
)
def asking(ctx: Context, argv: list[bytes]) -> bytes:
    _enabled(ctx)
    return reply.OK  # slots never move between nodes here, so no client needs it
