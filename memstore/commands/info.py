"""INFO and ROLE: what this node knows about itself, as text and as an array.

Decides: which fields each section has. A name is Redis' name if the meaning is Redis' meaning.
Must not know: where facts come from; `Facts` has them. Python does not report how much of its
memory is in use, so ``used_memory`` is the resident set, as ``used_memory_rss`` is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from memstore.engine import reply
from memstore.engine.command import FAST, LOADING, LOCAL, NOSCRIPT, STALE, Row, command
from memstore.engine.context import Context
from memstore.engine.keyspace import Database
from memstore.engine.latency import percentile
from memstore.version import REDIS_VERSION, VERSION

Fields = list[tuple[str, object]]


def human(count: int) -> str:
    """Return a number of bytes in the unit that fits: 12.50M."""
    if count < 1024:
        return f"{count}B"
    size = float(count)
    unit = "B"
    for unit in "KMGTP":  # noqa: B007  the unit reached is used below
        size /= 1024
        if size < 1024:
            break
    return f"{size:.2f}{unit}"


def replication_id(ctx: Context) -> str:
    """Return 40 hex digits, the same on every node of a shard: derived from the log's name."""
    return hashlib.sha1(ctx.engine.facts.log_name.encode(), usedforsecurity=False).hexdigest()


def _server(ctx: Context) -> Fields:
    facts, settings = ctx.engine.facts, ctx.engine.settings
    uptime_s = max(0, ctx.wall_ms - facts.started_ms) // 1000
    return [
        ("redis_version", REDIS_VERSION),
        ("redis_mode", "cluster" if settings.cluster_enabled else "standalone"),
        ("memstore_version", VERSION),
        ("memstore_compiled", int(ctx.engine.facts.compiled)),
        ("os", facts.os),
        ("arch_bits", 64),
        ("python_version", facts.python),
        ("process_id", facts.pid),
        ("process_supervised", "no"),
        ("run_id", facts.run_id),
        ("node_id", facts.node_id or facts.run_id),
        ("availability_zone", facts.az),
        ("tcp_port", facts.port or settings.port),
        ("server_time_usec", ctx.wall_ms * 1000),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86_400),
        ("hz", settings.hz),
        ("configured_hz", settings.hz),
        ("clock_ahead_ms", ctx.engine.facts.clock_ahead_ms),
        ("clock_behind_ms", ctx.engine.facts.clock_behind_ms),
        ("lru_clock", ctx.wall_ms // 1000 & 0xFFFFFF),
        ("executable", facts.executable),
        ("config_file", settings.config_file),
    ]


def _clients(ctx: Context) -> Fields:
    facts, sessions = ctx.engine.facts, ctx.engine.sessions
    count = len(sessions) if ctx.session.id in sessions else len(sessions) + 1
    return [
        ("connected_clients", count),
        ("clients_peak", max(facts.clients_peak, count)),
        ("maxclients", ctx.engine.settings.maxclients),
        ("client_recent_max_input_buffer", facts.largest_query_buffer),
        ("client_recent_max_output_buffer", facts.largest_output_buffer),
        ("blocked_clients", facts.blocked_clients),
        ("monitor_clients", len(ctx.engine.monitors)),
        ("tracking_clients", 0),
        ("clients_in_timeout_table", 0),
    ]


def _memory(ctx: Context) -> Fields:
    facts, settings = ctx.engine.facts, ctx.engine.settings
    peak = max(facts.rss_peak_bytes, facts.rss_bytes)
    return [
        ("used_memory", facts.rss_bytes),
        ("used_memory_human", human(facts.rss_bytes)),
        ("used_memory_rss", facts.rss_bytes),
        ("used_memory_rss_human", human(facts.rss_bytes)),
        ("used_memory_peak", peak),
        ("used_memory_peak_human", human(peak)),
        ("used_memory_peak_perc", f"{100 * facts.rss_bytes / peak if peak else 0:.2f}%"),
        ("total_system_memory", facts.system_memory_bytes),
        ("total_system_memory_human", human(facts.system_memory_bytes)),
        ("maxmemory", settings.maxmemory),
        ("maxmemory_human", human(settings.maxmemory)),
        ("maxmemory_policy", settings.maxmemory_policy),
        ("mem_uncommitted", facts.uncommitted_bytes),
        ("mem_held_replies", facts.held_bytes),
        ("mem_allocator", "python"),
    ]


