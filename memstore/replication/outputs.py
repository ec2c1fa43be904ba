"""What the role machine asks of the node's driver. Outputs take effect in the order of their list.

Decides: nothing; it is the vocabulary between `roles` and `memstore.node.node`.
Must not know: sockets, the log client.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Follow:
    """Subscribe after the newest entry followed; a subscription that is open already goes on."""


@dataclass(slots=True)
class StopFollowing:
    """Close the subscription."""


@dataclass(slots=True)
class RestoreFromLog:
    """Memory may hold changes that never happened. Discard it and follow the log from its first
    entry.
    """


@dataclass(slots=True)
class IgnoreDigests:
    """A digest stopped the follower and the log contradicts it: go on after it."""


@dataclass(slots=True)
class HideUntilCaughtUp:
    """Memory is a committed state, but perhaps no longer the newest. Show none of it until the log
    has been followed to its present end.
    """


@dataclass(slots=True)
class BecomeReplica:
    """Serve reads. Memory is a committed state, and the log was followed to the end known at the
    start.
    """


@dataclass(slots=True)
class AskProbe:
    """Ask whether a majority of log nodes would promise now. Answered by ``on_probe``."""


@dataclass(slots=True)
class StartCampaign:
    """W1 and W2. Answered by ``on_campaign_won`` (prefix applied) or ``on_campaign_lost``."""


@dataclass(slots=True)
class AbandonWriter:
    """The campaign was won too late, or its prefix could not be applied. Stop the writer without
    serving.
    """


@dataclass(slots=True)
class TakeOver:
    """Serve as primary with the writer just won."""


@dataclass(slots=True)
class StepDown:
    """Stop the writer and send every client what is known of its commands. Answered by
    ``on_stepped_down(clean)``.
    """

    reason: str
    reserved: bool = False  # a hand-over: the lease was released to a successor


@dataclass(slots=True)
class HoldCommands:
    """Hand-over: commands that arrive from now on wait; none fails. When everything executed is
    committed, the driver calls ``on_drained``.
    """


@dataclass(slots=True)
class ReleaseCommands:
    """Run the commands that were held."""


@dataclass(slots=True)
class AppendHandover:
    """Stop serving reads and append the HANDOVER entry. ``on_handover_committed`` reports its
    commit.
    """

    payload: bytes


@dataclass(slots=True)
class ReleaseLease:
    """Rule L4. Answered by ``on_released``."""

    successor: bytes


@dataclass(slots=True)
class HandoverOver:
    """Notify the requester. ``error`` is empty when the lease was released to ``successor``."""

    error: str
    successor: str = ""


@dataclass(slots=True)
class Exit:
    code: int
    reason: str


@dataclass(slots=True)
class LogEvent:
    """A line for the event log. ``event`` is stable, for tools; ``text`` is for people."""

    event: str
    text: str
    warning: bool = False


Output = (
    Follow
    | StopFollowing
    | RestoreFromLog
    | IgnoreDigests
    | HideUntilCaughtUp
    | BecomeReplica
    | AskProbe
    | StartCampaign
    | AbandonWriter
    | TakeOver
    | StepDown
    | HoldCommands
    | ReleaseCommands
    | AppendHandover
    | ReleaseLease
    | HandoverOver
    | Exit
    | LogEvent
)
