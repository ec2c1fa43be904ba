"""What every log must do for an engine node, through `memstore.log.interface` alone."""

from __future__ import annotations

import asyncio

import pytest

from memstore.log.interface import CampaignLost, TrimNotSupported
from tests.log.conformance.harness import LEASE_MS, Backend, Reader, committed, eventually, win
from txlog.clock import now_us, wall_ms
from txlog.entry import GENESIS_CHAIN, LEADERSHIP, NO_ENTRY


async def test_a_campaign_on_an_empty_log_begins_with_leadership(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    assert [(entry.position, entry.kind, entry.term) for entry in writer.prefix] == [
        (1, LEADERSHIP, writer.term)
    ]
    assert writer.prefix[0].payload == b'{"node":"test"}'
    assert writer.next_position == 2
    assert writer.lease_until_us > now_us()
    assert writer.committed == 1


async def test_appends_get_dense_positions_and_are_committed_in_order(backend: Backend) -> None:
    writer = await win(await backend.log())
    seen: list[int] = []
    writer.on_committed = seen.append
    positions = await committed(writer, [b"%d" % number for number in range(200)])
    assert positions == list(range(2, 202))
    assert seen == sorted(seen)
    assert seen[-1] == 201
    assert writer.in_flight == 0
    assert writer.in_flight_bytes == 0


async def test_a_reader_gets_every_committed_entry_once_in_order_from_any_position(
    backend: Backend,
) -> None:
    log = await backend.log()
    writer = await win(log)
    early = Reader().read(log)
    await committed(writer, [b"%d" % number for number in range(300)])
    entries = list(await early.until(301))
    assert [entry.position for entry in entries] == list(range(1, 302))
    assert [entry.payload for entry in entries[1:]] == [b"%d" % number for number in range(300)]
    for start in (1, 2, 150, 301, 302):
        chain = entries[start - 2].chain if start > 1 else GENESIS_CHAIN
        late = Reader().read(log, start, chain)
        (position,) = await committed(writer, [b"more"])
        got = await late.until(position)
        assert [entry.position for entry in got] == list(range(start, position + 1))


async def test_a_reader_hears_heartbeats_with_the_writers_window(backend: Backend) -> None:
    log = await backend.log()
    reader = Reader().read(log)
    await eventually(lambda: len(reader.heartbeats) >= 2)
    assert reader.heartbeats[-1].window_left_ms == 0
    await win(log)
    await eventually(lambda: reader.heartbeats[-1].window_left_ms > 0)
    assert reader.heartbeats[-1].writer == log.incarnation


async def test_old_entries_are_read_back_from_disk(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    payload = b"x" * 20_000
    # more than a node of the tests keeps in memory, over several segments
    await committed(writer, [payload] * 100)
    reader = Reader().read(log)
    entries = await reader.until(101)
    assert [entry.position for entry in entries] == list(range(1, 102))
    assert all(entry.payload == payload for entry in entries[1:])


async def test_a_paused_reader_gets_nothing_and_misses_nothing(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    reader = Reader().read(log)
    await reader.until(1)
    assert reader.subscription is not None
    reader.subscription.pause()
    await committed(writer, [b"y" * 1000] * 50)
    await asyncio.sleep(0.05)
    held = len(reader.entries)
    reader.subscription.resume()
    entries = await reader.until(51)
    assert held < 51
    assert [entry.position for entry in entries] == list(range(1, 52))


async def test_the_tail_covers_every_append_acknowledged_before_the_question(
    backend: Backend,
) -> None:
    log = await backend.log()
    writer = await win(log)
    for number in range(20):
        (position,) = await committed(writer, [b"%d" % number])
        bound = await log.tail(2000)
        assert bound >= (writer.term, position)


async def test_a_reader_with_another_history_is_told_and_given_nothing(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    await committed(writer, [b"a"])
    reader = Reader().read(log, 2, b"\x01" * 16)
    await eventually(lambda: reader.error)
    assert reader.entries == []
    assert "chain" in reader.error


async def test_the_lease_goes_on_without_appends(backend: Backend) -> None:
    writer = await win(await backend.log())
    lost: list[str] = []
    writer.on_lost = lost.append
    first = writer.lease_until_us
    await eventually(lambda: writer.lease_until_us > first + 3 * LEASE_MS * 1000)
    assert lost == []


async def test_a_restart_of_everything_keeps_everything(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    await committed(writer, [b"%d" % number for number in range(50)])
    term = writer.term
    await backend.close(log)
    await backend.restart()
    log = await backend.log()
    writer = await win(log)
    assert writer.term > term
    assert [entry.position for entry in writer.prefix] == list(range(1, 53))
    assert [entry.payload for entry in writer.prefix[1:51]] == [
        b"%d" % number for number in range(50)
    ]
    assert writer.prefix[-1].kind == LEADERSHIP
    await committed(writer, [b"after"])


async def test_a_campaign_behind_the_log_gets_the_missing_entries_first(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    await committed(writer, [b"1", b"2", b"3"])
    reader = Reader().read(log)
    entries = await reader.until(4)
    await writer.release(log.incarnation)
    again = await win(log, entries[1].id, entries[1].chain)
    assert [entry.payload for entry in again.prefix[:2]] == [b"2", b"3"]
    assert again.prefix[-1].kind == LEADERSHIP


async def test_one_writer_at_a_time(backend: Backend) -> None:
    log = await backend.log()
    await win(log)
    with pytest.raises(CampaignLost):
        await log.campaign(NO_ENTRY, GENESIS_CHAIN, LEASE_MS, b"{}", wall_ms)


async def test_a_stopped_writer_has_no_lease_and_commits_nothing_more(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    await committed(writer, [b"1"])
    told: list[int] = []
    writer.on_committed = told.append
    writer.stop()
    assert writer.lease_until_us == 0
    again = await win(log)
    assert again.term > writer.term
    assert told == []


async def test_payloads_of_every_size_come_back_as_they_were(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log, lease_ms=5000)
    payloads = [bytes([size % 251]) * size for size in (0, 1, 7 << 10, 100 << 10)]
    await committed(writer, payloads)
    entries = await Reader().read(log).until(1 + len(payloads))
    assert [entry.payload for entry in entries[1:]] == payloads


async def test_a_probe_changes_nothing(backend: Backend) -> None:
    log = await backend.log()
    assert (await log.probe()).would_promise
    writer = await win(log)
    await log.probe()
    await committed(writer, [b"still the writer"])
    assert writer.lost == ""


async def test_every_machine_of_the_log_is_shown(backend: Backend) -> None:
    log = await backend.log()
    states = log.node_states()
    assert len(states) == backend.machines
    assert all(state.connected and state.error == "" for state in states)


async def test_a_trim_is_done_or_refused_and_loses_no_later_entry(backend: Backend) -> None:
    log = await backend.log()
    writer = await win(log)
    await committed(writer, [b"1", b"2"])
    reader = Reader().read(log)
    entries = await reader.until(3)
    try:
        await log.trim(2)
    except TrimNotSupported as refused:
        assert log.name in str(refused)
    late = Reader().read(log, 3, entries[1].chain)
    assert [entry.payload for entry in await late.until(3)] == [b"2"]
