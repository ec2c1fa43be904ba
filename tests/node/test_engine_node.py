"""Separate parts of the node, each with only the surroundings that it uses."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from memstore.node.errors import ErrorContainment
from memstore.node.node import EngineNode
from memstore.replication.outputs import StepDown
from memstore.replication.roles import CANDIDATE
from tests.node.harness import connected, encoded
from tests.replication.test_shard import Node as Hands


class Sink:
    transport = "a transport"

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.ran = 0
        self.closed = False
        self.sent = b""

    def run_parked(self) -> None:
        self.ran += 1
        if self.fails is not None:
            raise self.fails

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def going_on(hands: Hands, ended: list[Any]) -> Any:
    """The part of a node that lets sessions continue."""
    node: Any = SimpleNamespace(
        shard=hands.shard,
        loop=None,
        resume_sessions=lambda: None,
        _arm=lambda: None,
        end=lambda reason, code: ended.append(reason),
    )
    node.engine = hands.engine
    node.errors = ErrorContainment(node)
    return node


def test_a_parked_command_that_fails_costs_only_its_own_client_the_connection() -> None:
    hands = Hands()
    broken, whole = Sink(UnicodeEncodeError("utf-8", "x", 0, 1, "no")), Sink()
    hands.shard.runnable += [hands.session(sink=broken), hands.session(sink=whole)]
    ended: list[Any] = []
    node = going_on(hands, ended)
    EngineNode._resume_sessions(node)
    assert (broken.closed, whole.ran, whole.closed, ended) == (True, 1, False, [])


def test_a_client_that_said_goodbye_is_closed_at_a_demotion() -> None:
    hands = Hands()
    _, quits, quits_socket = connected(hands)
    _, hangs_up, hangs_up_socket = connected(hands)
    hands.do(hands.session(), "SET k v")
    quits.data_received(encoded(b"GET", b"k") + encoded(b"QUIT"))
    hangs_up.data_received(encoded(b"GET", b"k"))
    assert hangs_up.eof_received()
    nothing = SimpleNamespace(
        end=lambda: None,
        on_step_down=lambda: None,
        on_stepped_down=lambda *_: None,
        last=((1, 1), b""),
        in_flight=1,
    )
    node: Any = SimpleNamespace(
        primary=nothing,
        writer=nothing,
        shard=hands.shard,
        client_requests=nothing,
        roles=nothing,
        clock=lambda: 0,
    )
    node.errors = ErrorContainment(node)
    EngineNode._step_down(node, StepDown("the lease ran out"))
    assert not quits_socket.reading and quits_socket.sent.count(b"-TRYAGAIN") == 2
    assert not hangs_up_socket.reading and hangs_up_socket.sent.count(b"-TRYAGAIN") == 1


def test_a_release_waits_for_what_a_term_sealed_again_has_put_behind_the_handover() -> None:
    class Writer:
        in_flight, lost, released = 1, "", False

        async def release(self, successor: bytes) -> None:
            assert not self.in_flight, "release before everything is committed"
            self.released = True

    async def scene() -> bool:
        writer: Any = Writer()
        node: Any = SimpleNamespace(
            writer=writer,
            roles=SimpleNamespace(on_released=lambda now_us: None),
            clock=lambda: 0,
            act=lambda: None,
        )
        release = asyncio.ensure_future(EngineNode._release(node, writer, b"s"))
        await asyncio.sleep(0.005)
        assert not release.done()
        writer.in_flight = 0
        await release
        return bool(writer.released)

    assert asyncio.run(scene())


def test_a_term_sealed_again_while_its_prefix_is_applied_is_a_lost_campaign() -> None:
    """By then the writer has appended its own LEADERSHIP, which is not in the prefix."""
    said: list[str] = []

    class Winner:
        prefix, lost, term, lease_until_us, next_position = ["LEADERSHIP at 7"], "", 2, 5, 9
        stopped = False

        def stop(self) -> None:
            self.stopped = True

    writer = Winner()

    async def campaign(*_: Any) -> Winner:
        return writer

    follower = SimpleNamespace(
        followed=(1, 6), chain=b"", position=7, stuck="", feed=lambda prefix: None
    )
    roles = SimpleNamespace(
        role=CANDIDATE,
        stuck="",
        on_campaign_lost=lambda reason, *_: said.append(reason),
        on_campaign_won=lambda *_: said.append("won"),
    )
    node: Any = SimpleNamespace(
        follower=follower, replica=SimpleNamespace(close=lambda: None, apply_all=lambda: True),
        roles=roles, log=SimpleNamespace(campaign=campaign), config=SimpleNamespace(lease_ms=800),
        me=SimpleNamespace(encode=lambda: b""), wall_ms=lambda: 1, clock=lambda: 1,
        act=lambda: None, _follow=lambda: said.append("follows"), _won=None,
    )  # fmt: skip
    node._abandon_writer = lambda: EngineNode._abandon_writer(node)
    node._has_won = lambda won: EngineNode._has_won(node, won)
    asyncio.run(EngineNode._campaign(node))
    assert writer.stopped and node._won is None
    assert len(said) == 2 and "sealed again" in said[0] and said[1] == "follows"
