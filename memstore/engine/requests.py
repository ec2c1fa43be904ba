"""What a command asks of the node it runs on; the driver takes these after each batch and acts."""

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


Request = CloseSession | Sleep
