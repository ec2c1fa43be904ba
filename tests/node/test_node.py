"""The node as a process, through real log nodes.

The tests cover writes, reads at replicas, who leads, and the node's death, stop and hand-over.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from tests.node.processes import WAIT_S, Processes, until


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("shard"), 3, 3)
    try:
        processes.start_all()
        yield processes
    finally:
        processes.stop()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("single"), 0, 1, "lease-ms=200")
    try:
        processes.start_all()
        yield processes
    finally:
        processes.stop()


def replicas_known(shard: Processes, count: int = 2) -> None:
    until(
        f"the primary knows {count} replicas",
        lambda: int(shard.client(shard.leader()).info("replication")["connected_slaves"]) >= count,
    )


# -------------------------------------------------------------- three log nodes, three engine nodes


def test_what_the_primary_acknowledged_every_replica_reads_at_once(shard: Processes) -> None:
    leader = shard.leader()
    writer = shard.client(leader)
    readers = [shard.client(place) for place in range(3) if place != leader]
    for number in range(100):
        assert writer.set("counter", number)
        for reader in readers:
            assert reader.get("counter") == str(number)


def test_a_write_at_a_replica_is_refused_and_names_the_primary(shard: Processes) -> None:
    leader = shard.leader()
    with pytest.raises(redis.exceptions.ReadOnlyError) as refusal:
        shard.client(shard.other(leader)).set("k", "v")
    assert f"primary=127.0.0.1:{shard.ports[leader]}" in str(refusal.value)


def test_wait_counts_the_replicas_that_applied_the_write(shard: Processes) -> None:
    replicas_known(shard)
    client = shard.client(shard.leader())
    assert client.set("waited", "for")
    assert client.execute_command("WAIT", 2, 5000) == 2
    assert client.execute_command("WAIT", 3, 50) == 2
    assert client.execute_command("WAITAOF", 1, 2, 5000) == [1, 2]


def test_a_position_carries_what_was_seen_to_another_node(shard: Processes) -> None:
    leader = shard.leader()
    writer = shard.client(leader).client()
    reader = shard.client(shard.other(leader)).client()
    assert reader.execute_command("MEMSTORE READS", "session") in ("OK", True, b"OK")
    for number in range(20):
        writer.set("carried", number)
        position = writer.execute_command("MEMSTORE POSITION")
        assert reader.execute_command("MEMSTORE WAITFOR", position, 5000) in ("OK", b"OK")
        assert reader.get("carried") == str(number)
        assert int(reader.execute_command("MEMSTORE POSITION")) >= int(position)


def test_status_is_json_and_names_the_primary(shard: Processes) -> None:
    leader = shard.leader()
    for place in range(3):
        status = json.loads(shard.client(place).execute_command("MEMSTORE STATUS"))
        assert status["primary_port"] == shard.ports[leader]
        assert status["role"] == ("primary" if place == leader else "replica")


def test_a_handover_under_load_loses_nothing_and_closes_no_connection(shard: Processes) -> None:
    replicas_known(shard)
    before = shard.leader()
    failures: list[str] = []
    acknowledged: dict[int, int] = {}
    end = threading.Event()

    def write(number: int) -> None:
        connections = [shard.client(place).client() for place in range(3)]
        place, value = before, 0
        while not end.is_set():
            value += 1
            try:
                connections[place].set(f"handed:{number}", value)
                acknowledged[number] = value
            except redis.exceptions.ReadOnlyError as refusal:
                place = shard.ports.index(int(str(refusal).rpartition(":")[2]))
            except redis.RedisError as error:
                failures.append(f"{type(error).__name__}: {error}")
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in writers:
        thread.start()
    time.sleep(0.3)
    wanted = shard.other(before)
    assert shard.client(before).execute_command(
        "MEMSTORE HANDOVER", f"127.0.0.1:{shard.ports[wanted]}"
    )
    until("the one named leads", lambda: shard.leader() == wanted)
    time.sleep(0.3)
    end.set()
    for thread in writers:
        thread.join(WAIT_S)
    assert failures == []
    reader = shard.client(before)
    for number, value in acknowledged.items():
        assert int(reader.get(f"handed:{number}")) >= value


def test_a_handover_to_nobody_is_refused(shard: Processes) -> None:
    with pytest.raises(redis.ResponseError, match="no replica nobody is connected"):
        shard.client(shard.leader()).execute_command("MEMSTORE HANDOVER", "nobody")
    with pytest.raises(redis.ResponseError, match="not the primary"):
        shard.client(shard.other(shard.leader())).execute_command("MEMSTORE HANDOVER")


def test_a_paused_primary_answers_nothing_old_when_it_goes_on(shard: Processes) -> None:
    replicas_known(shard)
    before = shard.leader()
    shard.client(before).set("paused", "old")
    with socket.create_connection(("127.0.0.1", shard.ports[before]), WAIT_S) as waiting:
        shard.signal(f"engine-{before}", signal.SIGSTOP)
        waiting.sendall(b"*2\r\n$3\r\nGET\r\n$6\r\npaused\r\n" * 20)
        after = int(
            until(
                "another leads",
                lambda: next(
                    (
                        str(p)
                        for p in range(3)
                        if p != before and shard.client(p).role()[0] == "master"
                    ),
                    "",
                ),
            )
        )
        shard.client(after).set("paused", "new")
        shard.signal(f"engine-{before}", signal.SIGCONT)
        received = b""
        with contextlib.suppress(OSError):
            while received.count(b"\r\n") < 20 and (data := waiting.recv(65536)):
                received += data
    assert b"old" not in received
    until(
        "it reads the new value as a replica", lambda: shard.client(before).get("paused") == "new"
    )


def test_a_killed_primary_is_followed_by_another_with_everything_acknowledged(
    shard: Processes,
) -> None:
    replicas_known(shard)
    before = shard.leader()
    client = shard.client(before)
    for number in range(200):
        client.set(f"killed:{number}", number)
    shard.signal(f"engine-{before}", signal.SIGKILL)
    after = shard.leader()
    assert after != before
    assert [shard.client(after).get(f"killed:{number}") for number in range(200)] == [
        str(number) for number in range(200)
    ]
    assert shard.client(after).set("writes", "go on")
    shard.start_engine(before)
    until("it is back as a replica", lambda: shard.client(before).get("writes") == "go on")


def test_sigterm_hands_over_first(shard: Processes) -> None:
    replicas_known(shard)
    before = shard.leader()
    process = shard.running.pop(f"engine-{before}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 0
    assert "handed over" in shard.trace(f"engine-{before}")
    assert shard.leader() != before
    shard.start_engine(before)
    until("it is back", lambda: shard.client(before).role()[0] == "slave")


def test_without_a_majority_nothing_is_acknowledged_and_with_it_everything_goes_on(
    shard: Processes,
) -> None:
    leader = shard.leader()
    shard.client(leader).set("majority", "there")
    names = ["log-a", "log-b"]
    for name in names:
        shard.signal(name, signal.SIGSTOP)
    try:
        with pytest.raises(redis.RedisError):
            shard.client(leader).set("majority", "away")
        until("no primary", lambda: not shard.primary())
        with pytest.raises(
            redis.ResponseError, match=r"no majority of log nodes answered|LOADING|restoring"
        ):
            shard.client(leader).get("majority")
    finally:
        for name in names:
            shard.signal(name, signal.SIGCONT)
    client = shard.client(shard.leader())
    assert client.get("majority") in ("there", "away")
    assert client.set("majority", "back")
    for place in range(3):
        until(
            "every node reads it", lambda place=place: shard.client(place).get("majority") == "back"
        )


def test_redis_cluster_clients_find_the_primary_through_a_failover_and_nodes_use_the_password(
    tmp_path: Path,
) -> None:
    shard = Processes(tmp_path, 3, 2, "cluster-enabled=yes", "lease-ms=500", "requirepass=secret")
    try:
        shard.start_all()
        replicas_known(shard, 1)
        before = shard.leader()
        # All nodes, permanently: redis-py otherwise keeps only the nodes of its newest answer. An
        # answer from before the replicas had reported names only its primary.
        nodes = [ClusterNode("127.0.0.1", port) for port in shard.ports]
        client = until(
            "a cluster client",
            lambda: RedisCluster(
                startup_nodes=nodes,
                dynamic_startup_nodes=False,
                password="secret",
                socket_timeout=5,
            ),
        )
        for number in range(20):
            assert client.set(f"key:{number}", number)
        after = shard.other(before)
        until(
            "the link to the primary",
            lambda: shard.client(after).info("replication")["master_link_status"] == "up",
        )
        assert shard.client(after).execute_command("CLUSTER FAILOVER")
        until("the replica that asked leads", lambda: shard.leader() == after)
        (slots,) = shard.client(after).execute_command("CLUSTER", "SLOTS")
        assert len(slots) >= 4, (
            "from the first moment on another node is named beside the fresh primary"
        )
        assert client.set("key:3", "handed over")
        replicas_known(shard, 1)
        before = after
        shard.signal(f"engine-{before}", signal.SIGKILL)
        survivor = shard.client(shard.other(before))

        def goes_on() -> Any:
            ((_, _, *described),) = survivor.execute_command("CLUSTER", "SLOTS")
            assert len(described) >= 2, (
                "while nobody leads the slots have an owner still: clients give up on a topology "
                "without"
            )
            # an error of the cluster client that is not a RedisError would end the test
            return client.set("key:1", "after")

        until("writes go on", goes_on)
        assert client.get("key:1") == b"after" and client.get("key:2") == b"2"
        with pytest.raises(redis.RedisError, match=r"CROSSSLOT|same slot"):
            shard.client(shard.other(before)).mget("a", "b")
    finally:
        shard.stop()


# --------------------------------------------------------------- a node alone, with an embedded log


def test_expired_keys_are_deleted_by_the_active_cycle(single: Processes) -> None:
    client = single.client(0)
    client.set("brief", "x", px=60)
    before = client.info("stats")["expired_keys"]
    until(
        "it is gone without being asked for", lambda: client.info("stats")["expired_keys"] > before
    )
    assert client.exists("brief") == 0


def test_replicaof_and_failover_say_why_they_do_nothing(single: Processes) -> None:
    with pytest.raises(redis.ResponseError, match="follows the shard's log"):
        single.client(0).execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(redis.ResponseError, match="requires connected replicas"):
        single.client(0).execute_command("FAILOVER")


def test_an_embedded_log_keeps_everything_through_a_kill(single: Processes) -> None:
    client = single.client(0)
    client.set("kept", "yes")
    with client.pipeline() as together:
        together.set("a", 1).incr("a").execute()
    single.signal("engine-0", signal.SIGKILL)
    single.start_engine(0)
    single.leader()
    assert single.client(0).get("kept") == "yes" and single.client(0).get("a") == "2"
    single.running["engine-0"].terminate()
    assert single.running.pop("engine-0").wait(WAIT_S) == 0


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "memstore",
            "server",
            "--az",
            "a",
            "--port",
            port,
            "--log",
            f"embedded:{tmp_path / 'e'}",
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert ended.returncode == 1
    assert ended.stderr == f"memstore: port {port} on 127.0.0.1 is in use\n"


def test_a_group_that_cannot_be_reached_is_named_and_tried_again(tmp_path: Path) -> None:
    shard = Processes(tmp_path, 3, 1, "log-format=text")
    try:
        shard.start_engine(0)
        until("it says so", lambda: "no-quorum" in shard.trace("engine-0"))
        for port in shard.log_ports:
            assert f"127.0.0.1:{port}" in shard.trace("engine-0")
        with pytest.raises(redis.RedisError):
            shard.client(0).set("k", "v")
        assert shard.running["engine-0"].poll() is None
    finally:
        shard.stop()


def test_no_process_has_ended_by_itself(shard: Processes) -> None:
    """The last test: no process of this module may have ended itself."""
    for name, process in shard.running.items():
        assert process.poll() is None, f"{name} ended: {shard.trace(name)[-2000:]}"
