"""A log's folder in readable form: its entries as text, and everything in it that fails a check.

Decides: how an entry reads, what counts as a finding.
Must not know: a running log. It locks, changes and repairs nothing, so it may read the folder of a
running node. The last entries there may be half written.
Invariant: `verify` reads every frame of every segment, sealed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crc32c import crc32c

from txlog.entry import CHAIN_BYTES, DATA, FORMAT_VERSION, KIND_NAMES, Entry, decode_entry
from txlog.storage.files import META_NAME
from txlog.storage.meta import META_BYTES, SLOT_BYTES, LogMeta, choose
from txlog.storage.opening import SEGMENTS_NAME
from txlog.storage.recovery import SegmentScan, scan_segment
from txlog.storage.segment import (
    BLOCK_BYTES,
    SegmentHeader,
    clean_block,
    decode_header,
    decode_seal,
    log_id,
    newest_evidence,
    parse_segment_name,
    read_frame_entry,
    read_frame_header,
    segment_seed,
)

MAX_ARGUMENT: Final = 200  # bytes of one argument shown


@dataclass(slots=True)
class Finding:
    """``position`` 0: about the file as a whole."""

    file: Path
    position: int
    text: str

    def __str__(self) -> str:
        return (
            f"{self.file}: position {self.position}: {self.text}"
            if self.position
            else f"{self.file}: {self.text}"
        )


@dataclass(slots=True)
class Summary:
    """What `verify` has read."""

    entries: int
    bytes: int
    last: int
    findings: list[Finding]


def find_logs(folder: Path) -> list[Path]:
    """The logs below ``folder``: the folder itself, or those of a node's folder, by name."""
    if (folder / META_NAME).is_file() or (folder / SEGMENTS_NAME).is_dir():
        return [folder]
    inner = folder / "logs"
    return sorted(path for path in inner.iterdir() if path.is_dir()) if inner.is_dir() else []


def read_meta(folder: Path) -> LogMeta | None:
    """None: missing, or neither slot is good."""
    path = folder / META_NAME
    found = choose(path.read_bytes()[:META_BYTES]) if path.is_file() else None
    return found[0] if found is not None else None


# --------------------------------------------------------------------------- verify


