"""The log's `meta`: what a node must never forget, in two slots.

Decides: what meta holds, its bytes, and which slot is believed.
Must not know: files, when a change is due. A change is written to one slot and fsync'd, then to the
other (`files` does it), so a slot that rots loses nothing (V2).

A slot is 4096 bytes: magic, format, counter, length, crc32c, then JSON. The good slot with the
highest counter is believed. The node's folder holds the node's identity (group, node id, members).
Meta repeats group and node, so that a log's folder that was moved to another node is noticed.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

from crc32c import crc32c

from txlog.consensus.outputs import Promise, Suspicion
from txlog.entry import GENESIS_CHAIN, NO_ENTRY, EntryId

FORMAT: Final = 1
SLOT_BYTES: Final = 4096
META_BYTES: Final = 2 * SLOT_BYTES

_MAGIC: Final = b"txlgmeta"
_SLOT: Final = struct.Struct(">8sIQI")
_CRC: Final = struct.Struct(">I")
_BODY_AT: Final = _SLOT.size + _CRC.size
MAX_REASON: Final = 500  # characters of a suspicion's reason, so that a slot always holds it


@dataclass(slots=True)
class LogMeta:
    log: str
    group: bytes
    node: str
    # first position of the newest segment from which anything may have been acknowledged
    newest: int = 1
    promise: Promise = field(default_factory=Promise)
    suspicion: Suspicion | None = None
    trim: EntryId = NO_ENTRY
    trim_chain: bytes = GENESIS_CHAIN
    cut: int = 0  # a truncation at this position is in progress and must be finished, 0: none


def encode_slot(meta: LogMeta, counter: int) -> bytes:
    promise, suspicion = meta.promise, meta.suspicion
    body = json.dumps(
        {
            "log": meta.log,
            "group": meta.group.hex(),
            "node": meta.node,
            "newest": meta.newest,
            "promise": [
                promise.term,
                promise.incarnation.hex(),
                promise.ballot_id.hex(),
                promise.lease_ms,
            ],
            "suspicion": [
                suspicion.position,
                suspicion.epoch.hex(),
                suspicion.reason[:MAX_REASON],
                suspicion.cut,
                suspicion.learner,
            ]
            if suspicion is not None
            else None,
            "trim": [*meta.trim, meta.trim_chain.hex()],
            "cut": meta.cut,
        },
        sort_keys=True,
    ).encode()
    head = _SLOT.pack(_MAGIC, FORMAT, counter, len(body))
    slot = head + _CRC.pack(crc32c(body, crc32c(head))) + body
    if len(slot) > SLOT_BYTES:
        raise ValueError(f"meta of {len(slot)} bytes does not fit its slot")
    return slot.ljust(SLOT_BYTES, b"\0")


def decode_slot(slot: bytes) -> tuple[int, LogMeta] | None:
    """(counter, meta); None if the slot is not good."""
    if len(slot) < SLOT_BYTES:
        return None
    magic, format, counter, length = _SLOT.unpack_from(slot)
    if magic != _MAGIC or format != FORMAT or _BODY_AT + length > SLOT_BYTES:
        return None
    body = slot[_BODY_AT : _BODY_AT + length]
    if crc32c(body, crc32c(slot[: _SLOT.size])) != _CRC.unpack_from(slot, _SLOT.size)[0]:
        return None
    fields: dict[str, Any] = json.loads(body)
    term, incarnation, ballot_id, lease_ms = fields["promise"]
    suspicion = fields["suspicion"]
    trim_term, trim_position, trim_chain = fields["trim"]
    return counter, LogMeta(
        fields["log"],
        bytes.fromhex(fields["group"]),
        fields["node"],
        fields["newest"],
        Promise(term, bytes.fromhex(incarnation), bytes.fromhex(ballot_id), lease_ms),
        Suspicion(suspicion[0], bytes.fromhex(suspicion[1]), suspicion[2], *suspicion[3:])
        if suspicion is not None
        else None,
        (trim_term, trim_position),
        bytes.fromhex(trim_chain),
        fields["cut"],
    )


def choose(raw: bytes) -> tuple[LogMeta, int, list[int]] | None:
    """From both slots' bytes: the meta to believe, its counter, and the slots that do not hold it.
    None: no slot is good.
    """
    slots = [decode_slot(raw[:SLOT_BYTES]), decode_slot(raw[SLOT_BYTES:META_BYTES])]
    good = [found for found in slots if found is not None]
    if not good:
        return None
    counter, meta = max(good, key=lambda found: found[0])
    return (
        meta,
        counter,
        [index for index, found in enumerate(slots) if found is None or found[0] != counter],
    )
