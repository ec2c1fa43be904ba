"""Limits for an unknown caller's message to a log node.

The node must not keep it without end; it must not close the log for years; it must not be larger
than the disk accepts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.txlog.consensus.harness import LEASE, A, Bench, append, log_of, renew, seal
from txlog.messages import (
    MAX_LEASE_MS,
    MAX_TERM_STEP,
    Append,
    Appended,
    LeaseHeld,
    Promised,
    Release,
    Renew,
    Seal,
    Unavailable,
)

LONG = b"x" * 5000  # more than a slot of meta holds
HOSTILE: dict[str, Any] = {
    "ballot_id": LONG,
    "incarnation": LONG,
    "lease_ms": 1 << 60,
    "term": (1 << 64) - 1,
}


@pytest.mark.parametrize("field", HOSTILE)
@pytest.mark.parametrize(
    "message", [seal(1), append(1, log_of(1)), renew(1)], ids=["seal", "append", "renew"]
)
def test_nothing_of_a_message_beyond_the_limits_is_kept(
    message: Seal | Append | Renew, field: str
) -> None:
    """Earlier, a ballot id of 5000 bytes made a promise that did not fit its slot.
    A lease of 2^60 ms closed the log and ended the heartbeats. After the last term there is no next
    one.
    """
    bench = Bench()
    answers = bench.ask(replace(message, **{field: HOSTILE[field]}))
    assert [type(answer) for answer in answers] == (
        [] if isinstance(message, Renew) else [Unavailable]
    )
    assert bench.machine.promise.term == 0
    assert bench.machine.window_left_ms(bench.now) == 0
    assert isinstance(bench.one(seal(1)), Promised)
    assert isinstance(bench.one(append(1, log_of(1))), Appended)


def test_a_probe_asks_about_any_term() -> None:
    assert isinstance(Bench().one(seal((1 << 63) - 1, ballot_id=b"probe", probe=True)), Promised)


def test_the_limits_themselves_are_taken() -> None:
    bench = Bench()
    assert isinstance(bench.one(replace(seal(MAX_TERM_STEP), lease_ms=MAX_LEASE_MS)), Promised)


def test_a_successor_without_bounds_is_not_repeated_in_every_heartbeat() -> None:
    bench = Bench()
    bench.ask(append(1, log_of(1)))
    bench.ask(Release(1, b"round1", LONG))
    assert bench.machine.successor(bench.now) == b""
    held = bench.one(seal(2, b"another".ljust(16)))
    assert isinstance(held, LeaseHeld)
    assert held.left_ms > LEASE


def test_an_entry_larger_than_a_segment_is_refused_and_the_log_goes_on() -> None:
    """Earlier, it ended the node, and again after every start when the writer sent it once more."""
    bench = Bench()
    bench.machine.largest_entry = 1000
    log = log_of(1, text=b"x" * 1000)
    answer = bench.one(append(1, log))
    assert isinstance(answer, Unavailable)
    assert "segment-bytes" in answer.reason
    assert isinstance(bench.one(append(1, log_of(1), who=A)), Appended)
