"""INFO and ROLE: the facts of the node as clients read them."""

from __future__ import annotations

import pytest

from memstore.commands.info import human
from memstore.engine.facts import LogNodeFact, ReplicaFact
from tests.commands.node.harness import NOW_MS, Client, Node

USUAL = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "Log",
    "CPU",
    "Errorstats",
    "Cluster",
    "Keyspace",
]


def sections(text: str) -> list[str]:
    return [line[2:] for line in text.split("\r\n") if line.startswith("# ")]


def test_sections_and_their_choice(client: Client) -> None:
    assert sections(client.ask("INFO")) == USUAL
    assert sections(client.ask("INFO default")) == USUAL
    assert (
        sections(client.ask("INFO all"))
        == sections(client.ask("INFO everything"))
        == [*USUAL[:8], "Commandstats", "Errorstats", "Latencystats", *USUAL[9:]]
    )
    assert sections(client.ask("INFO keyspace SERVER server")) == ["Server", "Keyspace"]
    assert sections(client.ask("INFO commandstats default")) == [
        *USUAL[:8],
        "Commandstats",
        *USUAL[8:],
    ]
    assert client.line("INFO nosuch") == b"$0\r\n\r\n"


def test_resp3_is_verbatim(client: Client) -> None:
    client.line("HELLO 3")
    answer = client.line("INFO cluster")
    assert answer == b"=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n"


def test_versions(client: Client) -> None:
    info = client.info("server")
    assert info["redis_version"] == "7.0.15"
    assert info["memstore_version"] == "0.1.0"
    assert info["uptime_in_seconds"] == "60"


def test_a_primary(node: Node, client: Client) -> None:
    facts = node.engine.facts
    facts.log_name, facts.committed, facts.last, facts.lease_left_ms, facts.term = (
        "shard-0",
        41,
        44,
        612,
        7,
    )
    facts.replicas = [ReplicaFact("n2", "10.0.0.2", 6380, "b", 40, NOW_MS - 1500)]
    facts.log_nodes = [
        LogNodeFact("h:7401", "a", True, 44, 41),
        LogNodeFact("h:7402", "b", False, error="refused, twice"),
    ]
    info = client.info("replication log")
    assert (
        info["role"],
        info["memstore_role"],
        info["connected_slaves"],
        info["master_repl_offset"],
    ) == ("master", "primary", "1", "41")
    assert info["slave0"] == "ip=10.0.0.2,port=6380,state=online,offset=40,lag=1,az=b,id=n2"
    assert (info["log_last"], info["log_committed"], info["log_term"], info["lease_left_ms"]) == (
        "44",
        "41",
        "7",
        "612",
    )
    assert (
        info["log_node0"]
        == "address=h:7401,az=a,connected=1,last=44,committed=41,lagging=0,suspect=0"
    )
    assert info["log_node1"].endswith(
        "connected=0,last=-1,committed=-1,lagging=0,suspect=0,error=refused; twice"
    )
    assert (
        client.line("ROLE")
        == b"*3\r\n$6\r\nmaster\r\n:41\r\n*1\r\n*3\r\n$8\r\n10.0.0.2\r\n$4\r\n6380\r\n$2\r\n40\r\n"
    )


@pytest.mark.parametrize(
    ("role", "link", "state"),
    [("replica", True, "connected"), ("replica", False, "connect"), ("restoring", False, "sync")],
)
def test_a_replica(node: Node, client: Client, role: str, link: bool, state: str) -> None:
    facts = node.engine.facts
    (
        facts.role,
        facts.primary_host,
        facts.primary_port,
        facts.link_up,
        facts.applied,
        facts.restore_target,
    ) = role, "10.0.0.1", 6379, link, 39, 90
    assert client.ask("ROLE") == ["slave", "10.0.0.1", 6379, state, 39]
    info = client.info("replication persistence")
    assert (
        info["role"],
        info["memstore_role"],
        info["master_host"],
        info["slave_repl_offset"],
    ) == ("slave", role, "10.0.0.1", "39")
    assert info["master_link_status"] == ("up" if link else "down")
    assert info["loading"] == str(int(role == "restoring"))
    facts.link_heard_ms = node.wall_ms - 2500
    assert client.info("replication")["master_last_io_seconds_ago"] == ("2" if link else "-1")


def test_the_replication_id_is_the_shards(node: Node) -> None:
    other = Node()
    node.engine.facts.log_name = other.engine.facts.log_name = "shard-0"
    one, two = node.connect().info("replication"), other.connect().info("replication")
    assert one["master_replid"] == two["master_replid"]
    assert len(one["master_replid"]) == 40
    other.engine.facts.log_name = "shard-1"
    assert other.connect().info("replication")["master_replid"] != one["master_replid"]


def test_commandstats_count_calls_and_failures(node: Node, client: Client) -> None:
    client.line("GET a")
    client.line("CONFIG SET hz x")
    row = node.engine.table[b"GET"]
    row.usec, row.rejected = 7, 2
    info = client.info("commandstats errorstats")
    assert (
        info["cmdstat_get"] == "calls=1,usec=7,usec_per_call=7.00,rejected_calls=2,failed_calls=0"
    )
    assert info["cmdstat_config|set"].endswith("failed_calls=1")
    assert info["errorstat_ERR"] == "count=1"


def test_keyspace_counts_and_looks_everywhere(node: Node, client: Client) -> None:
    first, fourth = node.engine.keyspace.database(0), node.engine.keyspace.database(4)
    for key in (b"a", b"b", b"c"):
        first.put(key, b"x")
    fourth.put(b"d", b"x")
    first.set_expire(b"a", NOW_MS + 1000)
    first.set_expire(b"b", NOW_MS + 3000)
    info = client.info("keyspace")
    assert info == {"db0": "keys=3,expires=2,avg_ttl=2000", "db4": "keys=1,expires=0,avg_ttl=0"}
    assert node.engine.context.looked_everywhere
    node.engine.context.looked_everywhere = False
    client.info("server replication")
    assert not node.engine.context.looked_everywhere


def test_latencystats(node: Node, client: Client) -> None:
    for us in (3, 3, 900):
        node.engine.latency.note_call(b"GET", us)
    assert (
        client.info("latencystats")["latency_percentiles_usec_get"]
        == "p50=4.000,p99=1024.000,p99.9=1024.000"
    )
    client.line("CONFIG SET latency-tracking-info-percentiles '10'")
    assert client.info("latencystats")["latency_percentiles_usec_get"] == "p10=4.000"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.00K"),
        (1536, "1.50K"),
        (5 << 20, "5.00M"),
        (3 << 30, "3.00G"),
    ],
)
def test_human(count: int, text: str) -> None:
    assert human(count) == text
