"""How many clients the limit on open files (RLIMIT_NOFILE) leaves room for.

Decides: what is kept back for everything that is not a client, and what maxclients may be.
Must not know: who opens what.

Each client takes one descriptor. Without a reserve the last client would take the descriptor that
the log's next segment, a connection to a log node or the answer to one client too many needs.
Connections that are refused need a descriptor too, until the error is on its way, so the queue of
connections that wait to be accepted has to fit into the reserve.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

# descriptors: files, the loop's own, log nodes, other nodes, the lease's process,
# and clients that are refused
RESERVED: Final = 64
# of those: connections that wait to be accepted, at most, where the limit is low
REFUSED: Final = 24


@dataclass(frozen=True)
class Room:
    limit: int  # descriptors that this process may have open
    clients: int  # what maxclients may be
    backlog: int  # connections that may wait to be accepted

    @property
    def enough(self) -> bool:
        return self.clients > 0


def plan(clients: int, backlog: int, soft: int, hard: int) -> Room:
    """``soft`` and ``hard``: the present limits, -1 for none.
    The soft one may be raised up to the hard one.
    """
    wanted = clients + RESERVED
    if soft < 0 or soft >= wanted:
        return Room(soft, clients, backlog)
    limit = wanted if hard < 0 else min(wanted, hard)
    limit = max(limit, soft)
    if limit >= wanted:
        return Room(limit, clients, backlog)
    return Room(limit, limit - RESERVED, min(backlog, REFUSED))


def make_room(clients: int, backlog: int) -> Room:
    """As `plan` says, with the limit raised if it has to be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    room = plan(
        clients, backlog, -1 if soft == infinity else soft, -1 if hard == infinity else hard
    )
    if soft != infinity and room.limit > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (room.limit, hard))
        except (ValueError, OSError):  # not allowed here: what there is has to do
            return plan(clients, backlog, soft, soft)
    return room
