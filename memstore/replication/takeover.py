"""The two ends of a primary's term: whether a node may serve a campaign that it won, and when a
hand-over may release the lease.

Decides: only these two answers, for the role machine (`roles`).
Must not know: sockets, the log client, how a campaign is won.

Invariant: a node serves a term only when its memory is the log up to the term's own first entry.
"""

from __future__ import annotations

from memstore.replication.roles import CANDIDATE


def may_apply_prefix(role: str, same_memory: bool) -> bool:
    """A campaign was won. ``same_memory``: memory was not discarded since it began. If it was, or
    if the node is no longer a candidate, the prefix does not follow what is in memory.
    """
    return role == CANDIDATE and same_memory


def why_lost(lost: str, applied: int, next_position: int) -> str:
    """The prefix is applied up to ``applied``. Returns why the term is still lost; "": serve it.
    ``lost``: the writer's reason. ``next_position``: where the writer appends next.
    """
    if lost:
        return lost
    if applied >= next_position:
        # The answers came late. Other writers have sealed, written and committed after this term's
        # first entry.
        return f"others went on to {applied}"
    if applied < next_position - 1:
        return "the term was sealed again, and the log goes on behind the prefix"
    return ""


def may_release(in_flight: int, lost: str, current: bool) -> bool:
    """The HANDOVER entry is committed. If the term was sealed again since then, its LEADERSHIP
    follows that entry and must be committed first. A writer that is lost, or no longer ``current``,
    does not wait.
    """
    return not in_flight or bool(lost) or not current
