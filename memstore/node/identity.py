"""A node's identity: its id, the limits that it announces, and what stays constant in its life.

Decides: nothing; it derives.
Must not know: roles, clients.
"""

from __future__ import annotations

import hashlib

from memstore.config import ServerConfig
from memstore.engine.facts import Facts
from memstore.log.interface import Log
from memstore.node.sampling import describe_process
from memstore.replication.control_entries import Leadership
from memstore.version import VERSION


def node_id(log_name: str, az: str, host: str, port: int) -> str:
    """40 hex digits, the same at each start at this address: nodes keep nothing on disk."""
    return hashlib.sha1(
        f"{log_name}|{az}|{host}:{port}".encode(), usedforsecurity=False
    ).hexdigest()


def describe_node(
    facts: Facts, config: ServerConfig, txlog: Log, host: str, port: int, now_ms: int
) -> None:
    """What commands read about the node's address and start."""
    facts.host, facts.port, facts.az = host, port, config.az
    facts.log_name = txlog.name
    facts.node_id = node_id(txlog.name, config.az, host, port)
    facts.run_id = hashlib.sha1(txlog.incarnation, usedforsecurity=False).hexdigest()
    facts.started_ms = facts.role_since_ms = now_ms
    describe_process(facts)


def own_leadership(facts: Facts, config: ServerConfig, incarnation: bytes) -> Leadership:
    """The entry that opens a term of this node."""
    limits = {
        "max-entry-bytes": config.max_entry_bytes,
        "databases": config.databases,
        "cluster-enabled": int(config.cluster_enabled),
    }
    return Leadership(
        facts.node_id,
        incarnation,
        config.az,
        facts.host,
        facts.port,
        config.lease_ms,
        VERSION,
        limits,
    )
