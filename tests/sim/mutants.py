"""Deliberate bugs: a simulator that finds nothing proves nothing. `make mutants` plants each in
turn and says what catches it.

Decides: what the bugs are, as a piece of a function's text and what stands in its place. The text
is as `ast.unparse` writes it, so that a mutant depends neither on the layout nor on comments. A
piece that is not there exactly once is an error, so a mutant cannot rot unseen.
Must not know: how a bug is found. A schedule is only named here (`tests.sim.directed`); the other
bugs are found by the one shared workload.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import memstore.commands.sets
import memstore.commands.transactions
import memstore.node.clocks
import memstore.node.node
import memstore.node.primary
import memstore.replication.commit_rate
import memstore.replication.lease_windows
import memstore.replication.looked_keys
import memstore.replication.roles
import memstore.replication.shard
import memstore.replication.tracker
import txlog.client.writer
import txlog.consensus.acceptor
import txlog.consensus.campaign
import txlog.consensus.learner
import txlog.consensus.lease
import txlog.consensus.pace
import txlog.consensus.proposer
import txlog.consensus.repair
import txlog.consensus.sender
import txlog.server.connection
import txlog.server.driver
import txlog.server.logs
import txlog.server.node
import txlog.storage.files
import txlog.storage.jobs
import txlog.storage.store

_Roles = memstore.replication.roles.Roles
_Shard = memstore.replication.shard.Shard
_Tracker = memstore.replication.tracker.Tracker
_Node = memstore.node.node.EngineNode
_Acceptor = txlog.consensus.acceptor.Acceptor
_Proposer = txlog.consensus.proposer.Proposer
_Sender = txlog.consensus.sender.Sender
_Writer = txlog.client.writer.Writer
_Driver = txlog.server.driver.LogDriver
_Repair = txlog.consensus.repair.Repair
_Learner = txlog.consensus.learner.Learner
_LogNode = txlog.server.node.LogNode
_Carrier = txlog.storage.jobs._Carrier


@dataclass(frozen=True)
class Mutant:
    what: str
    owner: Any  # a class or a module
    function: str
    old: str
    new: str
    schedule: str = ""  # the directed schedule that catches it; else the workload's seeds are tried
    # further pieces of the same owner: function, old, new
    more: tuple[tuple[str, str, str], ...] = ()

    @property
    def pieces(self) -> tuple[tuple[str, str, str], ...]:
        return ((self.function, self.old, self.new), *self.more)


MUTANTS: dict[str, Mutant] = {
    "ack-before-fsync": Mutant(
        "an answer leaves before the disk has it",
        _Driver,
        "_pump",
        "if output.sequence <= self._persisted:",
        "if True:",
    ),
    "commit-on-one-ack": Mutant(
        "one log node is enough",
        _Sender,
        "_advance",
        "held_by_majority([progress.match for progress in self._progress])",
        "max(progress.match for progress in self._progress)",
    ),
    "old-term-by-count": Mutant(
        "entries of an older term are committed by count",
        _Sender,
        "_advance",
        " or reached < self._term_start",
        "",
        schedule="older-entry-on-a-majority",
    ),
    "foreign-tail-counted": Mutant(
        "Appended counts a longer tail of another writer",
        _Acceptor,
        "_on_append",
        "Appended(term, ballot_id, number, confirmed)",
        "Appended(term, ballot_id, number, self.last[1])",
        schedule="longer-foreign-tail",
    ),
    "conflict-kept": Mutant(
        "another entry at the same position is taken for the same",
        _Acceptor,
        "_skip_held",
        "if self._matches(position, entry.chain):",
        "if True:",
    ),
    "seal-ignores-expected": Mutant(
        "a candidate that lacks entries is promised",
        _Acceptor,
        "_on_seal",
        "if self.last > message.expected:",
        "if False:",
    ),
    "seal-counts-durable": Mutant(
        "entries that are not yet on disk do not count for Seal",
        _Acceptor,
        "_on_seal",
        "if self.last > message.expected:",
        "if (self.id_at(self.durable) or self.trim) > message.expected:",
        schedule="sealed-over-what-is-on-its-way-to-disk",
    ),
    "promise-not-persisted": Mutant(
        "a promise is only in memory",
        _Acceptor,
        "_on_seal",
        "self._set_promise(Promise(",
        "setattr(self, 'promise', Promise(",
        schedule="restarted-nodes-and-a-living-lease",
    ),
    "ballot-id-reused": Mutant(
        "every Seal has the same ballot id",
        _Proposer,
        "_new_ballot",
        "self._rng.randbytes(16)",
        "b'r' * 16",
    ),
    "probe-is-promise": Mutant(
        "a probe that would be promised is a promise",
        _Proposer,
        "_judge_ballot",
        "if ballot.message.probe:",
        "if False:",
    ),
    "lease-by-any-answer": Mutant(
        "a refused Append renews the lease",
        _Proposer,
        "_on_reject",
        "progress.answered(message.number)",
        "self._credit(node, progress.answered(message.number))",
        schedule="refused-by-full-disks",
    ),
    "suspicion-ends-by-one-append": Mutant(
        "suspicion ends by one Append",
        _Acceptor,
        "_end_suspicion_by",
        " or (confirmed < message.repair_upto)",
        "",
        schedule="bad-sector-over-several-entries",
    ),
    "torn-tail-cut": Mutant(
        "a torn tail is cut without suspicion",
        txlog.consensus.repair.Repair,
        "start",
        "log.become_suspect(",
        "(lambda *_: log.cut_tail())(",
        schedule="bad-sector-over-several-entries",
    ),
    "nobody-agrees": Mutant(
        "nodes of which too few are whole wait for a writer without end",
        _Repair,
        "_on_all_answered",
        "if now_us >= self._too_few_since + WRITER_REPAIRS_US:",
        "if False:",
        schedule="power-lost-inside-one-write-everywhere",
    ),
    "agreement-without-fence": Mutant(
        "all nodes agree on a log while a writer may count what was cut",
        _Repair,
        "_on_all_answered",
        "if log.suspicion.epoch != self._fence[0]:",
        "if False:",
        schedule="acknowledged-by-one-and-agreed-away",
    ),
    "suspect-answers-tail": Mutant(
        "a suspect node answers tail()",
        _Acceptor,
        "_on_tail_query",
        "self.counts and ",
        "",
        schedule="tail-asked-of-a-suspect-node",
    ),
    "chain-not-checked": Mutant(
        "an Append is taken without looking at the chain",
        _Acceptor,
        "_on_append",
        " and message.previous_chain == self.last_chain",
        "",
    ),
    "window-lost-at-restart": Mutant(
        "a restarted log node forgets that it granted a window",
        _Acceptor,
        "__init__",
        "now_us + window_us(self.promise.lease_ms) if self.promise.term else 0",
        "0",
        schedule="restarted-nodes-and-a-living-lease",
    ),
    "lease-from-answer": Mutant(
        "the lease counts from the answer",
        _Sender,
        "_credit",
        "self._lease.credit(node, sent_us,",
        "self._lease.credit(node, self._now,",
        schedule="answers-that-take-half-a-lease",
    ),
    "lease-too-long": Mutant(
        "the writer counts on its lease for a second too long",
        _Writer,
        "_lease",
        "self.lease_until_us = until_us",
        "self.lease_until_us = until_us + 1_000_000",
        schedule="answers-that-take-half-a-lease",
    ),
    "window-short": Mutant(
        "a window is half a lease",
        txlog.consensus.lease,
        "window_us",
        "lease_ms * 17000",
        "lease_ms * 8_000",
        schedule="clocks-at-the-bound",
    ),
    "window-without-margin": Mutant(
        "a window is as long as the lease, without the margin for drift",
        txlog.consensus.lease,
        "window_us",
        "lease_ms * 17000",
        "lease_ms * 16_000",
        schedule="clocks-at-the-bound",
    ),
    "handover-without-drain": Mutant(
        "HANDOVER goes out while writes are under way",
        _Node,
        "_check_drained",
        " and self.shard.drained and (not self.writer.in_flight)",
        "",
        schedule="hand-over-while-writes-are-under-way",
    ),
    "dirty-key-not-tracked": Mutant(
        "a key that was written is not dirty", _Tracker, "mark", "young[key] = position", "pass"
    ),
    "absence-is-clean": Mutant(
        "a write that changed nothing waits for nothing",
        _Shard,
        "_position_seen",
        "return self.tracker.position_of_all(keys_of(self.context, row, argv) + looked)",
        "return 0",
    ),
    "exec-sees-dirty": Mutant(
        "EXEC waits only for its own writes",
        memstore.replication.looked_keys,
        "keys_of_exec",
        "return keys",
        "return []",
    ),
    "reply-before-commit": Mutant(
        "a reply leaves before its commit",
        _Shard,
        "_flush",
        "if hold_at <= self.tracker.committed:",
        "if True:",
    ),
    "exec-before-commit": Mutant(
        "EXEC's reply leaves before its commit",
        _Shard,
        "_emit",
        "if hold_at <= self.tracker.committed:",
        "if True:",
    ),
    "replies-out-of-order": Mutant(
        "a reply overtakes one that is held",
        _Shard,
        "run",
        "hold_at = session.held[-1][0] if session.held else 0",
        "hold_at = 0",
    ),
    "unit-in-halves": Mutant(
        "a transaction's effects go into entries of their own",
        _Shard,
        "_close_unit",
        "self.gathered.append(payload)",
        "[(self.gathered.append(piece), self._close_entry()) for piece in unit[:-1]]; payload = "
        "unit[-1]; self.gathered.append(payload)",
    ),
    "replica-expires-by-own-clock": Mutant(
        "a replica judges expiry by its own clock",
        _Shard,
        "_run_one",
        "context.due_ms = self.applied_wall_ms",
        "pass",
        schedule="replica-whose-clock-is-ahead",
    ),
    "demoted-keeps-its-time": Mutant(
        "a demoted node goes on judging expiry by what its clock said last",
        _Node,
        "_step_down",
        "self.follower.adopt(followed, chain, primary.last_entry_ms)",
        "self.follower.adopt(followed, chain, self.wall_ms())",
        schedule="predecessor-whose-clock-is-ahead",
    ),
    "entry-later-than-what-gathers": Mutant(
        "a LEADERSHIP of a term sealed again is later than the units that gathered before it",
        memstore.node.primary.PrimaryDriver,
        "_append_own",
        "if not self.shard.has_entries:",
        "if True:",
        schedule="sealed-again-while-a-unit-gathers",
        more=(("_append_gathered", "assert wall_ms >= self.last_entry_ms", "assert wall_ms >= 0"),),
    ),
    "watched-expiry-not-logged": Mutant(
        "a transaction is stopped by an expiry that the log does not know",
        memstore.commands.transactions,
        "_watched_expired",
        "ctx.lookup(key)",
        "pass",
        schedule="watched-key-that-expires",
    ),
    "strong-read-without-tail": Mutant(
        "a strong read at a replica asks no log node",
        _Shard,
        "_run_one",
        "if self.role != PRIMARY and refusals.needs_freshness(session, row):",
        "if False:",
    ),
    "demoted-keeps-memory": Mutant(
        "a demoted node keeps what it holds",
        _Node,
        "_step_down",
        "clean = shard.drained and (not shard.failed) and (not writer.in_flight)",
        "clean = True",
    ),
    "recheck-skipped": Mutant(
        "a demoted node shows its memory before it has followed the log",
        memstore.replication.roles.Roles,
        "on_stepped_down",
        "self._outputs += [HideUntilCaughtUp(), Follow(),",
        "self.role = REPLICA; self._outputs += [BecomeReplica(), Follow(),",
        schedule="primary-that-wakes",
    ),
    "uncommitted-is-served": Mutant(
        "readers get what is not committed",
        _Acceptor,
        "readable_upto",
        "self._run_end(start, self.committed)",
        "self._run_end(start, self.last[1])",
    ),
    "claims-too-much": Mutant(
        "a frame says synced of what is not",
        txlog.storage.store.LogStore,
        "write_entries",
        "synced = self._flushed",
        "synced = self._written",
        schedule="power-lost-between-write-and-sync",
    ),
    "roll-without-sync": Mutant(
        "a new segment is not synced before it is used",
        _Carrier,
        "roll",
        "self.files.sync_folder(self.folder)\n",
        "pass\n",
    ),
    "roll-before-old-synced": Mutant(
        "the old segment is not synced at a roll",
        _Carrier,
        "roll",
        "self.files.sync(job.old.fd)",
        "pass",
        schedule="power-lost-behind-a-new-segment",
    ),
    "cut-not-on-record": Mutant(
        "a truncation is not put on record first",
        _Carrier,
        "cut",
        "self.meta.write(replace(self.meta.meta, cut=job.position, newest=job.segment.first))",
        "pass",
        schedule="power-lost-inside-a-cut",
    ),
    "one-meta-slot": Mutant(
        "a change of meta is written to one slot only",
        txlog.storage.files.MetaFile,
        "write",
        "(0, 1)",
        "(self._counter % 2,)",
        schedule="slot-of-meta-rots",
    ),
    "wiped-disk-votes": Mutant(
        "a known log without its meta is made as a new one",
        txlog.server.logs,
        "open_store",
        "if name in identity.logs and (not (path / META_NAME).exists()):",
        "if False:",
        schedule="wiped-folder",
    ),
    "suspect-drops-what-others-lack": Mutant(
        "a suspect node drops an entry because the others lack it",
        _Repair,
        "_on_all_answered",
        "self._too_few_since = 0\n        return",
        "self._too_few_since = 0; log.tail_damage and log.cut_tail(); "
        "log.end_suspicion('the others lack it'); return",
        schedule="rotten-entry-that-others-lack",
    ),
    "stale-entry-put-back": Mutant(
        "any copy of a lost position is put back",
        _Repair,
        "_match_copies",
        "if damage.known == entry.id or damage.next_chain == entry.chain or fetched.committed >= "
        "entry.position:",
        "if True:",
        schedule="stale-copy-for-a-rotten-entry",
    ),
    "window-after-fsync": Mutant(
        "an Append opens its window only when it is on disk",
        _Acceptor,
        "_on_append",
        "self._window.open(message.incarnation, term, message.lease_ms, now_us)",
        "vars(self).setdefault('late', []).append((self._sequence, message.incarnation, term, "
        "message.lease_ms)) if self._sequence > self._persisted "
        "else self._window.open(message.incarnation, term, message.lease_ms, now_us)",
        more=(
            (
                "on_persisted",
                "writes = self._writes",
                "vars(self)['late'] = [one for one in vars(self).get('late', []) if one[0] > "
                "sequence or self._window.open(*one[1:], now_us) is None]; "
                "writes = self._writes",
            ),
        ),
        schedule="window-while-the-disk-works",
    ),
    "append-without-seal": Mutant(
        "an Append of a higher term is taken from a writer that has not sealed here",
        _Acceptor,
        "_on_append",
        "if not sealed and (self.suspicion is None or self._admitted != (term, ballot_id)):",
        "if False:",
        schedule="append-without-a-seal",
    ),
    "renew-before-promise": Mutant(
        "a Renew is taken although the promise is not on disk",
        _Acceptor,
        "_on_renew",
        " or (durable.term != promise.term) or (durable.ballot_id != promise.ballot_id)",
        "",
        schedule="renewed-before-the-promise-is-on-disk",
    ),
    "release-to-everybody": Mutant(
        "after a Release every candidate is let in",
        txlog.consensus.lease.Window,
        "release",
        "self._successor = successor",
        "self._successor = b''",
        schedule="release-names-one",
    ),
    "read-of-dirty-key-leaves": Mutant(
        "a plain read waits for nothing",
        _Shard,
        "run",
        "tracker.position_of_all(keys_of(context, row, argv)), 0",
        "0, 0",
    ),
    "error-is-clean": Mutant(
        "an error reply waits for nothing",
        _Shard,
        "run",
        "answer = self.engine.failed(row, error)",
        "parts.append(self.engine.failed(row, error)); continue",
        schedule="looks-at-what-is-not-committed",
    ),
    "flush-marks-nothing": Mutant(
        "FLUSHALL makes no key dirty",
        _Tracker,
        "mark",
        "self._all[database] = position",
        "pass",
        schedule="looks-at-what-is-not-committed",
    ),
    "whole-database-is-clean": Mutant(
        "a command that looks at every key waits for nothing",
        _Shard,
        "_position_seen",
        "return self.tracker.latest",
        "return 0",
        schedule="looks-at-what-is-not-committed",
    ),
    "looked-up-keys-forgotten": Mutant(
        "keys that SORT looks up by a pattern count for nothing",
        memstore.replication.looked_keys,
        "keys_of",
        "named += context.looked",
        "pass",
        schedule="looks-at-what-is-not-committed",
    ),
    "spop-logged-as-spop": Mutant(
        "a removal of one member is logged as SPOP: each replica draws its own",
        memstore.commands.sets,
        "_note",
        "key_length, member_length",
        "head, member = (b'*3\\r\\n$4\\r\\nSPOP\\r\\n', b'1') if head is _SREM_HEAD else (head, "
        "member); key_length, member_length",
        schedule="one-of-many-members",
    ),
    "time-goes-back": Mutant(
        "a new primary's clock may be behind the newest entry",
        memstore.node.clocks.WallClock,
        "raise_floor",
        "if ms > self.floor_ms:",
        "if False:",
        schedule="successor-whose-clock-is-behind",
    ),
    "session-goes-back": Mutant(
        "a session read is answered wherever this node is",
        _Shard,
        "_fresh",
        " and self.applied[1] >= session.seen",
        "",
        schedule="session-on-a-node-that-starts-again",
    ),
    "sync-error-survived": Mutant(
        "a failed sync is taken for a good one",
        _Driver,
        "_sync_here",
        "error = caught",
        "pass",
        schedule="sync-fails-and-power-goes",
    ),
    "digest-of-what-gathers": Mutant(
        "a digest tells of effects that are not yet in the log",
        memstore.node.primary.PrimaryDriver,
        "_append_digest",
        "if shard.has_entries:",
        "if False:",
    ),
    "learner-counts-at-once": Mutant(
        "a learner is a member in full from the start",
        txlog.storage.store.LogStore,
        "open",
        "learner=True) if learner else None",
        "learner=True) if False else None",
        schedule="learner-that-hears-only-who-lacks-the-write",
    ),
    "learner-asks-one": Mutant(
        "one answer is enough for a learner",
        _Learner,
        "_count",
        "if len(self._answers) < self._log.majority:",
        "if not self._answers:",
        schedule="learner-that-hears-only-who-lacks-the-write",
    ),
    "learner-does-not-wait": Mutant(
        "a learner that has copied all counts, whatever the lost node had granted",
        _Learner,
        "look",
        "self.deadline = now_us + window_us(self._lease_ms)",
        "self.deadline = now_us",
        schedule="lease-that-the-lost-node-granted",
    ),
    "membership-goes-down": Mutant(
        "a lower membership version is taken",
        _LogNode,
        "_adopt",
        "return Reject(reason)\n    if wanted.version > identity.membership:",
        "pass\n    if wanted.version != identity.membership:",
        schedule="operator-who-comes-late",
    ),
    "membership-before-disk": Mutant(
        "a new membership version is acted on a second before it is on disk",
        _LogNode,
        "_adopt",
        "self._folder.take_membership(wanted.version, wanted.members)",
        "vars(self)['ahead'] = type(identity)(identity.group, identity.node, wanted.version, "
        "list(wanted.members), identity.logs, identity.folder); "
        "asyncio.get_running_loop().call_later(1, self._folder.take_membership, wanted.version, "
        "wanted.members)",
        more=(
            (
                "identity",
                "return self._folder.identity",
                "return vars(self).get('ahead') or self._folder.identity",
            ),
        ),
        schedule="power-lost-behind-a-new-membership",
    ),
    "old-sessions-go-on": Mutant(
        "what was said under the old membership is answered under the new one",
        _LogNode,
        "_adopt",
        "if connection.log_name:",
        "if False:",
        schedule="writer-who-still-has-the-lost-node",
    ),
    "pending-acks-survive": Mutant(
        "acks that wait for the disk are given before the sessions of the old membership end",
        txlog.server.connection.CallerConnection,
        "retire",
        "if self._session is not None:",
        "if self._session is not None and self._session._source._waiting: "
        "self._loop.call_later(0.01, self.retire, reject); return\n"
        "    if self._session is not None:",
        schedule="ack-on-its-way-when-the-membership-changes",
    ),
    "learner-forgets-promises": Mutant(
        "a learner copies entries only, and no promise",
        _Learner,
        "look",
        "if self._floor > log.promise.term:",
        "if False:",
        schedule="writer-whom-the-lost-node-had-promised",
    ),
    "one-log-node-tells-who-leads": Mutant(
        "a replica believes the log node that it reads about who leads",
        _Roles,
        "on_campaign_lost",
        "self.windows.on_answers(windows, now_us)",
        "pass",
        schedule="primary-seen-through-other-log-nodes",
        more=(("on_probe", "self.windows.on_answers(windows, now_us)", "pass"),),
    ),
    "window-seen-for-good": Mutant(
        "a window that was seen once is taken for open from then on",
        memstore.replication.lease_windows.LeaseWindows,
        "is_alive",
        " and (now_us < max(self._here_until, self._elsewhere_until))",
        "",
        schedule="dead-primary-behind-a-lost-path",
    ),
    "history-names-the-primary": Mutant(
        "a LEADERSHIP entry of the past names the primary of the present",
        _Roles,
        "on_leadership",
        "self.primary = self.windows.live_primary(now_us)",
        "self.primary = leadership",
        schedule="everything-starts-again",
    ),
    "another-seal-on-time-out": Mutant(
        "a Seal that log nodes work on is given up when its time is over",
        _Proposer,
        "_judge_ballot",
        "elif final and self._worth_waiting(ballot, self._probed):",
        "elif False:",
        schedule="takeover-on-slow-disks",
    ),
    "commit-timeout-of-quick-disks": Mutant(
        "a writer stops renewing when a commit takes longer than a lease, whatever the disks were "
        "measured to need",
        txlog.consensus.pace.Pace,
        "commit_timeout_us",
        "max(lease_ms * 1000, 2 * self.disk_us)",
        "lease_ms * 1000",
        schedule="first-entry-slower-than-a-lease",
    ),
    "all-that-gathered-in-flight": Mutant(
        "what is in flight follows neither the measured commits nor the lease",
        memstore.replication.commit_rate.CommitRate,
        "room",
        "return self.limit - self.in_flight",
        "return 1 << 40",
        schedule="large-writes-on-slow-disks",
        more=(("piece", "return max(self.limit // 2, PIECE_LEAST_BYTES)", "return 1 << 40"),),
    ),
    "seals-overtake-one-another": Mutant(
        "a log node takes a Seal while another candidate's promise is on its way to disk",
        _Acceptor,
        "_on_seal",
        "if not held and self._promises_another(message.incarnation):",
        "if False:",
        schedule="candidates-that-overtake-one-another",
    ),
    "room-counted-twice": Mutant(
        "a segment's blocks are free until the queue is written",
        txlog.storage.store.LogStore,
        "_may_roll",
        " and self._rolls_done == self._rolls_asked",
        "",
        schedule="disk-full-behind-a-queue",
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The named bug in the real code, until the end of the block."""
    mutant = MUTANTS[name]
    with ExitStack() as undo:
        for piece in mutant.pieces:
            plant(mutant.owner, *piece, undo)
        yield


