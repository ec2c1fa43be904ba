"""CLUSTER, MEMSTORE, WAIT: their answers from the node's facts (`Facts`), without a node."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import hiredis
import pytest

from memstore.commands import build_table
from memstore.commands.shard import is_reached, replica_answer, wait_reply
from memstore.engine.engine import Engine
from memstore.engine.facts import ReplicaFact
from memstore.engine.requests import AskToLead, Handover, ReplicaReport, WaitForReplicas
from memstore.engine.session import SESSION, Session
from memstore.engine.settings import Settings

ME, OTHER = "a" * 40, "b" * 40


class Desk:
    """An engine, a session, and the facts of a primary with one replica."""

    def __init__(self, role: str = "primary", cluster: bool = True) -> None:
        self.engine = Engine(Settings(cluster_enabled=cluster), Random(1), build_table())
        self.session = Session(1)
        facts = self.facts = self.engine.facts
        facts.node_id, facts.host, facts.port, facts.role, facts.term = (
            ME,
            "127.0.0.1",
            7001,
            role,
            3,
        )
        facts.committed = facts.applied = 40
        if role == "primary":
            facts.replicas = [ReplicaFact(OTHER, "127.0.0.1", 7002, "b", 35, 0)]
        else:
            facts.primary_id, facts.primary_host, facts.primary_port = OTHER, "127.0.0.1", 7002

    def say(self, *words: Any) -> Any:
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.engine.context.bind(self.session, 1000)
        row = self.engine.find(argv)
        answer = row if isinstance(row, bytes) else self.engine.call(row, argv)
        if answer is None:
            return None
        reader = hiredis.Reader()
        reader.feed(answer)
        return reader.gets()


def refused(answer: Any) -> str:
    assert isinstance(answer, hiredis.ReplyError), answer
    return str(answer)


# ---------------------------------------------------------------------- cluster mode


def test_slots_name_the_primary_first_and_then_its_replicas() -> None:
    for desk, first, second in ((Desk(), ME, OTHER), (Desk("replica"), OTHER, ME)):
        ((start, stop, primary, replica),) = desk.say("CLUSTER", "SLOTS")
        assert (start, stop) == (0, 16383)
        assert primary[2].decode() == first and replica[2].decode() == second


def test_a_fresh_primary_names_the_replicas_of_before_until_they_report() -> None:
    desk = Desk()
    third = ReplicaFact("3" * 40, "127.0.0.1", 7003, "c", 30, 0)
    desk.facts.expected_replicas = [third, *desk.facts.replicas]
    (slots,) = desk.say("CLUSTER", "SLOTS")
    assert sorted(node[1] for node in slots[3:]) == [7002, 7003], "each once"
    desk.facts.replicas = []
    desk.facts.expected_replicas = [third]
    (slots,) = desk.say("CLUSTER", "SLOTS")
    assert [node[1] for node in slots[2:]] == [7001, 7003]


def test_without_a_known_primary_no_slot_is_served() -> None:
    desk = Desk("replica")
    desk.facts.primary_port = 0
    assert desk.say("CLUSTER", "SLOTS") == []
    assert b"cluster_state:fail" in desk.say("CLUSTER", "INFO")


def test_while_nobody_leads_who_led_last_is_named() -> None:
    desk = Desk("replica")
    desk.facts.primary_port = 0
    desk.facts.last_primary = ReplicaFact(OTHER, "127.0.0.1", 7002, "b", 35, 0)
    ((_, _, primary, replica),) = desk.say("CLUSTER", "SLOTS")
    assert (primary[2].decode(), replica[2].decode()) == (OTHER, ME)
    assert b"cluster_state:fail" in desk.say(
        "CLUSTER", "INFO"
    ) and b"cluster_slots_ok:0" in desk.say("CLUSTER", "INFO")
    assert (
        desk.say("CLUSTER", "NODES").decode().splitlines()[0]
        == f"{OTHER} 127.0.0.1:7002@17002 master,fail? - 0 0 3 connected 0-16383"
    )
    ((_, _, _, nodes),) = desk.say("CLUSTER", "SHARDS")
    assert [node[node.index(b"health") + 1] for node in nodes] == [b"fail", b"online"]
    desk.facts.role = "restoring"  # it was the last leader itself, and has stepped down
    desk.facts.last_primary = ReplicaFact(ME, "127.0.0.1", 7001, "a", 40, 0)
    ((_, _, alone),) = desk.say("CLUSTER", "SLOTS")
    assert alone[2].decode() == ME
    desk.facts.primary_id, desk.facts.primary_port = OTHER, 7002
    assert [node[2].decode() for node in desk.say("CLUSTER", "SLOTS")[0][2:]] == [OTHER], (
        "somebody leads: no other is named as the owner"
    )


def test_nodes_lines_have_the_fields_clients_parse() -> None:
    lines = Desk().say("CLUSTER", "NODES").decode().splitlines()
    assert lines == [
        f"{ME} 127.0.0.1:7001@17001 myself,master - 0 0 3 connected 0-16383",
        f"{OTHER} 127.0.0.1:7002@17002 slave {ME} 0 0 3 connected",
    ]
    assert Desk().say("CLUSTER", "REPLICAS", ME) == [lines[1].encode()]


def test_shards_tell_role_and_health() -> None:
    (shard,) = Desk().say("CLUSTER", "SHARDS")
    assert shard[0] == b"slots" and shard[1] == [0, 16383]
    nodes = [dict(zip(node[::2], node[1::2], strict=True)) for node in shard[3]]
    assert [(node[b"role"], node[b"health"], node[b"replication-offset"]) for node in nodes] == [
        (b"master", b"online", 40),
        (b"replica", b"online", 35),
    ]


def test_keys_and_slots() -> None:
    desk = Desk()
    assert desk.say("CLUSTER", "KEYSLOT", "foo") == 12182
    assert desk.say("CLUSTER", "KEYSLOT", "{foo}bar") == 12182
    desk.engine.keyspace.database(0).put(b"foo", b"1")
    assert desk.say("CLUSTER", "COUNTKEYSINSLOT", 12182) == 1
    assert desk.say("CLUSTER", "GETKEYSINSLOT", 12182, 10) == [b"foo"]
    assert refused(desk.say("CLUSTER", "COUNTKEYSINSLOT", 16384)) == "ERR Invalid slot"
    assert (
        refused(desk.say("CLUSTER", "GETKEYSINSLOT", 1, -1)) == "ERR Invalid slot or number of keys"
    )


def test_the_whole_family_says_so_when_cluster_mode_is_off() -> None:
    desk = Desk(cluster=False)
    for words in (
        ("CLUSTER", "SLOTS"),
        ("CLUSTER", "INFO"),
        ("CLUSTER", "HELP"),
        ("READONLY",),
        ("READWRITE",),
        ("ASKING",),
    ):
        assert refused(desk.say(*words)) == "ERR This instance has cluster support disabled"


def test_readonly_is_remembered_by_the_connection() -> None:
    desk = Desk("replica")
    assert desk.say("READONLY") == b"OK" and desk.session.readonly
    assert desk.say("READWRITE") == b"OK" and not desk.session.readonly


def test_cluster_failover_asks_the_primary_and_nothing_is_taken_by_force() -> None:
    desk = Desk("replica")
    assert "Primary is down" in refused(desk.say("CLUSTER", "FAILOVER"))
    desk.facts.link_up = True
    assert desk.say("CLUSTER", "FAILOVER") == b"OK"
    assert [type(request) for request in desk.engine.requests] == [AskToLead]
    assert "by force" in refused(desk.say("CLUSTER", "FAILOVER", "TAKEOVER"))
    assert "to a replica" in refused(Desk().say("CLUSTER", "FAILOVER"))


@pytest.mark.parametrize(
    "words",
    [("ADDSLOTS", 1), ("MEET", "h", 1), ("FORGET", OTHER), ("RESET",), ("SETSLOT", 1, "STABLE")],
)
def test_what_changes_a_cluster_by_hand_is_not_possible(words: tuple[Any, ...]) -> None:
    assert "is not possible" in refused(Desk().say("CLUSTER", *words))


# ---------------------------------------------------------------------- positions and waiting


def test_reads_level_is_kept_by_the_connection() -> None:
    desk = Desk("replica")
    assert desk.say("MEMSTORE", "READS") == b"strong"
    assert desk.say("MEMSTORE", "READS", "session") == b"OK" and desk.session.reads == SESSION
    assert desk.session.seen == 40  # the position that it may have read before
    assert refused(desk.say("MEMSTORE", "READS", "loose")) == "ERR syntax error"


def test_a_position_covers_what_was_written_and_what_could_be_read() -> None:
    desk = Desk()
    assert desk.say("MEMSTORE", "POSITION") == 40
    desk.session.seen = 44
    assert desk.say("MEMSTORE", "POSITION") is None and desk.session.is_blocked
    (request,) = desk.engine.requests
    assert isinstance(request, WaitForReplicas) and not is_reached(desk.facts, request)
    desk.facts.committed = 44
    assert is_reached(desk.facts, request) and wait_reply(desk.facts, request) == b":44\r\n"
    replica = Desk("replica")
    replica.session.seen = 44
    assert replica.say("MEMSTORE", "POSITION") == 44


def test_waitfor_answers_at_once_when_it_is_there_and_waits_else() -> None:
    desk = Desk("replica")
    assert desk.say("MEMSTORE", "WAITFOR", 40) == b"OK"
    assert desk.say("MEMSTORE", "WAITFOR", 41, 500) is None and desk.session.is_blocked
    (request,) = desk.engine.requests
    assert isinstance(request, WaitForReplicas) and not is_reached(desk.facts, request)
    assert wait_reply(desk.facts, request).startswith(b"-TRYAGAIN")
    desk.facts.applied = 41
    assert is_reached(desk.facts, request) and wait_reply(desk.facts, request) == b"+OK\r\n"


def test_wait_counts_replicas_that_have_applied_the_connections_writes() -> None:
    desk = Desk()
    desk.session.seen = 35
    assert desk.say("WAIT", 1, 100) == 1
    desk.session.seen = 36
    assert desk.say("WAIT", 0, 100) == 0
    assert desk.say("WAIT", 1, 100) is None
    (request,) = desk.engine.requests
    assert isinstance(request, WaitForReplicas)
    assert wait_reply(desk.facts, request) == b":0\r\n"
    assert refused(Desk().say("WAIT", "x", 1)) == "ERR value is not an integer or out of range"
    assert refused(Desk().say("WAIT", 1, -1)) == "ERR timeout is negative"
    assert "replica instances" in refused(Desk("replica").say("WAIT", 1, 1))


def test_waitaof_counts_the_log_as_the_local_copy() -> None:
    desk = Desk()
    desk.session.seen = 35
    assert desk.say("WAITAOF", 1, 1, 100) == [1, 1]
    desk.session.seen = 41
    assert desk.say("WAITAOF", 1, 0, 100) is None
    (request,) = desk.engine.requests
    assert (
        isinstance(request, WaitForReplicas)
        and wait_reply(desk.facts, request) == b"*2\r\n:0\r\n:0\r\n"
    )
    desk.facts.committed = 41
    assert is_reached(desk.facts, request)


# ---------------------------------------------------------------------- who leads


def test_handover_is_asked_of_the_node_and_answered_when_it_is_over() -> None:
    desk = Desk()
    assert desk.say("MEMSTORE", "HANDOVER", "127.0.0.1:7002") is None and desk.session.is_blocked
    (request,) = desk.engine.requests
    assert (
        isinstance(request, Handover)
        and request.wanted == "127.0.0.1:7002"
        and request.session is desk.session
    )


def test_a_handover_at_another_node_is_told_where_the_primary_is() -> None:
    desk = Desk("replica")
    told = "ERR this node is not the primary; the primary is 127.0.0.1:7002"
    assert refused(desk.say("MEMSTORE", "HANDOVER")) == told
    # it was the leader until now, and no other node leads yet
    desk.facts.primary_port = desk.facts.port
    assert refused(desk.say("MEMSTORE", "HANDOVER")) == "ERR this node is not the primary"
    desk.facts.primary_port = 0
    assert refused(desk.say("MEMSTORE", "HANDOVER")) == "ERR this node is not the primary"


def test_failover_takes_the_options_of_redis() -> None:
    desk = Desk(cluster=False)
    assert desk.say("FAILOVER", "TO", "127.0.0.1", 7002, "TIMEOUT", 100) == b"OK"
    (request,) = desk.engine.requests
    assert (
        isinstance(request, Handover)
        and request.wanted == "127.0.0.1:7002"
        and request.session is None
    )
    assert "not a replica" in refused(desk.say("FAILOVER", "TO", "127.0.0.1", 9))
    assert "No failover in progress" in refused(desk.say("FAILOVER", "ABORT"))
    assert refused(desk.say("FAILOVER", "TO")) == "ERR syntax error"
    assert "cluster mode" in refused(Desk().say("FAILOVER"))


def test_a_replicas_report_names_it_and_is_answered_with_the_others() -> None:
    desk = Desk()
    assert desk.say("MEMSTORE", "REPLICA", "c" * 40, "c", "h", 7003, "05" * 16, 39) is None
    (report,) = desk.engine.requests
    assert isinstance(report, ReplicaReport) and (
        report.port,
        report.applied,
        report.incarnation,
    ) == (7003, 39, b"\x05" * 16)
    reader = hiredis.Reader()
    reader.feed(replica_answer(desk.facts, "c" * 40))
    told = json.loads(reader.gets())
    assert [replica["node"] for replica in told["replicas"]] == [OTHER] and told["waiting"] is False
    assert (
        refused(desk.say("MEMSTORE", "REPLICA", "c" * 40, "c", "h", 7003, "xx", 39))
        == "ERR syntax error"
    )
    assert "not the primary" in refused(
        Desk("replica").say("MEMSTORE", "REPLICA", "c" * 40, "c", "h", 7003, "05" * 16, 39)
    )


@pytest.mark.parametrize("place", [2, 3, 4])
@pytest.mark.parametrize("text", [b"\xff", b"a\nslave0:ip=1.2.3.4"])
def test_a_report_that_others_could_not_be_shown_is_refused(place: int, text: bytes) -> None:
    desk = Desk()
    words: list[Any] = ["MEMSTORE", "REPLICA", "c" * 40, "c", "h", 7003, "05" * 16, 39]
    words[place] = text
    assert refused(desk.say(*words)) == "ERR syntax error" and not desk.engine.requests


def test_status_is_json() -> None:
    status = json.loads(Desk("replica").say("MEMSTORE", "STATUS"))
    assert status["role"] == "replica" and status["primary_port"] == 7002 and status["lag"] == 0
