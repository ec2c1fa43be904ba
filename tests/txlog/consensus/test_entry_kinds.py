"""A candidate, and entries of kinds that it does not know."""

from __future__ import annotations

import pytest

from tests.txlog.consensus.writer_harness import Bench
from txlog.consensus.outputs import CampaignOver
from txlog.entry import GENESIS_CHAIN, MAY_IGNORE, NO_ENTRY, make_entry
from txlog.messages import Fetch, Fetched, Seal


@pytest.mark.parametrize("kind", [99, 99 | MAY_IGNORE], ids=["must be read", "may be ignored"])
def test_w1_a_candidate_goes_on_behind_an_unknown_kind_only_if_it_may(kind: int) -> None:
    bench = Bench()
    bench.campaign()
    fetch = bench.newest(0, Fetch)
    entry = make_entry(1, 1, kind, 1, GENESIS_CHAIN, b"?")
    for node in (0, 1):
        bench.tell(node, Fetched(fetch.token, 1, 1, entry.id, 0, NO_ENTRY, False, [entry.encoded]))
    if kind & MAY_IGNORE:
        seal = bench.newest(0, Seal)
        assert seal.probe and seal.expected == entry.id
    else:
        assert "cannot read" in bench.heard(CampaignOver)[0].reason