def plant(owner: Any, function: str, old: str, new: str, undo: ExitStack) -> None:
    original = inspect.getattr_static(owner, function)
    changed = _rewritten(owner, function, old, new)
    for place in [owner, *_users(owner, function, original)]:
        setattr(place, function, changed)
        undo.callback(setattr, place, function, original)


def _users(owner: Any, function: str, original: Any) -> list[Any]:
    """Modules that have imported a module's function by name."""
    if inspect.isclass(owner):
        return []
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(("txlog.", "memstore."))
        and module is not owner
        and getattr(module, function, None) is original
    ]


def rewritten(mutant: Mutant) -> list[Any]:
    return [_rewritten(mutant.owner, *piece) for piece in mutant.pieces]


def _rewritten(owner: Any, function: str, old: str, new: str) -> Any:
    module = sys.modules[owner.__module__ if inspect.isclass(owner) else owner.__name__]
    source = _source(owner, function)
    assert source.count(old) == 1, f"{function} holds {source.count(old)} times {old!r}"
    scope: dict[str, Any] = {}
    exec(
        compile(
            "from __future__ import annotations\n" + source.replace(old, new),
            f"<mutant of {function}>",
            "exec",
        ),
        vars(module),
        scope,
    )
    return scope[function]


def _source(owner: Any, function: str) -> str:
    """A function with its decorators as `ast.unparse` writes it: one line a statement."""
    whole = inspect.getsource(owner).splitlines(keepends=True)
    starts = [at for at, line in enumerate(whole) if line.lstrip().startswith(f"def {function}(")]
    assert len(starts) == 1, f"{function} is there {len(starts)} times"
    first = starts[0]
    indent = len(whole[first]) - len(whole[first].lstrip())
    while first and whole[first - 1].startswith(" " * indent + "@"):
        first -= 1
    text = "".join([*whole[first : starts[0]], *inspect.getblock(whole[starts[0] :])])
    return ast.unparse(ast.parse(textwrap.dedent(text)))


