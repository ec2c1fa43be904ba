"""Chooses the log that an address names.

Decides: the class of log for each form of address, and its settings.
Must not know: what the log is used for.
"""

from __future__ import annotations

import random

from memstore.log.embedded import EmbeddedLog
from memstore.log.quorum import QuorumLog
from txlog.client import LogAddress, LogClient


def make_log(
    address: LogAddress,
    az: str,
    rng: random.Random,
    secret: bytes | None,
    create: bool,
    commit_timeout_ms: int,
) -> QuorumLog:
    """The log is not opened yet. ``create``: a group without a log of this name makes it."""
    log = (
        EmbeddedLog(address, az, rng)
        if address.embedded
        else QuorumLog(LogClient(address, az, rng, secret, create=create))
    )
    log.client.commit_timeout_ms = commit_timeout_ms
    return log