def _persistence(ctx: Context) -> Fields:
    """Return the fields that tools read here. Nothing is dumped; everything is logged."""
    facts = ctx.engine.facts
    return [
        ("loading", int(facts.role == "restoring")),
        ("async_loading", 0),
        ("loading_loaded_entries", facts.applied if facts.role == "restoring" else 0),
        ("loading_total_entries", facts.restore_target if facts.role == "restoring" else 0),
        ("rdb_changes_since_last_save", 0),
        ("rdb_bgsave_in_progress", 0),
        ("rdb_last_save_time", facts.started_ms // 1000),
        ("rdb_last_bgsave_status", "ok"),
        ("aof_enabled", 1),
        ("aof_rewrite_in_progress", 0),
        ("aof_rewrite_scheduled", 0),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_last_write_status", "ok"),
    ]


def _stats(ctx: Context) -> Fields:
    engine, facts = ctx.engine, ctx.engine.facts
    return [
        ("total_connections_received", facts.connections_received),
        ("total_commands_processed", facts.commands_processed),
        ("instantaneous_ops_per_sec", facts.commands_per_second),
        ("total_net_input_bytes", facts.input_bytes),
        ("total_net_output_bytes", facts.output_bytes),
        ("instantaneous_input_kbps", facts.input_kbps),
        ("instantaneous_output_kbps", facts.output_kbps),
        ("rejected_connections", facts.connections_rejected),
        ("client_output_buffer_limit_disconnections", facts.output_limit_closes),
        ("expired_keys", engine.expired_keys),
        ("evicted_keys", 0),
        ("pubsub_channels", 0),
        ("pubsub_patterns", 0),
        ("total_error_replies", sum(engine.error_counts.values())),
        ("held_reads", facts.held_reads),
        ("strong_reads", facts.strong_reads),
        ("strong_reads_failed", facts.strong_reads_failed),
        ("longest_loop_turn_usec", facts.longest_turn_us),
        ("longest_loop_turn_cpu_usec", facts.longest_turn_cpu_us),
        ("longest_loop_turn_at_ms", facts.longest_turn_at_ms),
    ]


def _replication(ctx: Context) -> Fields:
    facts = ctx.engine.facts
    fields: Fields = [
        ("role", "master" if facts.role == "primary" else "slave"),
        ("memstore_role", facts.role),
    ]
    if facts.role != "primary":
        fields += [
            ("master_host", facts.primary_host),
            ("master_port", facts.primary_port),
            ("master_link_status", "up" if facts.link_up else "down"),
            (
                "master_last_io_seconds_ago",
                max(0, ctx.wall_ms - facts.link_heard_ms) // 1000 if facts.link_up else -1,
            ),
            ("master_sync_in_progress", int(facts.role == "restoring")),
            ("slave_read_repl_offset", facts.applied),
            ("slave_repl_offset", facts.applied),
            ("slave_priority", 100),
            ("slave_read_only", 1),
            ("replica_announced", 1),
        ]
        if not facts.link_up and facts.link_since_ms:
            fields.append(
                (
                    "master_link_down_since_seconds",
                    max(0, ctx.wall_ms - facts.link_since_ms) // 1000,
                )
            )
    fields.append(("connected_slaves", len(facts.replicas)))
    for i, replica in enumerate(facts.replicas):
        lag_s = max(0, ctx.wall_ms - replica.report_ms) // 1000
        fields.append(
            (
                f"slave{i}",
                f"ip={replica.host},port={replica.port},state=online,offset={replica.applied},"
                f"lag={lag_s},az={replica.az},id={replica.node}",
            )
        )
    offset = facts.committed if facts.role == "primary" else facts.applied
    fields += [
        ("master_failover_state", "no-failover"),
        ("master_replid", replication_id(ctx)),
        ("master_repl_offset", offset),
        ("role_changes", facts.role_changes),
        (
            "role_since_seconds",
            max(0, ctx.wall_ms - facts.role_since_ms) // 1000 if facts.role_since_ms else 0,
        ),
    ]
    return fields


def _log(ctx: Context) -> Fields:
    facts, settings = ctx.engine.facts, ctx.engine.settings
    fields: Fields = [
        ("log_name", facts.log_name),
        ("log_term", facts.term),
        ("log_last", facts.last),
        ("log_committed", facts.committed),
        ("log_applied", facts.applied),
        ("log_applied_time_ms", facts.applied_ms),
        ("log_restore_target", facts.restore_target),
        ("log_entries_appended", facts.entries_appended),
        ("log_bytes_appended", facts.bytes_appended),
        ("log_entries_applied", facts.entries_applied),
        ("log_digests", facts.digests),
        ("log_digest_differences", facts.digest_differences),
        ("log_digest_differs_at", facts.digest_differs_at),
        ("log_digest_trouble", facts.digest_trouble),
        ("log_commit_usec", facts.commit_us),
        ("log_uncommitted_bytes", facts.uncommitted_bytes),
        ("log_commit_bytes_per_second", facts.commit_bytes_per_s),
        ("log_in_flight_limit_bytes", facts.in_flight_limit),
        ("log_held_replies", _held_replies(ctx)),
        ("lease_ms", settings.lease_ms),
        ("lease_left_ms", facts.lease_left_ms),
        ("log_nodes", len(facts.log_nodes)),
    ]
    for i, node in enumerate(facts.log_nodes):
        state = (
            f"connected={int(node.connected)},last={node.last},committed={node.committed},"
            f"lagging={int(node.lagging)},suspect={int(node.suspect)}"
        )
        fields.append(
            (
                f"log_node{i}",
                f"address={node.address},az={node.az},{state}"
                + (f",error={node.error.replace(',', ';')}" if node.error else ""),
            )
        )
    return fields


def _held_replies(ctx: Context) -> int:
    """Return the number of held replies.
    Replies of a batch that wait for the same position count as one.
    """
    return sum([len(session.held) for session in ctx.engine.sessions.values()])


def _cpu(ctx: Context) -> Fields:
    facts = ctx.engine.facts
    return [
        ("used_cpu_sys", f"{facts.cpu_system_us / 1e6:.6f}"),
        ("used_cpu_user", f"{facts.cpu_user_us / 1e6:.6f}"),
    ]


def _rows(ctx: Context) -> Iterator[Row]:
    for row in ctx.engine.table.values():
        yield row
        yield from row.subcommands.values()


def _commandstats(ctx: Context) -> Fields:
    fields: Fields = []
    for row in _rows(ctx):
        if row.calls or row.rejected or row.failed:
            each = row.usec / row.calls if row.calls else 0
            counts = (
                f"calls={row.calls},usec={row.usec},usec_per_call={each:.2f},"
                f"rejected_calls={row.rejected},failed_calls={row.failed}"
            )
            fields.append((f"cmdstat_{reply.text(row.name.lower())}", counts))
    return fields


def _errorstats(ctx: Context) -> Fields:
    return [
        (f"errorstat_{code}", f"count={count}") for code, count in ctx.engine.error_counts.items()
    ]


def _latencystats(ctx: Context) -> Fields:
    wanted = ctx.engine.settings.latency_percentiles.split()
    fields: Fields = []
    for name, histogram in ctx.engine.latency.histograms.items():
        shares = ",".join(
            f"p{percent}={percentile(histogram, float(percent)):.3f}" for percent in wanted
        )
        fields.append((f"latency_percentiles_usec_{reply.text(name.lower())}", shares))
    return fields


def _cluster(ctx: Context) -> Fields:
    return [("cluster_enabled", int(ctx.engine.settings.cluster_enabled))]


def _average_ttl(database: Database, due_ms: int) -> int:
    """Return the average time to live of some of the keys that expire, in milliseconds."""
    total = count = 0
    if database.volatile:
        for expires in database.expires:
            for at_ms in expires.values():
                total += max(0, at_ms - due_ms)
                count += 1
            if count >= 1000:
                break
    return total // count if count else 0


def _keyspace(ctx: Context) -> Fields:
    ctx.looked_everywhere = True
    fields: Fields = []
    for database in ctx.keyspace.existing():
        count = len(database)
        if count:
            avg_ttl = _average_ttl(database, ctx.due_ms)
            numbers = f"keys={count},expires={database.volatile},avg_ttl={avg_ttl}"
            fields.append((f"db{database.index}", numbers))
    return fields


# name, what it holds, whether INFO alone shows it
_SECTIONS: Final[list[tuple[str, Callable[[Context], Fields], bool]]] = [
    ("Server", _server, True),
    ("Clients", _clients, True),
    ("Memory", _memory, True),
    ("Persistence", _persistence, True),
    ("Stats", _stats, True),
    ("Replication", _replication, True),
    ("Log", _log, True),
    ("CPU", _cpu, True),
    ("Commandstats", _commandstats, False),
    ("Errorstats", _errorstats, True),
    ("Latencystats", _latencystats, False),
    ("Cluster", _cluster, True),
    ("Keyspace", _keyspace, True),
]


@command(
    b"INFO",
    arity=-1,
    flags=LOADING | STALE | LOCAL,
    group="server",
    summary="What this node knows of itself, as text",
    complexity="O(1)",
)
def info(ctx: Context, argv: list[bytes]) -> bytes:
    wanted = {reply.text(arg).lower() for arg in argv[1:]} or {"default"}
    texts = []
    for name, fields, usual in _SECTIONS:
        if (
            name.lower() in wanted
            or "all" in wanted
            or "everything" in wanted
            or (usual and "default" in wanted)
        ):
            texts.append(
                f"# {name}\r\n" + "".join(f"{field}:{value}\r\n" for field, value in fields(ctx))
            )
    return ctx.verbatim("\r\n".join(texts).encode("utf-8", "surrogateescape"))


@command(
    b"ROLE",
    arity=1,
    flags=NOSCRIPT | LOADING | STALE | FAST | LOCAL,
    since="2.8.12",
    group="server",
    summary="Whether this node is the primary",
)
def role(ctx: Context, argv: list[bytes]) -> bytes:
    facts, bulk, integer = ctx.engine.facts, reply.bulk, reply.integer
    if facts.role == "primary":
        replicas = [
            reply.bulk_array([r.host.encode(), b"%d" % r.port, b"%d" % r.applied])
            for r in facts.replicas
        ]
        return reply.array([bulk(b"master"), integer(facts.committed), reply.array(replicas)])
    state = b"sync" if facts.role == "restoring" else b"connected" if facts.link_up else b"connect"
    return reply.array(
        [
            bulk(b"slave"),
            bulk(facts.primary_host.encode()),
            integer(facts.primary_port),
            bulk(state),
            integer(facts.applied),
        ]
    )
