"""How many clients the limit on open files (RLIMIT_NOFILE) leaves room for.

Decides: how many descriptors are reserved for everything that is not a client, and the largest
maxclients.
Must not know: what the descriptors are opened for.

Each client takes one descriptor. Without a reserve, the last client would take a descriptor that
others need: the log's next segment, a connection to a log node, or the refusal of one client too
many. A refused connection also needs a descriptor until the error is sent. So the queue of
connections that wait to be accepted must fit into the reserve.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

# descriptors: files, the loop's own, log nodes, other nodes, the lease keeper, and clients that are
# refused
RESERVED: Final = 64
# of those: the most connections that may wait to be accepted, where the limit is low
REFUSED: Final = 24


@dataclass(frozen=True)
class Room:
    limit: int  # descriptors that this process may have open
    clients: int  # the largest maxclients
    backlog: int  # connections that may wait to be accepted

    @property
    def enough(self) -> bool:
        return self.clients > 0


def plan(clients: int, backlog: int, soft: int, hard: int) -> Room:
    """``soft`` and ``hard``: the present limits, -1 for none. The soft limit may be raised up to
    the hard one.
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
    """Apply `plan`, and raise the limit if necessary."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    room = plan(
        clients, backlog, -1 if soft == infinity else soft, -1 if hard == infinity else hard
    )
    if soft != infinity and room.limit > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (room.limit, hard))
        except (ValueError, OSError):  # not allowed here: the present limit must do
            return plan(clients, backlog, soft, soft)
    return room
