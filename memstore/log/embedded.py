"""The embedded log: txlog's log node in this process as a `Log`.

Decides: nothing. It speaks the quorum log's protocol to a group of one.
Must not know: what entries mean.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from memstore.log.quorum import QuorumLog
from txlog.client import LogAddress
from txlog.clock import now_us
from txlog.embedded import make_client


class EmbeddedLog(QuorumLog):
    """Implements `interface.Log`. ``address`` names a folder."""

    def __init__(
        self,
        address: LogAddress,
        az: str,
        rng: random.Random,
        clock: Callable[[], int] = now_us,
    ) -> None:
        assert address.embedded, "a folder is needed"
        super().__init__(make_client(address, az, rng, None, clock, create=True))
