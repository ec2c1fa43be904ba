"""Deliberate bugs of the log: its machines, its storage, its service and its client.

Decides: what the bugs are. `mutants` plants them.
"""

from __future__ import annotations

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
import txlog.storage.log_writer
import txlog.storage.store
from tests.sim.mutant import Mutant

_Acceptor = txlog.consensus.acceptor.Acceptor
_Proposer = txlog.consensus.proposer.Proposer
_Sender = txlog.consensus.sender.Sender
_Writer = txlog.client.writer.Writer
_Driver = txlog.server.driver.LogDriver
_Repair = txlog.consensus.repair.Repair
_Learner = txlog.consensus.learner.Learner
_LogNode = txlog.server.node.LogNode
_Carrier = txlog.storage.jobs._Carrier

LOG_MUTANTS: dict[str, Mutant] = {
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
    "uncommitted-is-served": Mutant(
        "readers get what is not committed",
        _Acceptor,
        "readable_upto",
        "self._run_end(start, self.committed)",
        "self._run_end(start, self.last[1])",
    ),
    "claims-too-much": Mutant(
        "a frame says synced of what is not",
        txlog.storage.log_writer.LogWriter,
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
    "sync-error-survived": Mutant(
        "a failed sync is taken for a good one",
        _Driver,
        "_sync_here",
        "error = caught",
        "pass",
        schedule="sync-fails-and-power-goes",
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
        txlog.storage.log_writer.LogWriter,
        "_may_roll",
        " and self._rolls_done == self._rolls_asked",
        "",
        schedule="disk-full-behind-a-queue",
    ),
}
