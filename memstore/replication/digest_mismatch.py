"""What becomes of a node whose memory is not what a DIGEST entry says the primary's was.

Decides: whether to restore again from the log's first entry, to believe the log against the
primary, or to serve no more.
Must not know: roles, the log, memory.

One difference does not say who is wrong. What the log says does: if memory differs from the digest,
and differs in the same way when it has been made anew from the log, the digest is wrong: that
primary's memory was damaged, or it did something else than it logged. The log is what was
acknowledged, and no other copy of the truth is left once that primary is gone. So its digests are
overruled. While it leads, this node does not serve all the same: clients would be told two stories.
A memory that comes out different each time is of no use to anybody: after a bounded number of tries
this node serves no more in this life.
Invariant: for one position memory is made at most `TRIES_MAX` times.
"""

from __future__ import annotations

from typing import Final

from memstore.replication.follower import Difference

RESTORE: Final = "restore"
IGNORE: Final = "ignore"
GIVE_UP: Final = "give up"

TRIES_MAX: Final = 3  # digests of this node's own at one position
POSITIONS_MAX: Final = 256  # remembered; the oldest go first


class DigestMismatches:
    __slots__ = ("_seen", "count", "distrusted", "distrusted_author", "position", "trouble")

    def __init__(self) -> None:
        self.count = 0  # differences found in this life
        self.position = 0  # of the newest
        # incarnation of a primary that was overruled and may lead still; empty: none
        self.distrusted_author = b""
        self.distrusted: set[bytes] = set()  # the followers share it
        self.trouble = ""  # what is the matter now, for people
        self._seen: dict[int, list[bytes]] = {}  # position -> what the digest was here, each time

    def decide(self, difference: Difference) -> str:
        self.count += 1
        position = self.position = difference.position
        seen = self._seen.setdefault(position, [])
        again = difference.mine in seen
        seen.append(difference.mine)
        if len(self._seen) > POSITIONS_MAX:
            del self._seen[min(self._seen)]
        where = (
            f"at position {position} the digest is {difference.mine.hex()} here and "
            f"{difference.theirs.hex()} at the primary"
        )
        if again:
            self.distrusted_author = difference.author
            self.trouble = (
                f"{where}, also after restoring from the log: that primary's memory was not "
                "what the log says, and this node serves when it is gone"
            )
            return IGNORE
        if len(seen) >= TRIES_MAX:
            self.trouble = (
                f"{where}, and was another one each time that the log was followed from its "
                "beginning: this node serves no more"
            )
            return GIVE_UP
        self.trouble = f"{where}: restoring from the log"
        return RESTORE

    def on_author_gone(self) -> None:
        """The primary that was overruled does not lead any more."""
        self.distrusted_author = b""

    def on_serving(self) -> None:
        self.trouble = ""
