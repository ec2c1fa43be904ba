"""DIGEST entries: when a primary writes them, and how a follower uses them.
The tests also cover a node whose memory differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from memstore.commands import build_table
from memstore.engine.engine import Engine
from memstore.engine.keyspace import SLOTS
from memstore.engine.settings import Settings
from memstore.engine.state_digest import Slice, Walk, slice_digest
from memstore.replication.control_entries import AnnounceError, Digest, Leadership, decode_digest
from memstore.replication.digest_mismatch import (
    GIVE_UP,
    IGNORE,
    RESTORE,
    TRIES_MAX,
    DigestMismatches,
)
from memstore.replication.digest_schedule import FEW, WAIT, Digests
from memstore.replication.follower import DIGEST_WEIGHT, Difference, Follower
from memstore.replication.outputs import (
    AbandonWriter,
    BecomeReplica,
    Exit,
    Follow,
    IgnoreDigests,
    RestoreFromLog,
    StartCampaign,
    StopFollowing,
)
from memstore.replication.roles import CANDIDATE, PRIMARY, REPLICA, RESTORING
from tests.engine.harness import Harness
from tests.replication.test_recovery import Log
from tests.replication.test_roles import LEASE, Stage
from txlog.entry import DATA, DIGEST, LEADERSHIP
from txlog.storage.inspect import describe

SECOND = 1_000_000
AUTHOR, HEIR = b"\x02" * 16, b"\x03" * 16


# ---------------------------------------------------------------------- the entry


@pytest.mark.parametrize(
    "piece",
    [
        Slice(0, 5, 17),
        Slice(3 * SLOTS + 1, 16 * SLOTS, 0),
        Slice(7, 8, 3, [(b"k", 0, 0), (bytes(range(256)), 5, 1 << 32), (b"", 0, 7)]),
    ],
)
def test_a_digest_survives_its_encoding(piece: Slice) -> None:
    assert decode_digest(Digest(piece, b"s" * 16).encode()) == Digest(piece, b"s" * 16)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"form":1}',
        b'{"form":1,"from":[0,0],"to":[0,1],"keys":1,"blake2b":"00"}',
        b'{"form":1,"from":[0,-1],"to":[0,1],"keys":1,"blake2b":"%b"}',
        b'{"form":1,"from":[0,0],"to":[0,1],"keys":1,"parts":[["k",1]],"blake2b":"%b"}',
        b'{"form":1,"from":[0,0],"to":[0,1],"keys":1,"parts":5,"blake2b":"%b"}',
        b'{"form":1,"from":[0,0],"to":[0,1],"keys":1,"parts":[["\\u1234",0,0]],"blake2b":"%b"}',
    ],
)
def test_what_is_no_digest_is_refused(payload: bytes) -> None:
    with pytest.raises(AnnounceError):
        decode_digest(payload.replace(b"%b", b"00" * 16))


def test_an_entry_reads_well_in_a_listing() -> None:
    log = Log()
    text = describe(
        log.add(
            Digest(Slice(SLOTS + 5, SLOTS + 6, 2, [(b"user:1", 0, 0)]), bytes(16)).encode(), DIGEST
        )
    )
    assert " DIGEST at " in text and '"from": [1, 5]' in text and '["user:1", 0, 0]' in text


# ---------------------------------------------------------------------- the pace


def paced(place: int = 0, entries: int = 0, **values: int) -> tuple[Digests, Harness]:
    settings = Settings()
    for name, value in values.items():
        setattr(settings, name, value)
    return Digests(settings, place, entries, 0), Harness(settings=settings)


def written(
    digests: Digests, h: Harness, entries: int, until_us: int, from_us: int = 0
) -> list[int]:
    """The times at which digests are written, asked ten times a second.
    That number of entries was appended before.
    """
    times = []
    for now in range(from_us, until_us, SECOND // 10):
        if digests.due(entries, now):
            digests.take(h.engine.keyspace, entries, now)
            times.append(now)
    return times


def test_while_there_are_writes_one_comes_an_interval() -> None:
    digests, h = paced()
    times = []
    for now in range(0, 10 * SECOND, SECOND // 10):
        entries = FEW * (now // SECOND)
        if digests.due(entries, now):
            digests.take(h.engine.keyspace, entries, now)
            times.append(now)
    assert times == [n * SECOND for n in range(1, 10)]


def test_with_few_writes_they_come_more_rarely() -> None:
    digests, h = paced()
    times = []
    for now in range(0, 40 * SECOND, SECOND // 10):
        entries = 1 + now // SECOND
        if digests.due(entries, now):
            digests.take(h.engine.keyspace, entries, now)
            times.append(now // SECOND)
    assert times == [1, 1 + WAIT, 1 + 2 * WAIT, 1 + 3 * WAIT]


def test_when_all_has_gone_by_unchanged_none_is_written_until_something_changes() -> None:
    digests, h = paced(digest_slice_keys=16)
    for n in range(100):
        h.run(b"SET", b"k%d" % n, b"v")
    rest = written(digests, h, 100, 3600 * SECOND)
    assert 2 * 100 / 16 <= len(rest) <= 20, (
        "the round in which the writes were, and one without any"
    )
    assert written(digests, h, 100, 7200 * SECOND, 3600 * SECOND) == []
    again = written(digests, h, 101, 7200 * SECOND, 3600 * SECOND)
    assert 100 / 16 <= len(again) <= 20


def test_an_empty_shard_is_told_once() -> None:
    digests, h = paced()
    assert written(digests, h, 0, 3600 * SECOND) == [SECOND]


def test_a_new_primary_goes_on_where_the_last_digest_ended_and_rests_after_a_round() -> None:
    digests, h = paced(place=5 * SLOTS, entries=7)
    h.line("SET a 1")
    found = []
    for now in range(0, 3600 * SECOND, SECOND):
        if digests.due(7, now):
            found.append(decode_digest(digests.take(h.engine.keyspace, 7, now)).slice)
    assert found[0].start == 5 * SLOTS and [piece.start for piece in found[1:]] == [0]


def test_zero_turns_them_off() -> None:
    digests, h = paced(digest_interval_ms=0)
    assert written(digests, h, 1000, 100 * SECOND) == []


# ---------------------------------------------------------------------- the follower


class Primary:
    """An engine that writes a log: a DATA entry for each command, and digests on request."""

    def __init__(self) -> None:
        self.h = Harness()
        self.log = Log()
        self.way = Walk()
        self.log.lead(incarnation=AUTHOR)

    def run(self, text: str) -> None:
        before = len(self.h.units)
        self.h.line(text)
        for unit in self.h.units[before:]:
            self.log.add(unit, DATA, self.h.wall_ms)

    def digest(self) -> Slice:
        piece = self.way.take(self.h.engine.keyspace, 4096, 1 << 20)
        self.log.add(Digest(piece, slice_digest(self.h.engine.keyspace, piece)).encode(), DIGEST)
        return piece


def replica(primary: Primary) -> tuple[Engine, Follower]:
    engine = Engine(Settings(), Random(3), build_table())
    return engine, Follower(engine, 0)


def follow(follower: Follower, primary: Primary) -> None:
    follower.feed(primary.log.entries)
    while follower.pending and not follower.stuck:
        follower.step(1)


@pytest.fixture
def primary() -> Iterator[Primary]:
    made = Primary()
    for n in range(50):
        made.run(f"SET k{n} v{n}")
    made.run("SADD s a b c")
    yield made


def test_a_replica_that_is_the_same_goes_on(primary: Primary) -> None:
    piece = primary.digest()
    primary.run("SPOP s")
    primary.digest()
    _, follower = replica(primary)
    follow(follower, primary)
    assert (
        follower.stuck == ""
        and follower.difference is None
        and follower.digests == 2
        and follower.followed[1] == len(primary.log.entries)
    )
    assert follower.digest_place > piece.stop % (16 * SLOTS)


def test_a_replica_that_differs_stops_at_the_position_and_says_so(primary: Primary) -> None:
    engine, follower = replica(primary)
    follow(follower, primary)
    engine.keyspace.database(0).put(b"k7", b"rotten")
    primary.digest()
    primary.run("SET later 1")
    position = len(primary.log.entries) - 1
    follow(follower, primary)
    assert (
        follower.stuck == f"position {position}: memory is not what the primary's was"
        and follower.followed[1] == position - 1
    )
    assert (
        follower.difference is not None
        and follower.difference.position == position
        and follower.difference.author == AUTHOR
    )
    assert follower.difference.mine != follower.difference.theirs


@pytest.mark.parametrize("damage", ["an extra key", "a lost key", "an expiry", "a lost member"])
def test_any_damage_is_noticed(primary: Primary, damage: str) -> None:
    engine, follower = replica(primary)
    follow(follower, primary)
    database = engine.keyspace.database(0)
    if damage == "an extra key":
        database.put(b"extra", b"")
    elif damage == "a lost key":
        database.remove(b"k7")
    elif damage == "an expiry":
        database.set_expire(b"k7", 1)
    else:
        database.get(b"s").remove(b"b")  # type: ignore[union-attr]  # it is there
    primary.digest()
    follow(follower, primary)
    assert follower.difference is not None


def test_what_is_overruled_stops_no_more_and_only_its_author_is_meant(primary: Primary) -> None:
    # the primary's own memory, without a log entry
    primary.h.engine.keyspace.database(0).put(b"k7", b"rotten")
    primary.digest()
    primary.run("SET later 1")
    primary.way = Walk()
    primary.digest()
    _, follower = replica(primary)
    follow(follower, primary)
    assert follower.difference is not None
    follower.ignore_digests()
    follow(follower, primary)
    assert follower.stuck == "" and follower.followed[1] == len(primary.log.entries)
    primary.log.term = 2
    primary.log.add(Leadership(incarnation=HEIR).encode(), LEADERSHIP)
    primary.way = Walk()
    primary.digest()
    follow(follower, primary)
    assert follower.difference is not None and follower.difference.author == HEIR


def test_a_digest_counts_for_what_it_costs_and_not_for_its_bytes(primary: Primary) -> None:
    """Otherwise a node that restores would apply dozens between two checks of the clock."""
    for _ in range(3):
        primary.run("INCR n")
        primary.digest()
    _, follower = replica(primary)
    follower.feed(primary.log.entries)
    for digests in (1, 2, 3):
        follower.step(DIGEST_WEIGHT)
        assert follower.digests == digests
    assert follower.pending == 0


def test_a_digest_of_another_form_is_passed_over_and_one_that_cannot_be_read_is_not(
    primary: Primary,
) -> None:
    primary.log.add(Digest(Slice(0, 1, 0), b"x" * 16, form=2).encode(), DIGEST)
    _, follower = replica(primary)
    follow(follower, primary)
    assert follower.stuck == "" and follower.digests == 0
    primary.log.add(b"{", DIGEST)
    follow(follower, primary)
    assert "cannot be read" in follower.stuck and follower.difference is None


# ----------------------------------------------------------------- the consequences of a difference


def differs(position: int = 9, mine: bytes = b"m", author: bytes = AUTHOR) -> Difference:
    return Difference(position, author, b"theirs", mine)


def test_the_first_difference_asks_for_the_log() -> None:
    assert DigestMismatches().decide(differs()) == RESTORE


def test_the_same_twice_means_that_the_primary_was_wrong() -> None:
    mismatches = DigestMismatches()
    assert [mismatches.decide(differs()), mismatches.decide(differs())] == [RESTORE, IGNORE]
    assert (
        mismatches.distrusted_author == AUTHOR
        and mismatches.count == 2
        and mismatches.position == 9
    )


def test_memory_that_comes_out_different_each_time_is_given_up() -> None:
    mismatches = DigestMismatches()
    verdicts = [mismatches.decide(differs(mine=b"%d" % n)) for n in range(TRIES_MAX)]
    assert verdicts == [RESTORE] * (TRIES_MAX - 1) + [GIVE_UP]


def test_a_replica_whose_memory_was_damaged_overrules_only_what_the_log_contradicts_too() -> None:
    """Memory is damaged here and at the primary.
    The first digest here is of the damaged memory, the next two are of the log's state.
    """
    mismatches = DigestMismatches()
    assert [mismatches.decide(differs(mine=mine)) for mine in (b"rotten", b"log", b"log")] == [
        RESTORE,
        RESTORE,
        IGNORE,
    ]


def restored(stage: Stage, position: int = 9) -> None:
    stage.roles.on_followed(position, stage.us)
    stage.heartbeat(position)


def test_a_replica_that_differs_serves_no_more_and_restores() -> None:
    stage = Stage().replica(9)
    stage.take()
    stage.roles.on_differs(differs(), False, stage.us)
    assert (
        stage.roles.role == RESTORING
        and stage.kinds() == [RestoreFromLog, Follow]
        and stage.roles.mismatches.trouble
    )
    stage.heartbeat(9, window=0)
    stage.roles.on_followed(8, stage.us)
    assert not stage.run(5 * LEASE, window=0, stop=StartCampaign), "who differs does not campaign"
    restored(stage)
    assert (
        stage.roles.role == REPLICA
        and BecomeReplica in stage.kinds()
        and stage.roles.mismatches.trouble == ""
    )


def test_a_candidate_whose_prefix_differs_gives_its_writer_up() -> None:
    stage = Stage().replica(9)
    assert stage.run(3 * LEASE, window=0, stop=StartCampaign) and stage.roles.role == CANDIDATE
    stage.roles.on_differs(differs(), False, stage.us)
    assert stage.roles.role == RESTORING and stage.kinds() == [
        AbandonWriter,
        RestoreFromLog,
        Follow,
    ]


def test_a_candidate_that_overrules_a_digest_goes_on_since_its_author_is_fenced() -> None:
    stage = Stage().replica(9)
    for asked in ([AbandonWriter, RestoreFromLog, Follow], [IgnoreDigests]):
        assert stage.run(9 * LEASE, window=0, stop=StartCampaign)
        stage.roles.on_differs(differs(), True, stage.us)
        assert stage.kinds() == asked
        stage.heartbeat(9, window=0)
        stage.roles.on_followed(9, stage.us)
    assert stage.roles.role == CANDIDATE
    stage.roles.on_campaign_won(2, stage.us + LEASE * 1000, stage.us)
    assert stage.roles.role == PRIMARY and stage.roles.mismatches.trouble == ""


def test_a_candidate_that_has_not_won_yet_leaves_the_campaign() -> None:
    """The digest came with the log that the candidate follows; its author may still lead."""
    stage = disputing(lambda stage: stage.run(9 * LEASE, window=0, stop=StartCampaign))
    assert stage.roles.role == RESTORING
    stage.roles.on_campaign_won(2, stage.us + LEASE * 1000, stage.us)
    assert stage.kinds() == [AbandonWriter] and stage.roles.role == RESTORING


def test_a_candidate_that_differs_while_the_process_ends_ends_it() -> None:
    """The end waits for the end of the campaign, which does not come any more."""
    stage = Stage().replica(9)
    assert stage.run(3 * LEASE, window=0, stop=StartCampaign)
    stage.roles.on_terminate("SIGTERM", stage.us)
    assert stage.kinds() == []
    stage.roles.on_differs(differs(), True, stage.us)
    assert stage.kinds() == [AbandonWriter, RestoreFromLog, Follow, Exit]


def disputing(before: Callable[[Stage], object] = lambda stage: None) -> Stage:
    stage = Stage().replica(9)
    stage.roles.on_differs(differs(), False, stage.us)
    restored(stage)
    before(stage)
    stage.take()
    stage.roles.on_differs(differs(), False, stage.us)
    assert [kind for kind in stage.kinds() if kind is not AbandonWriter] == [IgnoreDigests, Follow]
    restored(stage)
    return stage


def test_while_the_overruled_primary_leads_this_node_follows_and_does_not_serve() -> None:
    stage = disputing()
    assert (
        not stage.run(5 * LEASE, window=900, stop=BecomeReplica) and stage.roles.role == RESTORING
    )


def test_when_nobody_leads_any_more_the_log_is_believed_and_this_node_may_lead() -> None:
    stage = disputing()
    assert stage.run(2 * LEASE, window=0, stop=BecomeReplica) and stage.run(
        2 * LEASE, window=0, stop=StartCampaign
    )


def test_a_window_that_opens_again_is_a_primary_that_leads_still() -> None:
    stage = disputing()
    for _ in range(5):
        assert not stage.run(LEASE - 200, window=0, stop=BecomeReplica)
        assert not stage.run(200, window=900, stop=BecomeReplica)


def test_when_another_leads_the_log_is_believed_at_once() -> None:
    stage = disputing()
    stage.roles.on_leadership(Leadership(incarnation=AUTHOR), stage.us)
    restored(stage)
    assert stage.roles.role == RESTORING
    stage.roles.on_leadership(Leadership(incarnation=HEIR), stage.us)
    restored(stage)
    assert stage.roles.role == REPLICA


def test_who_gives_up_stays_out_of_service_and_says_why() -> None:
    stage = Stage().replica(9)
    for n in range(TRIES_MAX):
        stage.take()
        stage.roles.on_differs(differs(mine=b"%d" % n), False, stage.us)
    assert stage.kinds() == [StopFollowing] and "serves no more" in stage.roles.stuck
    restored(stage)
    assert stage.roles.role == RESTORING and not stage.run(5 * LEASE, window=0, stop=StartCampaign)
