"""What control entries say: who took over (LEADERSHIP), to whom a primary hands over (HANDOVER).

Decides: their JSON. Must not know: when they are written. They are facts for display and for finding the primary; safety never rests on them.
A field that is missing takes its default and an unknown one is ignored, so that versions of the engine can follow one another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


class AnnounceError(ValueError):
    """A control entry that cannot be read; the text says why."""


@dataclass(slots=True)
class Leadership:
    """Who leads: written by the primary as the first entry of its term."""

    node: str = ""  # 40 hex digits, the same for the life of an address
    incarnation: bytes = b""  # of the process life
    az: str = ""
    host: str = ""
    port: int = 0
    lease_ms: int = 0
    engine: str = ""  # the engine's version
    limits: dict[str, int] = field(default_factory=dict)  # settings that must agree on every node of a shard

    def encode(self) -> bytes:
        fields = {
            "node": self.node, "incarnation": self.incarnation.hex(), "az": self.az, "host": self.host, "port": self.port,
            "lease_ms": self.lease_ms, "engine": self.engine, "limits": self.limits,
        }  # fmt: skip
        return json.dumps(fields, separators=(",", ":")).encode()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Handover:
    """Who comes next, if it campaigns in time."""

    node: str = ""
    incarnation: bytes = b""
    az: str = ""
    host: str = ""
    port: int = 0

    def encode(self) -> bytes:
        fields = {"node": self.node, "incarnation": self.incarnation.hex(), "az": self.az, "host": self.host, "port": self.port}
        return json.dumps(fields, separators=(",", ":")).encode()


def decode_leadership(payload: bytes) -> Leadership:
    fields = _object(payload)
    limits = fields.get("limits", {})
    if not isinstance(limits, dict) or not all(isinstance(value, int) for value in limits.values()):
        raise AnnounceError("limits is not an object of integers")
    common = _address(fields)
    return Leadership(*common, lease_ms=_integer(fields, "lease_ms"), engine=_text(fields, "engine"), limits={str(k): v for k, v in limits.items()})


def decode_handover(payload: bytes) -> Handover:
    return Handover(*_address(_object(payload)))


def mismatches(mine: Leadership, theirs: Leadership) -> list[str]:
    """Settings that must agree and do not, as "name: mine here, theirs there"."""
    ours = {**mine.limits, "lease_ms": mine.lease_ms}
    other = {**theirs.limits, "lease_ms": theirs.lease_ms}
    return [f"{name}: {ours[name]} here, {other[name]} at the primary" for name in sorted(ours) if name in other and other[name] != ours[name]]


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
    return _text(fields, "node"), incarnation, _text(fields, "az"), _text(fields, "host"), _integer(fields, "port")


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
