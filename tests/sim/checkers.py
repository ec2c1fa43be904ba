"""The conditions that must hold inside the cluster at every moment.

The conditions are: the log's invariants, leases, equal states. The checkers read the machines' own
state after each event of their process, and raise `Violation`.

Decides: whether the present state of the nodes is allowed.
Must not know: the answers that clients got (`history`), how faults happen.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any

from memstore.engine.digest import value_digest
from memstore.engine.keyspace import Keyspace
from tests.sim.cluster import Cluster, EngineMember, LogMember
from tests.sim.world import Loop, Violation
from txlog.entry import CHAIN_BYTES

DRIFT_BOUND_PPM = 30_300  # each clock within 1/33 of true time


class Checkers:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        # position -> chain, as any node first saw it committed
        self.committed: dict[int, bytes] = {}
        self.newest = 0
        self.owners: dict[int, bytes] = {}  # term -> incarnation
        self.states: dict[int, bytes] = {}  # position -> digest of the state
        self.primaries: list[int] = []  # terms in which a node served
        # engine nodes whose memory a test has changed directly
        self.rotten: set[str] = set()
        # nodes that may find different digests: the ones above, or those that follow one of them
        self.differing: set[str] = set()
        self._resealing: Any = None
        self._acceptors: dict[str, Any] = {}  # the newest acceptor of each log node, dead or alive
        self._machines: dict[str, LogMember] = {}  # the last machine of each log node
        self._promised: dict[str, int] = {}
        # how far each log node's disk was at the last check
        self._durable: dict[str, int] = {}
        # by log node: position -> chain of what was durable there at the last check
        self._had: dict[str, dict[int, bytes]] = {}
        self._known: dict[str, int] = {}  # committed position at the last check, by node
        self._leases: dict[str, tuple[bytes, int]] = {}  # by engine node: incarnation and true end
        self._check_leases = all(
            abs(member.clock.ppm) <= DRIFT_BOUND_PPM for member in [*cluster.logs, *cluster.engines]
        )

    def after_event(self, loop: Loop) -> None:
        member = self.cluster.by_name.get(loop.name)
        if isinstance(member, LogMember):
            self._log_node(member)
        elif member is not None:
            self._engine_node(member)

    # ----------------------------------------------------------------- log nodes

    def _log_node(self, member: LogMember) -> None:
        # a machine that lost its disk comes back with another identity (S8)
        name = member.identity.node
        driver = member.driver
        if driver is None:
            return
        acceptor = driver._acceptor
        if acceptor is not self._acceptors.get(name):
            self._acceptors[name], self._machines[name] = acceptor, member
            self._known[name] = 0
            self._durable[name] = min(self._durable.get(name, 0), acceptor.durable)
            if acceptor.promise.term < self._promised.get(name, 0):
                raise Violation(
                    f"{name} came back with promise {acceptor.promise.term}, it had promised "
                    f"{self._promised[name]}"
                )
        if acceptor.durable != self._durable[name]:
            self._became_durable(name, acceptor)
        durable = acceptor._durable_promise.term
        if durable > self._promised.get(name, 0):
            self._promised[name] = durable
        elif acceptor.promise.term < self._promised.get(name, 0):
            raise Violation(f"{name}: its promise went down to {acceptor.promise.term}")
        if acceptor.committed > self._known[name]:
            for position in range(
                max(self._known[name], acceptor.committed - 64) + 1, acceptor.committed + 1
            ):
                self._is_committed(name, position, acceptor.chain_at(position))
            self._known[name] = acceptor.committed

    def _became_durable(self, name: str, acceptor: Any) -> None:
        """Record newly durable entries; those that replace cut entries are new too."""
        had = self._had.setdefault(name, {})
        for position in range(self._durable[name] + 1, acceptor.durable + 1):
            if (chain := acceptor.chain_at(position)) is not None:
                had[position] = chain
        self._durable[name] = acceptor.durable

    def _is_committed(self, name: str, position: int, chain: bytes | None) -> None:
        if chain is None:
            return  # not readable there now
        known = self.committed.get(position)
        if known is None:
            self.committed[position] = chain
            self.newest = max(self.newest, position)
        elif known != chain:
            raise Violation(
                f"{name} holds another entry committed at {position} than was committed before"
            )

    # ----------------------------------------------------------------- engine nodes

    def _engine_node(self, member: EngineMember) -> None:
        node = member.node
        if node is None:
            return
        writer = node.log.writer
        if writer is not None and writer._proposer.state in ("opening", "open"):
            proposer = writer._proposer
            if proposer.term not in self.owners and proposer.incarnation in self.owners.values():
                self.world.counters["an incarnation opened another term"] += 1
            if proposer._reseal is not None and writer is not self._resealing:
                self._resealing = writer
                self.world.counters["a term was sealed again"] += 1
            if self.owners.setdefault(proposer.term, proposer.incarnation) != proposer.incarnation:
                raise Violation(f"{member.name}: term {proposer.term} has two writers")
            if proposer.state == "open" and proposer.committed > self._known.get(member.name, 0):
                self._writer_committed(member, proposer)
        self._lease(member, node)
        mismatches = node.roles.mismatches
        if mismatches.count and member.name not in self.differing:
            raise Violation(
                f"{member.name}: a digest differs: {mismatches.trouble or mismatches.position}"
            )

    def _writer_committed(self, member: EngineMember, proposer: Any) -> None:
        position = proposer.committed
        before = proposer._recent.before(position + 1)
        self._known[member.name] = position
        if before is None:
            return
        chain = before[1]
        self._is_committed(member.name, position, chain)
        holders = sum(
            self._holds(name, acceptor, position, chain)
            for name, acceptor in self._acceptors.items()
        )
        if holders < 2:
            raise Violation(
                f"{member.name} calls {position} committed, and {holders} log nodes hold it on disk"
            )

    def _holds(self, name: str, acceptor: Any, position: int, chain: bytes) -> bool:
        """Whether the entry is on disk as it was acknowledged.
        An entry that rotted there since then is still a correct acknowledgement: the other nodes
        and S3 must repair it.
        """
        lost = self._machines[name].rotten and (
            acceptor.suspicion is not None or acceptor.proven >= position
        )
        if lost and self._had.get(name, {}).get(position) == chain:
            return True
        if acceptor.durable < position:
            return False
        driver = self._machines[name].driver
        # when the node is dead, its files are closed: memory has the newest state
        if driver is None or driver._acceptor is not acceptor:
            places = acceptor._history._positions
            known = (
                places.chain(position)
                if position in places
                else self._had.get(name, {}).get(position, chain)
            )
            return known in (chain, bytes(CHAIN_BYTES))
        return acceptor.chain_at(position) in (chain, None)

    def _lease(self, member: EngineMember, node: Any) -> None:
        until = node.shard.lease.lease_until_us
        incarnation = node.log.incarnation
        if not until:
            self._leases.pop(member.name, None)
            return
        if node.writer is not None and (
            not self.primaries or self.primaries[-1] != node.writer.term
        ):
            self.primaries.append(node.writer.term)
            self._known[member.name] = 0
        end = member.clock.true_at(until)
        self._leases[member.name] = (incarnation, end)
        if not self._check_leases or end <= self.world.now:
            return
        for other, (theirs, until_true) in self._leases.items():
            if other != member.name and until_true > self.world.now and theirs != incarnation:
                raise Violation(f"{member.name} and {other} both hold the lease")

    def forget(self, member: EngineMember) -> None:
        """The process ended, and its lease ended with it."""
        self._leases.pop(member.name, None)
        self._known.pop(member.name, None)

    # ----------------------------------------------------------------- states

    def compare_states(self) -> None:
        """All nodes whose memory is the committed state at one position have the same state."""
        for member in self.cluster.engines:
            node = member.node
            if (
                node is None
                or not member.alive
                or node.shard.role == "restoring"
                or member.name in self.rotten
            ):
                continue
            self.world.counters["digests compared"] += node.follower.digests > 0
            shard = node.shard
            if shard.role == "primary":
                if not shard.drained or node.writer is None or node.writer.in_flight:
                    continue
                position = node.writer.next_position - 1
            else:
                position = node.follower.position
                if node.follower.pending or node._won is not None:
                    continue
            self._same_state(member.name, position, state_of(node.engine.keyspace))

    def _same_state(self, name: str, position: int, state: bytes) -> None:
        if position in self.states:
            self.world.counters["states compared"] += 1
        if self.states.setdefault(position, state) != state:
            raise Violation(f"{name} has another state at {position} than a node had before")


def state_of(keyspace: Keyspace) -> bytes:
    """A digest that is equal for equal states.
    `memstore.engine.digest` reads every slot, and here nearly all slots are empty.
    """
    parts = []
    for database in keyspace.existing():
        for items in filter(None, database.slots):
            parts += [
                b"%d %b %b" % (database.index, key, value_digest(value, database.expire_at(key)))
                for key, value in items.items()
            ]
    return sha1(b"".join(sorted(parts)), usedforsecurity=False).digest()
