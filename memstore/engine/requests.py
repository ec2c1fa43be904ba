"""What a command asks of the node it runs on: the shard or the driver takes these after each batch,
in order, and acts.

Decides: what can be asked.
Must not know: how it is done. A command that asks has already answered, unless its request says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memstore.engine.session import Session

# What CLIENT PAUSE holds up, `Engine.pause_mode`.
PAUSE_NONE: Final = 0
PAUSE_WRITE: Final = 1  # commands that may change something
PAUSE_ALL: Final = 2


@dataclass(slots=True)
class CloseSession:
    session: Session
    after_replies: bool  # write what is held first
    hostile: bool = False  # it sent what only a web browser sends


@dataclass(slots=True)
class Sleep:
    """DEBUG SLEEP: hold the loop."""

    us: int


@dataclass(slots=True)
class Pause:
    """CLIENT PAUSE: `Engine.pause_mode` and `Engine.pause_until_ms` are set;
    wake up when the time is over.
    """

    until_ms: int  # wall time


@dataclass(slots=True)
class Unpause:
    """CLIENT UNPAUSE: `Engine.pause_mode` is 0 again; run what waited."""


@dataclass(slots=True)
class Shutdown:
    """SHUTDOWN: hand over (unless ``now``), then end the process. ``force``: end even if what is in
    flight cannot be committed.

    No reply unless it is called off; else the end of the process closes ``session``.
    """

    session: Session
    now: bool
    force: bool


@dataclass(slots=True)
class AbortShutdown:
    """SHUTDOWN ABORT, answered already: a shutdown that has begun (`Engine.shutting_down`) is
    called off if it still can be.
    """


@dataclass(slots=True)
class Handover:
    """Make another node primary. ``wanted``: its id (or the beginning) or ``host:port``, empty: the
    most caught-up.

    ``session`` is blocked until it is over; None: nobody waits.
    """

    session: Session | None
    wanted: str


@dataclass(slots=True)
class AskToLead:
    """CLUSTER FAILOVER at a replica, already answered: ask the primary to hand over to us."""


@dataclass(slots=True)
class ReplicaReport:
    """A replica of this shard speaks over ``session``: who it is (first report)
    and how far it has applied.
    """

    session: Session
    node: str
    az: str
    host: str
    port: int
    incarnation: bytes
    applied: int


@dataclass(slots=True)
class WaitForReplicas:
    """WAIT, WAITAOF, MEMSTORE WAITFOR: ``session`` is blocked until ``replicas`` have applied
    ``position``, or time is up.

    MEMSTORE POSITION: until all that the session has seen is committed.
    """

    session: Session
    position: int
    replicas: int
    timeout_ms: int  # 0: none
    form: str  # "wait", "waitaof", "waitfor", "position"
    local: int = 0  # waitaof: whether this primary's own durability is asked for


Request = (
    CloseSession | Sleep | Pause | Unpause | Shutdown | AbortShutdown
    | Handover | AskToLead | ReplicaReport | WaitForReplicas
)  # fmt: skip
