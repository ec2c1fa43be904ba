"""What a node knows about itself and its shard, for display only, never for safety.

INFO, ROLE, HELLO, CLUSTER and CLIENT show it.

Decides: nothing; it is the record.
Must not know: what shows it.

The shard and the driver write it (counters as they happen, samples a few times a second); commands
read it. A fact that is not written yet has a default that shows this (0, "", -1).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ReplicaFact:
    """Another node of the shard: a replica as it reported itself to this primary, or the last
    primary.
    """

    node: str  # id of the node
    host: str
    port: int
    az: str
    applied: int  # position it has applied
    report_ms: int  # wall time of its newest report


@dataclass(slots=True)
class LogNodeFact:
    """A log node as this node sees it."""

    address: str
    az: str
    connected: bool
    last: int = -1  # last position it holds, -1: not known
    committed: int = -1
    lagging: bool = False
    suspect: bool = False
    error: str = ""  # newest error of the connection


@dataclass(slots=True)
class Facts:
    # --- the process, once at start
    run_id: str = "0" * 40  # 40 hex digits: this process run (the incarnation)
    node_id: str = ""  # 40 hex digits as CLUSTER MYID shows it; "": run_id
    pid: int = 0
    os: str = ""  # "Linux 6.1.0 x86_64"
    python: str = ""  # "CPython 3.11.2"
    executable: str = ""
    compiled: bool = False  # the hot modules run as machine code
    started_ms: int = 0  # wall time of the start
    host: str = ""  # as announced
    port: int = 0  # the port listened on (or announced)
    az: str = ""
    # --- the role
    role: str = "restoring"  # restoring, replica, candidate, primary
    role_since_ms: int = 0  # wall time of the last change of role
    role_changes: int = 0
    primary_id: str = ""  # node id of the primary as far as known, "": none known
    primary_host: str = ""
    primary_port: int = 0
    primary_az: str = ""
    # while no primary is known: the last one that was known, perhaps this node itself
    last_primary: ReplicaFact | None = None
    link_up: bool = False  # the replica's connection to the primary
    link_since_ms: int = 0  # wall time of the link's last change
    link_heard_ms: int = 0  # wall time of the primary's newest answer on it
    replicas: list[ReplicaFact] = field(default_factory=list)
    # on a new primary: the shard's other nodes as last known, until they have had time to report
    expected_replicas: list[ReplicaFact] = field(default_factory=list)
    waiting_for_replicas: int = 0  # clients in WAIT and WAITAOF
    # --- the log
    log_name: str = ""
    term: int = 0  # term of the newest writer known
    last: int = 0  # last position assigned here (primary) or seen
    committed: int = 0
    applied: int = 0
    applied_ms: int = 0  # the greatest time in the entries applied
    durable_nodes: int = 0  # log nodes connected
    log_nodes: list[LogNodeFact] = field(default_factory=list)
    lease_left_ms: int = 0  # 0: no lease
    entries_appended: int = 0
    bytes_appended: int = 0
    entries_applied: int = 0
    stuck: str = ""  # why this node stopped following the log; "": it still follows
    # DIGEST entries written, or compared with memory and found equal, since the current memory
    # started
    digests: int = 0
    digest_differences: int = 0  # how often memory here differed from the primary's
    digest_differs_at: int = 0  # position of the newest
    digest_trouble: str = ""  # its result, while this node does not serve because of it
    restore_target: int = 0  # restoring: the position to reach
    uncommitted_bytes: int = 0
    held_bytes: int = 0
    commit_bytes_per_s: int = 0  # a primary's, as measured with large commits; 0: not measured yet
    # bytes that may be appended and not committed, as the rate and the lease allow
    in_flight_limit: int = 0
    commit_us: int = 0  # recent time from append to commit
    # --- clients and traffic
    clients_peak: int = 0
    blocked_clients: int = 0
    connections_received: int = 0
    connections_rejected: int = 0
    output_limit_closes: int = 0  # clients closed because they did not read
    commands_processed: int = 0
    commands_per_second: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    input_kbps: int = 0
    output_kbps: int = 0
    largest_query_buffer: int = 0
    largest_output_buffer: int = 0
    # Reads whose reply waited for a commit, in total. Reads after a write of the same batch do not
    # count.
    held_reads: int = 0
    strong_reads: int = 0  # strong reads served at a replica, in total
    strong_reads_failed: int = 0
    # --- the machine, sampled
    # by how much the machine's clock jumped ahead of the time shown here, which follows it slowly
    clock_ahead_ms: int = 0
    # after it was set back: by how much it is earlier than the time shown here, which does not
    # follow
    clock_behind_ms: int = 0
    rss_bytes: int = 0
    rss_peak_bytes: int = 0
    system_memory_bytes: int = 0
    cpu_user_us: int = 0
    cpu_system_us: int = 0
    longest_turn_us: int = 0  # longest turn of the event loop since start or CONFIG RESETSTAT
    # the processor time of the loop's thread in that turn: for the rest the machine ran something
    # else
    longest_turn_cpu_us: int = 0
    longest_turn_at_ms: int = 0  # when it ended, unix time

    def reset_stats(self) -> None:
        """CONFIG RESETSTAT."""
        self.connections_received = self.connections_rejected = self.commands_processed = (
            self.input_bytes
        ) = self.output_bytes = 0
        self.held_reads = self.strong_reads = self.strong_reads_failed = self.clients_peak = 0
        self.longest_turn_us = self.longest_turn_cpu_us = self.longest_turn_at_ms = 0