def verify(
    folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Summary:
    """Check checksums, chain and order of the log in ``folder``. Raises OSError if a read fails."""
    summary = Summary(0, 0, 0, [])
    meta = _verify_meta(folder, summary)
    paths = _segments(folder)
    if not paths:
        summary.findings.append(Finding(folder / SEGMENTS_NAME, 0, "there is no segment"))
        return summary
    if meta is None:
        return summary
    if meta.newest not in [first for first, _ in paths]:
        summary.findings.append(
            Finding(folder / SEGMENTS_NAME, meta.newest, "the newest segment is missing")
        )
    position, chain = meta.trim[1] + 1, meta.trim_chain
    known: bytes | None = chain
    total = sum(path.stat().st_size for _, path in paths)
    proven = paths[-1][0] - 1
    committed = 0
    for index, (first, path) in enumerate(paths):
        if first != position:
            summary.findings.append(
                Finding(
                    path,
                    position,
                    f"positions {position} to {first - 1} are missing"
                    if first > position
                    else "begins too early",
                )
            )
            known = None
        scan = _verify_segment(meta, path, first, known, index + 1 < len(paths), summary)
        proven, committed = max(proven, scan.synced), max(committed, scan.committed)
        summary.bytes += path.stat().st_size
        summary.entries += len(scan.terms) - sum(gap.last - gap.first + 1 for gap in scan.gaps)
        position = scan.last + 1
        known = bytes(scan.chains[-CHAIN_BYTES:]) if scan.terms else known
        progress(summary.bytes, total)
    summary.last = position - 1
    for claimed, what in ((proven, "fsync'd"), (committed, "committed")):
        if claimed > summary.last:
            summary.findings.append(
                Finding(
                    paths[-1][1],
                    summary.last + 1,
                    f"missing, and position {claimed} is known to have been {what} here",
                )
            )
            break
    return summary


def _verify_meta(folder: Path, summary: Summary) -> LogMeta | None:
    path = folder / META_NAME
    if not path.is_file():
        summary.findings.append(Finding(path, 0, "missing"))
        return None
    found = choose(path.read_bytes()[:META_BYTES])
    if found is None:
        summary.findings.append(Finding(path, 0, "neither slot is readable"))
        return None
    meta, _, stale = found
    for slot in stale:
        summary.findings.append(
            Finding(
                path,
                0,
                f"slot {slot} (at byte {slot * SLOT_BYTES}) is not readable or older than the "
                "other",
            )
        )
    if meta.cut:
        summary.findings.append(
            Finding(path, meta.cut, "a truncation was cut short; the next start finishes it")
        )
    return meta


def _verify_segment(
    meta: LogMeta, path: Path, first: int, previous: bytes | None, followed: bool, summary: Summary
) -> SegmentScan:
    data = path.read_bytes()
    log = log_id(meta.group, meta.log)
    seed = segment_seed(log, first)
    header = decode_header(data)
    findings = summary.findings
    if header is None or (header.log, header.first) != (log, first):
        findings.append(
            Finding(
                path,
                0,
                "header is not readable"
                if header is None
                else "header is of another log or segment",
            )
        )
        header = None
    elif previous is not None and header.previous_chain != previous:
        findings.append(
            Finding(path, first, "does not continue the chain of the segment before it")
        )
    scan = scan_segment(data, first, _previous(header, previous), seed)
    if clean_block(data[:BLOCK_BYTES], seed) != data[:BLOCK_BYTES]:
        findings.append(Finding(path, 0, "bytes of the header block do not check"))
    evidence = newest_evidence(data[:BLOCK_BYTES], seed)
    scan.synced, scan.committed = (
        max(scan.synced, evidence.synced),
        max(scan.committed, evidence.committed),
    )
    for offset, _ in scan.repairs:
        position = first + list(scan.offsets).index(offset)
        findings.append(
            Finding(path, position, f"frame header at byte {offset} does not check; its entry does")
        )
    for gap in scan.gaps:
        what = (
            f"position {gap.first}"
            if gap.first == gap.last
            else f"positions {gap.first} to {gap.last}"
        )
        findings.append(Finding(path, gap.first, f"{what} at byte {gap.offset} does not check"))
    if scan.torn:
        findings.append(
            Finding(
                path,
                scan.last + 1,
                f"bytes {scan.end} to {scan.dirty} do not check, nothing good follows in this "
                "segment",
            )
        )
    seal = decode_seal(data[:BLOCK_BYTES], seed)
    if (
        followed
        and seal is not None
        and not scan.gaps
        and crc32c(memoryview(data)[BLOCK_BYTES : seal.used]) != seal.checksum
    ):
        findings.append(Finding(path, 0, "the seal does not agree with the frames"))
    return scan


def _previous(header: SegmentHeader | None, previous: bytes | None) -> bytes | None:
    return header.previous_chain if header is not None else previous


def _segments(folder: Path) -> list[tuple[int, Path]]:
    inner = folder / SEGMENTS_NAME
    found = (
        [(parse_segment_name(path.name), path) for path in inner.iterdir()]
        if inner.is_dir()
        else []
    )
    return sorted((first, path) for first, path in found if first is not None)


# --------------------------------------------------------------------------- inspect


def entries(folder: Path, start: int = 1, stop: int = 0) -> Iterator[Entry | Finding]:
    """The entries from ``start`` up to ``stop`` (0: the last); a `Finding` in place of each gap."""
    meta = read_meta(folder)
    if meta is None:
        yield Finding(folder / META_NAME, 0, "missing, or neither slot is readable")
        return
    paths = _segments(folder)
    for index, (first, path) in enumerate(paths):
        if index + 1 < len(paths) and paths[index + 1][0] <= start:
            continue
        data = path.read_bytes()
        seed = segment_seed(log_id(meta.group, meta.log), first)
        header = decode_header(data)
        scan = scan_segment(
            data, first, header.previous_chain if header is not None else None, seed
        )
        repaired = dict(scan.repairs)
        gaps = {gap.first: gap for gap in scan.gaps}
        for position in range(max(start, first), scan.last + 1):
            if stop and position > stop:
                return
            offset = scan.offsets[position - first]
            if position in gaps:
                yield Finding(
                    path,
                    position,
                    f"positions {position} to {gaps[position].last} at byte "
                    f"{gaps[position].offset} do not check",
                )
            if offset:
                frame = (
                    read_frame_header(repaired[offset], 0, seed)
                    if offset in repaired
                    else read_frame_header(data, offset, seed)
                )
                encoded = read_frame_entry(data, offset, frame[0]) if frame is not None else None
                if encoded is not None:
                    yield decode_entry(encoded)


def describe(entry: Entry) -> str:
    """One entry as text: a line about it, then one line per effect."""
    kind = KIND_NAMES.get(entry.kind, f"kind {entry.kind}")
    more = " continued" if entry.continued else ""
    head = (
        f"{entry.position} term {entry.term} {kind}{more} at {entry.wall_ms} ms, "
        f"{len(entry.payload)} bytes, chain {entry.chain.hex()}"
    )
    if entry.format != FORMAT_VERSION:
        return f"{head}\n  format {entry.format} is unknown to this program"
    if entry.kind == DATA:
        lines = [" ".join(quote(argument) for argument in argv) for argv in effects(entry.payload)]
    else:
        lines = [_document(entry.payload)]
    return "\n  ".join([head, *lines])


def effects(payload: bytes) -> list[list[bytes]]:
    """The argv lists in a DATA payload: RESP arrays of bulk strings, one after another.
    Anything else comes as one last list that says so.
    """
    found: list[list[bytes]] = []
    at = 0
    while at < len(payload):
        try:
            argv, at = _array(payload, at)
        except (ValueError, IndexError):
            found.append([b"(not RESP from byte %d on)" % at, payload[at:]])
            break
        found.append(argv)
    return found


def _array(payload: bytes, at: int) -> tuple[list[bytes], int]:
    count, at = _number(payload, at, b"*")
    argv = []
    for _ in range(count):
        length, at = _number(payload, at, b"$")
        if payload[at + length : at + length + 2] != b"\r\n":
            raise ValueError("bulk string cut short")
        argv.append(payload[at : at + length])
        at += length + 2
    return argv, at


def _number(payload: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = payload.index(b"\r\n", at)
    digits = payload[at + 1 : end]
    if payload[at : at + 1] != mark or not digits.isdigit():
        raise ValueError("no length here")
    return int(digits), end + 2


def quote(argument: bytes) -> str:
    """Printable ASCII unchanged where it is unambiguous, else in quotes with escapes.
    Nothing in a log may control a terminal.
    """
    shown = argument[:MAX_ARGUMENT]
    text = "".join(
        chr(byte) if 33 <= byte < 127 and byte not in b"\"'\\" else _escape(byte) for byte in shown
    )
    plain = bool(shown) and all(33 <= byte < 127 and byte not in b"\"'\\" for byte in shown)
    more = f"...({len(argument)} bytes)" if len(argument) > MAX_ARGUMENT else ""
    return (text if plain else f'"{text}"') + more


_ESCAPES: Final = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 92: "\\\\", 32: " ", 39: "'"}


def _escape(byte: int) -> str:
    return _ESCAPES.get(byte) or f"\\x{byte:02x}"


def _document(payload: bytes) -> str:
    try:
        return json.dumps(json.loads(payload), sort_keys=True)  # ASCII only
    except ValueError:
        return quote(payload)
