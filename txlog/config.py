"""Settings of a log node: names, units, defaults, limits, and how they come from a file.

Decides: what may be set and which values are wrong, each with one clear line.
Must not know: who uses a setting. A file is TOML; its keys are the field names below with dashes
for underscores. What is given on the command line wins.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from txlog.messages import MAX_LEASE_MS
from txlog.secret_file import SecretFileError, read_log_secret
from txlog.trust import is_loopback

DEFAULT_PORT: Final = 7401
DEFAULT_SCRUB_BYTES_PER_S: Final = 256 << 10
DEFAULT_SCRUB_PAUSE_S: Final = 600
_AZ: Final = re.compile(r"[A-Za-z0-9._-]{1,32}\Z")


class ConfigError(ValueError):
    """A setting is wrong; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class LogServerConfig:
    az: str
    data: Path
    port: int = DEFAULT_PORT
    bind: str = "127.0.0.1"
    secret_file: Path | None = None
    max_frame_bytes: int = 32 << 20  # a longer message closes the connection it came from
    segment_bytes: int = 64 << 20  # size of one segment file, allocated ahead
    cache_bytes: int = 32 << 20  # newest entries of each log kept in memory for readers
    max_connections: int = 4096
    # connections from one address that have not finished the handshake;
    # above it the oldest is closed
    max_callers_per_address: int = 64
    # that a caller has not read: nothing more of it is answered, its subscription waits
    max_output_bytes: int = 2 << 20
    # of all callers: above it the caller with the most is closed
    max_total_output_bytes: int = 256 << 20
    # of messages that have come in part, of all callers:
    # above it the caller with the most is closed
    max_total_input_bytes: int = 256 << 20
    # a writer that names a log beyond these is refused; each log takes two segments at once
    max_logs: int = 16
    max_lease_ms: int = MAX_LEASE_MS  # a writer that asks for a longer lease is refused
    heartbeat_ms: int = 100  # to every reader
    # what the scrubber re-reads of each log; 0: nothing
    scrub_bytes_per_s: int = DEFAULT_SCRUB_BYTES_PER_S
    scrub_pause_s: int = DEFAULT_SCRUB_PAUSE_S  # between two passes through a log
    # of our own messages on stderr: "auto" (lines on a terminal, else JSON), "console", "json"
    log_format: str = "auto"
    secret: bytes | None = field(default=None, repr=False)  # what secret_file holds


_LIMITS: Final[dict[str, tuple[int, int]]] = {
    "port": (0, 65535),
    "max_frame_bytes": (8 << 20, 1 << 30),
    # holds an entry of 4 MiB with room to spare; offsets in it have 32 bits
    "segment_bytes": (8 << 20, 4 << 30),
    "cache_bytes": (0, 64 << 30),
    "max_connections": (1, 1 << 20),
    "max_callers_per_address": (1, 1 << 20),
    "max_output_bytes": (64 << 10, 1 << 30),
    "max_total_output_bytes": (16 << 20, 64 << 30),
    "max_total_input_bytes": (32 << 20, 64 << 30),
    "max_logs": (1, 4096),
    "max_lease_ms": (100, MAX_LEASE_MS),
    "heartbeat_ms": (10, 1000),
    "scrub_bytes_per_s": (0, 1 << 30),
    "scrub_pause_s": (1, 30 * 86400),
}


def load(path: Path | None, overrides: dict[str, Any]) -> LogServerConfig:
    """The settings of ``path`` (none: the defaults), with those of ``overrides`` that are not None
    in their place. Raises `ConfigError`.
    """
    values: dict[str, Any] = _read_file(path) if path is not None else {}
    values.update({name: value for name, value in overrides.items() if value is not None})
    for required in ("az", "data"):
        if not values.get(required):
            raise ConfigError(
                f"'{required}' is not set: give --{required}, or a line in the settings file"
            )
    for name, (low, high) in _LIMITS.items():
        if name in values and not (
            isinstance(values[name], int)
            and not isinstance(values[name], bool)
            and low <= values[name] <= high
        ):
            raise ConfigError(
                f"'{_dashed(name)}' must be a whole number from {low} to {high}, not "
                f"{values[name]!r}"
            )
    for name in ("az", "bind", "log_format"):
        if name in values and not isinstance(values[name], str):
            raise ConfigError(f"'{_dashed(name)}' must be text, not {values[name]!r}")
    if not _AZ.match(values["az"]):
        raise ConfigError(
            f"'az' {values['az']!r}: letters, digits, '.', '_' and '-' only, at most 32"
        )
    if values.get("log_format", "auto") not in ("auto", "console", "json"):
        raise ConfigError(
            f"'log-format' must be auto, console or json, not {values['log_format']!r}"
        )
    for name in ("data", "secret_file"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    if values.get("secret_file") is not None:
        values["secret"] = read_secret(values["secret_file"])
    elif not is_loopback(values.get("bind", "127.0.0.1")):
        raise ConfigError(
            f"'bind' {values['bind']} is not a loopback address: that needs --secret-file, else "
            "anybody on the network could write the log"
        )
    return LogServerConfig(**values)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} is not TOML: {error}") from error
    known = {_dashed(f.name): f.name for f in fields(LogServerConfig) if f.name != "secret"}
    for name in raw:
        if name not in known:
            raise ConfigError(
                f"settings file {path}: there is no setting '{name}' (known: "
                f"{', '.join(sorted(known))})"
            )
    return {known[name]: value for name, value in raw.items()}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def read_secret(path: Path) -> bytes:
    """The shared secret in ``path``. Raises `ConfigError`."""
    try:
        return read_log_secret(path)
    except SecretFileError as error:
        raise ConfigError(str(error)) from error
