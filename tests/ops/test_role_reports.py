"""The lines of `memstore local` while log nodes and engine nodes change: few and true."""

from __future__ import annotations

from dataclasses import dataclass

from memstore.ops import role_reports
from memstore.ops.member import Member
from memstore.ops.processes import Child
from memstore.ops.role_reports import RoleReports
from memstore.ops.topology import Process


class Running(Child):
    def __init__(self) -> None:
        super().__init__(1, None)
        self.is_suspended = False

    def ended(self) -> str | None:
        return None

    def suspended(self) -> bool:
        return self.is_suspended


def member(name: str) -> Member:
    kind, az = name.split("-")
    process = Process(name, kind, az, 1, "127.0.0.1", 7000, None, ["x"], ".", "trace")
    made = Member(process, "")
    made.child = Running()
    return made


@dataclass
class Scene:
    def __post_init__(self) -> None:
        self.said: list[str] = []
        self.reports = RoleReports(self.said.append)
        self.logs = [member(f"log-{az}") for az in "abc"]
        self.engine, self.other = member("engine-a"), member("engine-b")

    def role(self, which: Member, role: str) -> None:
        self.reports.on_answer(which, f"memstore_role:{role}\r\nlog_term:3\r\n".encode())

    def look(self) -> None:
        self.reports.on_logs(self.logs, role_reports.time.monotonic())


def test_an_outage_of_the_log_is_two_lines() -> None:
    """Earlier, it was eight lines a second: every engine node campaigned again and again."""
    scene = Scene()
    scene.role(scene.engine, "primary")
    scene.role(scene.other, "replica")
    scene.said.clear()
    scene.logs[0].child = None
    scene.look()
    assert scene.said == [], "two of three are a majority"
    scene.logs[1].child = None
    for _ in range(20):
        scene.look()
        for role in ("candidate", "replica"):
            scene.role(scene.engine, role)
            scene.role(scene.other, role)
    assert scene.said == [
        "no majority of log nodes (log-a, log-b down): writes wait, reads are refused"
    ]
    scene.logs[1].child = Running()
    scene.look()
    scene.role(scene.engine, "candidate")
    scene.role(scene.other, "candidate")
    scene.role(scene.other, "primary")
    scene.role(scene.engine, "replica")
    assert scene.said[1:] == [
        "a majority of log nodes runs again: writes go on",
        "engine-b is the primary now, term 3: redis-cli -p 7000",
        "engine-a: primary -> replica",
    ]


def test_the_same_primary_after_an_outage_needs_no_line() -> None:
    scene = Scene()
    scene.role(scene.engine, "primary")
    for log in scene.logs[1:]:
        log.child = None
    scene.look()
    scene.role(scene.engine, "candidate")
    scene.logs[1].child = Running()
    scene.look()
    scene.role(scene.engine, "primary")
    assert len(scene.said) == 3
    assert scene.said[-1] == "a majority of log nodes runs again: writes go on"


def test_suspended_log_nodes_are_down() -> None:
    scene = Scene()
    for log in scene.logs[1:]:
        assert isinstance(log.child, Running)
        log.child.is_suspended = True
    scene.look()
    assert scene.said == [
        "no majority of log nodes (log-b, log-c down): writes wait, reads are refused"
    ]


def test_roles_have_a_line_each() -> None:
    scene = Scene()
    for role in ("restoring", "replica", "replica", "candidate", "primary"):
        scene.role(scene.engine, role)
    assert scene.said == [
        "engine-a: replica",
        "engine-a: replica -> candidate",
        "engine-a is the primary now, term 3: redis-cli -p 7000",
    ]
