"""What `memstore local` prints about its nodes while they run: roles, silence, progress of a
restore, and whether a majority of log nodes runs.

Decides: which answers of a node get a line.
Must not know: how nodes are asked and how processes are started.
Invariant: while no majority of log nodes runs, role changes of engine nodes get no line. One line
says why writes wait, and one says that they go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from memstore.ops.member import Member
from memstore.ops.resp_client import NoAnswer, parse_info

# after a majority is back, no lines about roles for this time, unless a primary shows
SETTLE_S: Final = 15.0

Say = Callable[[str], None]


class RoleReports:
    def __init__(self, say: Say) -> None:
        self._say = say
        self._waiting = False  # no majority of log nodes
        self._quiet_until = 0.0  # a majority is back, and no primary was seen since

    # ----------------------------------------------------------------- log nodes

    def on_logs(self, logs: list[Member], now_s: float) -> None:
        """The present state of the log nodes; called repeatedly."""
        down = [member for member in logs if member.child is None or member.child.suspended()]
        needed = len(logs) // 2 + 1
        lost = len(logs) - len(down) < needed
        if lost and not self._waiting:
            names = ", ".join(member.process.name for member in down)
            self._say(f"no majority of log nodes ({names} down): writes wait, reads are refused")
        elif self._waiting and not lost:
            self._say("a majority of log nodes runs again: writes go on")
            self._quiet_until = now_s + SETTLE_S
        self._waiting = lost

    def _quiet(self, role: str, now_s: float) -> bool:
        """Whether roles get no line now. The first primary after the outage ends the quiet time."""
        if not self._waiting and role == "primary":
            self._quiet_until = 0.0
        return self._waiting or now_s < self._quiet_until

    # ----------------------------------------------------------------- engine nodes

    def on_no_answer(self, member: Member, error: NoAnswer) -> None:
        if (
            member.silent
            or member.stopping
            or not member.role
            or member.child is None
            or member.child.ended() is not None
        ):
            return  # reported already, not up yet, being stopped, or dead: dead has its own line
        member.silent = True
        self._say(f"{member.process.name} does not answer: {error}")

    def on_answer(self, member: Member, answer: object) -> None:
        name = member.process.name
        if member.silent:
            member.silent = False
            self._say(f"{name} answers again")
        if not isinstance(answer, bytes):
            if member.note != str(answer):
                member.note = str(answer)
                self._say(f"{name}: {answer}")
            return
        member.facts = parse_info(answer)
        role = member.facts.get("memstore_role") or member.facts.get("role", "")
        now_s = time.monotonic()
        if role == "restoring":
            self._on_restoring(member, now_s)
        if role != member.role and not self._quiet(role, now_s):
            self._on_role(member, role)

    def _on_role(self, member: Member, role: str) -> None:
        before, member.role = member.role, role
        if role == "restoring" and not before:
            return  # every node starts so; a long restore has its own lines
        if role == "primary":
            term = member.facts.get("log_term", "")
            self._say(
                f"{member.process.name} is the primary now{f', term {term}' if term else ''}: "
                f"redis-cli -p {member.process.port}"
            )
            return
        came = f"{before} -> " if before not in ("", "restoring") else ""
        self._say(f"{member.process.name}: {came}{role}")

    def _on_restoring(self, member: Member, now_s: float) -> None:
        """Once a second, print the progress and speed of the restore."""
        done, target = (
            int(member.facts.get(name, "0")) for name in ("log_applied", "log_restore_target")
        )
        then, before = member.progress
        if done < before or not then:
            member.progress = now_s, done
        elif now_s - then >= 1 and done < target:
            rate = int((done - before) / (now_s - then))
            member.progress = now_s, done
            self._say(
                f"{member.process.name} is restoring: {done:,} of {target:,} entries, {rate:,} a "
                "second"
            )
