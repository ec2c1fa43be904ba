"""Control entries: which node took over (LEADERSHIP), the successor in a hand-over (HANDOVER), and
the digest of a slice of the state (DIGEST).

Decides: their JSON.
Must not know: when they are written. LEADERSHIP and HANDOVER serve display and finding the primary;
safety never depends on them. A missing field takes its default and an unknown field is ignored, so
versions of the engine can follow one another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from memstore.engine.keyspace import SLOTS
from memstore.engine.state_digest import SUM_BYTES, Part, Slice

DIGEST_FORM: Final = 1  # of what is digested and how; digests of other forms are not compared


class AnnounceError(ValueError):
    """A control entry that cannot be read; the text says why."""


@dataclass(slots=True)
class Leadership:
    """Which node leads: the primary writes it as the first entry of its term."""

    node: str = ""  # 40 hex digits, stable for the life of an address
    incarnation: bytes = b""  # of this run of the process
    az: str = ""
    host: str = ""
    port: int = 0
    lease_ms: int = 0
    engine: str = ""  # the engine's version
    # settings that must agree on every node of a shard
    limits: dict[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        fields = {
            "node": self.node, "incarnation": self.incarnation.hex(), "az": self.az,
            "host": self.host, "port": self.port, "lease_ms": self.lease_ms, "engine": self.engine,
            "limits": self.limits,
        }  # fmt: skip
        return json.dumps(fields, separators=(",", ":")).encode()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Handover:
    """The node that comes next, if it campaigns in time."""

    node: str = ""
    incarnation: bytes = b""
    az: str = ""
    host: str = ""
    port: int = 0

    def encode(self) -> bytes:
        fields = {
            "node": self.node,
            "incarnation": self.incarnation.hex(),
            "az": self.az,
            "host": self.host,
            "port": self.port,
        }
        return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(slots=True)
class Digest:
    """The primary's memory in one slice, at the position of the entry. A key is a string with one
    character for each byte.
    """

    slice: Slice
    sum: bytes = b""
    form: int = DIGEST_FORM

    def encode(self) -> bytes:
        piece = self.slice
        fields: dict[str, Any] = {
            "form": self.form,
            "from": divmod(piece.start, SLOTS),
            "to": divmod(piece.stop, SLOTS),
            "keys": piece.keys,
        }
        if piece.parts:
            fields["parts"] = [
                [key.decode("latin-1"), start, stop] for key, start, stop in piece.parts
            ]
        return json.dumps(fields | {"blake2b": self.sum.hex()}, separators=(",", ":")).encode()


def decode_digest(payload: bytes) -> Digest:
    fields = _object(payload)
    form = _integer(fields, "form")
    if form != DIGEST_FORM:
        return Digest(Slice(0, 0, 0), form=form)
    parts = fields.get("parts", [])
    if not isinstance(parts, list):
        raise AnnounceError("parts is not an array")
    try:
        total = bytes.fromhex(_text(fields, "blake2b"))
    except ValueError as error:
        raise AnnounceError(f"blake2b: {error}") from error
    if len(total) != SUM_BYTES:
        raise AnnounceError(f"blake2b has {len(total)} bytes")
    return Digest(
        Slice(
            _place(fields, "from"),
            _place(fields, "to"),
            _integer(fields, "keys"),
            [_part(part) for part in parts],
        ),
        total,
    )


def _place(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(number, int) and number >= 0 for number in value)
    ):
        raise AnnounceError(f"{name} is not a database's and a slot's number")
    return int(value[0]) * SLOTS + int(value[1])


def _part(value: Any) -> Part:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not isinstance(value[0], str)
        or not all(isinstance(at, int) and at >= 0 for at in value[1:])
    ):
        raise AnnounceError("a part is not a key and two borders")
    try:
        return value[0].encode("latin-1"), value[1], value[2]
    except UnicodeEncodeError as error:
        raise AnnounceError(f"a key of a part: {error}") from error


def decode_leadership(payload: bytes) -> Leadership:
    fields = _object(payload)
    limits = fields.get("limits", {})
    if not isinstance(limits, dict) or not all(isinstance(value, int) for value in limits.values()):
        raise AnnounceError("limits is not an object of integers")
    common = _address(fields)
    return Leadership(
        *common,
        lease_ms=_integer(fields, "lease_ms"),
        engine=_text(fields, "engine"),
        limits={str(k): v for k, v in limits.items()},
    )


def decode_handover(payload: bytes) -> Handover:
    return Handover(*_address(_object(payload)))


def mismatches(mine: Leadership, theirs: Leadership) -> list[str]:
    """Settings that must agree and differ, as "name: mine here, theirs there"."""
    ours = {**mine.limits, "lease_ms": mine.lease_ms}
    other = {**theirs.limits, "lease_ms": theirs.lease_ms}
    return [
        f"{name}: {ours[name]} here, {other[name]} at the primary"
        for name in sorted(ours)
        if name in other and other[name] != ours[name]
    ]


def _object(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise AnnounceError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise AnnounceError("not an object")
    return fields


def _address(fields: dict[str, Any]) -> tuple[str, bytes, str, str, int]:
    try:
        incarnation = bytes.fromhex(_text(fields, "incarnation"))
    except ValueError as error:
        raise AnnounceError(f"incarnation: {error}") from error
    return (
        _text(fields, "node"),
        incarnation,
        _text(fields, "az"),
        _text(fields, "host"),
        _integer(fields, "port"),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise AnnounceError(f"{name} is not a text")
    return value


def _integer(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if not isinstance(value, int):
        raise AnnounceError(f"{name} is not an integer")
    return value
