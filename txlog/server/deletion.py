"""One log node's part in `txlog delete-log`: the steps that delete a log.

Decides: which step may follow which, and when a log is in use.
Must not know: what the other nodes of the group have done; `tools.delete` has the order.

A deletion has three steps. Every node of the group completes a step before any node begins the next
one:

  mark    The log leaves the node's list of logs, in one write of the identity. From then on the
          node neither serves the log nor votes in it.
  remove  The node removes the folder, then its identity says "gone".
  clear   The name is free: a writer may make a new log of it.

So a copy with entries never votes beside an empty log of the same name. After a crash, a node has a
whole log, or one that is marked or gone and does not vote. Another run of the command finishes the
deletion.
Invariant: a node whose log was marked has it as "kept" again only after a new creation.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from txlog import handshake
from txlog.address import valid_log_name
from txlog.messages import DeleteLog, LogDeletion, Reject
from txlog.server.identity import GONE, KEPT, MARKED, NONE, DataFolder, DiskFull
from txlog.server.membership import superseded

LOOK: Final = "look"
MARK: Final = "mark"
REMOVE: Final = "remove"
CLEAR: Final = "clear"
# the states from which a step does its work
_FROM: Final = {MARK: (NONE, KEPT), REMOVE: (MARKED,), CLEAR: (GONE,)}
# In these states the step is too early. In all other states it was done already.
_BEFORE: Final = {REMOVE: (NONE, KEPT), CLEAR: (MARKED,)}

log = structlog.get_logger("txlog.deletion")


class NodeLogs(Protocol):
    """What a deletion needs of the log node."""

    def in_use(self, name: str) -> str: ...  # the writer or reader that uses it, "" for none
    def last_position(self, name: str) -> int: ...
    # end every connection of the log and close its files
    async def close_log(self, name: str) -> None: ...


class Deletions:
    def __init__(self, folder: DataFolder, logs: NodeLogs) -> None:
        self._folder = folder
        self._logs = logs
        self._one_by_one = asyncio.Lock()

    async def step(self, wanted: DeleteLog) -> LogDeletion | Reject:
        """Raises OSError when the identity cannot be written: the disk has failed."""
        async with self._one_by_one:
            if reason := self._refusal(wanted):
                return reason
            try:
                return await self._do(wanted.log, wanted.step)
            except DiskFull:
                return Reject(
                    f"{handshake.BUSY}: the disk of this log node is full, nothing was changed"
                )

    def _refusal(self, wanted: DeleteLog) -> Reject | None:
        identity = self._folder.identity
        if not identity.group or wanted.group != identity.group_id:
            return Reject(
                f"{handshake.GROUP}: this log node belongs to "
                f"{'another group' if identity.group else 'no group yet'}"
            )
        if wanted.version != identity.membership or identity.replaced:
            return superseded(
                identity,
                f"the deletion goes by version {wanted.version}, this log node by "
                f"{identity.membership}",
            )
        if not valid_log_name(wanted.log):
            return Reject(f"{handshake.NAME}: {wanted.log[:80]!r} is not a log's name")
        if wanted.step != LOOK and wanted.step not in _FROM:
            return Reject(f"{handshake.PROTOCOL}: {wanted.step[:80]!r} is no step of a deletion")
        state = self._folder.deletion_of(wanted.log)
        if state in _BEFORE.get(wanted.step, ()):
            return Reject(
                f"{handshake.LOG}: log '{wanted.log}' is '{state}' here, it is too early to "
                f"{wanted.step} it"
            )
        if (
            wanted.step == MARK
            and state in (NONE, KEPT)
            and (reason := self._logs.in_use(wanted.log))
        ):
            return Reject(f"{handshake.BUSY}: {reason}")
        return None

    async def _do(self, name: str, step: str) -> LogDeletion | Reject:
        folder = self._folder
        last, in_use = self._logs.last_position(name), self._logs.in_use(name)
        if folder.deletion_of(name) not in _FROM.get(step, ()):
            return LogDeletion(name, folder.deletion_of(name), last, in_use)
        if step == MARK:
            folder.mark_log(name)
            await self._logs.close_log(name)
            log.info("log is not served any more: it is being deleted", log=name, last=last)
        elif step == REMOVE:
            try:
                await asyncio.get_running_loop().run_in_executor(None, folder.remove_log, name)
            except DiskFull:
                raise
            except OSError as error:
                # the mark stays, so the log votes nowhere; the operator can repair the folder and
                # run the command again
                return Reject(
                    f"{handshake.LOG}: {error.filename or folder.log_folder(name)} cannot be "
                    f"removed: {error.strerror or error}"
                )
            log.info("folder of a deleted log removed", log=name)
        else:
            folder.clear_log(name)
            log.info("log deleted", log=name)
        return LogDeletion(name, folder.deletion_of(name), last, "")
