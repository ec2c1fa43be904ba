"""The settings the engine itself reads, as plain values. `memstore.config` names, documents and parses them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Settings:
    databases: int = 16
    requirepass: bytes = b""
    proto_max_bulk_len: int = 512 * 1024 * 1024  # bytes
    lua_time_limit_ms: int = 5000
    slowlog_log_slower_than_us: int = 10_000
    slowlog_max_len: int = 128
    latency_monitor_threshold_ms: int = 0
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    max_entry_bytes: int = 4 * 1024 * 1024
    cluster_enabled: bool = False
