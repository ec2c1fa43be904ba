"""Deliberate bugs of an engine node: roles, tracker, shard, commands.

Decides: what the bugs are. `mutants` plants them.
"""

from __future__ import annotations

import memstore.commands.sets
import memstore.commands.transactions
import memstore.node.clocks
import memstore.node.node
import memstore.node.primary
import memstore.replication.commit_rate
import memstore.replication.dispatch
import memstore.replication.lease_windows
import memstore.replication.looked_keys
import memstore.replication.roles
import memstore.replication.tracker
import memstore.replication.units
from tests.sim.mutant import Mutant

_Roles = memstore.replication.roles.Roles
_Dispatcher = memstore.replication.dispatch.Dispatcher
_Tracker = memstore.replication.tracker.Tracker
_Node = memstore.node.node.EngineNode

ENGINE_MUTANTS: dict[str, Mutant] = {
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
        _Dispatcher,
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
        _Dispatcher,
        "_flush",
        "if hold_at <= self.tracker.committed:",
        "if True:",
    ),
    "exec-before-commit": Mutant(
        "EXEC's reply leaves before its commit",
        _Dispatcher,
        "_emit",
        "if hold_at <= self.tracker.committed:",
        "if True:",
    ),
    "replies-out-of-order": Mutant(
        "a reply overtakes one that is held",
        _Dispatcher,
        "run",
        "hold_at = session.held[-1][0] if session.held else 0",
        "hold_at = 0",
    ),
    "unit-in-halves": Mutant(
        "a transaction's effects go into entries of their own",
        memstore.replication.units.EntryBuilder,
        "_close_unit",
        "self.gathered.append(payload)",
        "[(self.gathered.append(piece), self._close_entry()) for piece in unit[:-1]]; payload = "
        "unit[-1]; self.gathered.append(payload)",
    ),
    "replica-expires-by-own-clock": Mutant(
        "a replica judges expiry by its own clock",
        _Dispatcher,
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
        _Dispatcher,
        "_run_one",
        "if self.role is not PRIMARY and refusals.needs_freshness(session, row):",
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
    "read-of-dirty-key-leaves": Mutant(
        "a plain read waits for nothing",
        _Dispatcher,
        "run",
        "tracker.position_of_all(keys_of(context, row, argv)), 0",
        "0, 0",
    ),
    "error-is-clean": Mutant(
        "an error reply waits for nothing",
        _Dispatcher,
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
        _Dispatcher,
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
        _Dispatcher,
        "_fresh",
        " and self.applied[1] >= session.seen",
        "",
        schedule="session-on-a-node-that-starts-again",
    ),
    "digest-of-what-gathers": Mutant(
        "a digest tells of effects that are not yet in the log",
        memstore.node.primary.PrimaryDriver,
        "_append_digest",
        "if shard.has_entries:",
        "if False:",
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
    "all-that-gathered-in-flight": Mutant(
        "what is in flight follows neither the measured commits nor the lease",
        memstore.replication.commit_rate.CommitRate,
        "room",
        "return self.limit - self.in_flight",
        "return 1 << 40",
        schedule="large-writes-on-slow-disks",
        more=(("piece", "return max(self.limit // 2, PIECE_LEAST_BYTES)", "return 1 << 40"),),
    ),
}
