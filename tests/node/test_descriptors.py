"""maxclients follows the limit on open files, with a reserve for all other descriptors."""

from __future__ import annotations

import pytest

from memstore.node.descriptors import REFUSED, RESERVED, Room, plan


@pytest.mark.parametrize(
    ("soft", "hard", "room"),
    [
        (-1, -1, Room(-1, 10_000, 511)),  # no limit
        (1024, -1, Room(10_000 + RESERVED, 10_000, 511)),  # the limit may rise as far as needed
        (1024, 524_288, Room(10_000 + RESERVED, 10_000, 511)),
        (20_000, 524_288, Room(20_000, 10_000, 511)),  # already enough
        (1024, 4096, Room(4096, 4096 - RESERVED, REFUSED)),
        (128, 128, Room(128, 128 - RESERVED, REFUSED)),
        (RESERVED + 1, RESERVED + 1, Room(RESERVED + 1, 1, REFUSED)),
    ],
)
def test_the_room_for_clients(soft: int, hard: int, room: Room) -> None:
    assert plan(10_000, 511, soft, hard) == room and room.enough


def test_too_few_for_a_single_client() -> None:
    assert not plan(10_000, 511, RESERVED, RESERVED).enough and plan(10, 511, 128, 128) == Room(
        128, 10, 511
    )
    assert 0 < REFUSED < RESERVED // 2, (
        "a connection that is refused needs a descriptor of the reserve"
    )
