"""The two ends of a primary's term: whether a campaign that was won may be served, and when the
lease of a hand-over may be released.

Decides: nothing else. The role machine (`roles`) is told the answer.
Must not know: sockets, the log client, how a campaign is won.

Invariant: a node serves a term only when its memory is the log up to the term's own first entry.
"""

from __future__ import annotations

from memstore.replication.roles import CANDIDATE


def may_apply_prefix(role: str, same_memory: bool) -> bool:
    """A campaign was won. ``same_memory``: memory was not thrown away since it began; if it was, or
    the node is no candidate any more, the prefix does not belong behind what is in memory.
    """
    return role == CANDIDATE and same_memory


def why_lost(lost: str, applied: int, next_position: int) -> str:
    """The prefix is applied up to ``applied``. Why the term is lost all the same; empty: serve it.
    ``lost``: what the writer says. ``next_position``: the one that it appends next.
    """
    if lost:
        return lost
    if applied >= next_position:
        # The answers were long on their way. Others have sealed, written and committed behind this
        # term's first entry.
        return f"others went on to {applied}"
    if applied < next_position - 1:
        return "the term was sealed again, and the log goes on behind the prefix"
    return ""


def may_release(in_flight: int, lost: str, current: bool) -> bool:
    """The HANDOVER entry is committed. A term sealed again since then has its LEADERSHIP behind it,
    and that is committed first. A writer that is lost, or not ``current`` any more, waits no
    longer.
    """
    return not in_flight or bool(lost) or not current