# --------------------------------------------------------------------------- how soon each is found


def hunt(name: str, first: int, seeds: int, processes: int) -> tuple[str, str]:
    """(the schedule or the number of seeds that caught it, by what); an empty first: it survived. A
    schedule that it names is played first.
    """
    from tests.sim.__main__ import many_until_failure  # here: they import this module
    from tests.sim.directed import play
    from tests.sim.directed.stage import NOT_STAGED

    schedule = MUTANTS[name].schedule
    if schedule:
        with planted(name):
            problems = play(schedule)
        if problems and not problems[0].startswith(NOT_STAGED):
            return schedule, problems[0]
    count, reason = many_until_failure(name, first, seeds, processes)
    return (f"{count} seed{'s' if count > 1 else ''}" if count else ""), reason


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    survived = []
    print("| mutant | the bug | caught by | what was seen |\n| --- | --- | --- | --- |", flush=True)
    for name, mutant in MUTANTS.items():
        if args.only and name not in args.only.split(","):
            continue
        began = time.monotonic()
        by, reason = hunt(name, args.first, args.seeds, args.processes)
        if not by:
            survived.append(name)
        print(f"| {name} | {mutant.what} | {by or 'SURVIVED'} | {reason[:110]} |", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"{len(survived)} survived" + (": " + ", ".join(survived) if survived else ""))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
