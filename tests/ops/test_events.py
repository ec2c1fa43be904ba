"""The event log: the form of a line, and the lines left out during an outage of the log."""

from __future__ import annotations

import json

import pytest
import structlog

from memstore.events import OutageFilter, configure


@pytest.fixture(autouse=True)
def other_configuration() -> object:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_campaigns_have_no_lines_while_they_cannot_be_won(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Earlier, each node wrote four lines a second."""
    configure("info", "json")
    events = structlog.get_logger()
    events.info("candidate")
    events.warning("no-quorum", text="only 1 of 3 log nodes can be reached")
    for _ in range(10):
        events.info("candidate")
        events.info("campaign-lost")
    events.info("fenced")
    events.info("quorum")
    events.info("candidate")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    names = [line["event"] for line in lines]
    assert names == ["candidate", "no-quorum", "fenced", "quorum", "candidate"]
    assert lines[3]["left_out"] == 20
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_the_next_outage_counts_from_zero() -> None:
    outage = OutageFilter()
    for _ in range(2):
        outage(None, "info", {"event": "no-quorum"})
        with pytest.raises(structlog.DropEvent):
            outage(None, "info", {"event": "candidate"})
        assert outage(None, "info", {"event": "quorum"})["left_out"] == 1
    assert "left_out" not in outage(None, "info", {"event": "quorum"})
