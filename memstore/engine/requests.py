"""What a command asks of its node. After each batch the shard or the driver takes these in order.

Decides: which requests exist.
Must not know: how the node carries them out.

A command that makes a request has already answered, unless the request says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memstore.engine.session import Session

# What CLIENT PAUSE delays, `Engine.pause_mode`.
PAUSE_NONE: Final = 0
PAUSE_WRITE: Final = 1  # commands that may change something
PAUSE_ALL: Final = 2


@dataclass(slots=True)
class CloseSession:
    session: Session
    after_replies: bool  # write the held replies first
    hostile: bool = False  # it sent what only a web browser sends


@dataclass(slots=True)
class Sleep:
    """DEBUG SLEEP: block the loop."""

    us: int


@dataclass(slots=True)
class Pause:
    """CLIENT PAUSE: `Engine.pause_mode` and `Engine.pause_until_ms` are set.
    The node wakes up when the pause ends.
    """

    until_ms: int  # wall time


@dataclass(slots=True)
class Unpause:
    """CLIENT UNPAUSE: `Engine.pause_mode` is 0 again; the node runs the waiting commands."""


@dataclass(slots=True)
class Shutdown:
    """SHUTDOWN: hand over (unless ``now``), then end the process.

    ``force``: end even if the entries in flight cannot be committed. The command gets a reply only
    if the shutdown is aborted. Otherwise the end of the process closes ``session``.
    """

    session: Session
    now: bool
    force: bool


@dataclass(slots=True)
class AbortShutdown:
    """SHUTDOWN ABORT, already answered.
    It aborts a shutdown that has begun (`Engine.shutting_down`), if that is still possible.
    """


@dataclass(slots=True)
class Handover:
    """Make another node primary.

    ``wanted``: its id, the start of its id, or ``host:port``; empty: the most caught-up node.
    ``session`` is blocked until the handover is over; None: no session waits.
    """

    session: Session | None
    wanted: str


@dataclass(slots=True)
class AskToLead:
    """CLUSTER FAILOVER at a replica, already answered: ask the primary to hand over to us."""


@dataclass(slots=True)
class ReplicaReport:
    """A replica of this shard reports over ``session`` its identity (first report) and its applied
    position.
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
    """WAIT, WAITAOF, MEMSTORE WAITFOR: block ``session`` until ``replicas`` have applied
    ``position``.

    The wait also ends when the time is up. MEMSTORE POSITION waits until everything that the
    session has seen is committed.
    """

    session: Session
    position: int
    replicas: int
    timeout_ms: int  # 0: no timeout
    form: str  # "wait", "waitaof", "waitfor", "position"
    local: int = 0  # waitaof: 1 asks for this primary's own durability


Request = (
    CloseSession | Sleep | Pause | Unpause | Shutdown | AbortShutdown
    | Handover | AskToLead | ReplicaReport | WaitForReplicas
)  # fmt: skip
