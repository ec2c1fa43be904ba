"""What a command asks of the node it runs on: the shard or the driver takes these after each batch, in order, and acts.

Decides: what can be asked. Must not know: how it is done. A command that asks has already answered, unless its request says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from memstore.engine.session import Session


@dataclass(slots=True)
class CloseSession:
    session: Session
    after_replies: bool  # write what is held first


@dataclass(slots=True)
class Sleep:
    """DEBUG SLEEP: hold the loop."""

    us: int


@dataclass(slots=True)
class Pause:
    """CLIENT PAUSE: `Engine.pause_mode` and `Engine.pause_until_ms` are set; wake up when the time is over."""

    until_ms: int  # wall time


@dataclass(slots=True)
class Unpause:
    """CLIENT UNPAUSE: `Engine.pause_mode` is 0 again; run what waited."""


@dataclass(slots=True)
class Shutdown:
    """SHUTDOWN: hand over (unless ``now``), then end the process. ``force``: end even if what is in flight cannot be committed.

    No reply unless it is called off; else the end of the process closes ``session``.
    """

    session: Session
    now: bool
    force: bool


@dataclass(slots=True)
class AbortShutdown:
    """SHUTDOWN ABORT, answered already: a shutdown that has begun (`Engine.shutting_down`) is called off if it still can be."""


Request = CloseSession | Sleep | Pause | Unpause | Shutdown | AbortShutdown
