"""Settings of a log node: names, units, defaults, limits, and how they come from a file.

Decides: what may be set and which values are wrong, each with one clear line.
Must not know: what uses a setting. A file is TOML; its keys are the field names below with dashes
for underscores. The command line overrides the file.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
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
    """See `MEANINGS`."""

    az: str
    data: Path
    port: int = DEFAULT_PORT
    bind: str = "127.0.0.1"
    secret_file: Path | None = None
    max_frame_bytes: int = 32 << 20
    segment_bytes: int = 64 << 20
    cache_bytes: int = 32 << 20
    max_connections: int = 4096
    max_callers_per_address: int = 64
    max_output_bytes: int = 2 << 20
    max_total_output_bytes: int = 256 << 20
    max_total_input_bytes: int = 256 << 20
    max_logs: int = 16
    max_lease_ms: int = MAX_LEASE_MS
    heartbeat_ms: int = 100
    scrub_bytes_per_s: int = DEFAULT_SCRUB_BYTES_PER_S
    scrub_pause_s: int = DEFAULT_SCRUB_PAUSE_S
    log_format: str = "auto"
    secret: bytes | None = field(default=None, repr=False)  # the contents of secret_file


MEANINGS: Final[dict[str, str]] = {
    "az": "the availability zone of this node; required",
    "data": "the data folder: empty, or this node's own; required",
    "port": "the port to listen on; 0: any free one",
    "bind": "the address to listen on; any but a loopback address needs secret-file",
    "secret_file": "file with the secret that log nodes and their clients share",
    "max_frame_bytes": "a longer message closes the connection it came from",
    "segment_bytes": "size of one segment file, which is allocated ahead",
    "cache_bytes": "newest entries of each log that are kept in memory for readers",
    "max_connections": "connections of all callers",
    "max_callers_per_address": "connections from one address that have not finished the handshake; "
    "above it the oldest is closed",
    "max_output_bytes": "bytes that a caller has not read; above it the caller is not answered",
    "max_total_output_bytes": "the same of all callers; above it the one with the most is closed",
    "max_total_input_bytes": "bytes of messages that have come in part, of all callers; above it "
    "the one with the most is closed",
    "max_logs": "a writer that names a log beyond these is refused; a log takes two segments",
    "max_lease_ms": "a writer that asks for a longer lease is refused",
    "heartbeat_ms": "between two heartbeats to a reader",
    "scrub_bytes_per_s": "bytes of each log that the scrubber reads again; 0: none",
    "scrub_pause_s": "between two passes of the scrubber through a log",
    "log_format": "auto (lines on a terminal, else JSON), console or json",
}

_LIMITS: Final[dict[str, tuple[int, int]]] = {
    "port": (0, 65535),
    "max_frame_bytes": (8 << 20, 1 << 30),
    # large enough for an entry of 4 MiB and more; offsets in it have 32 bits
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


def example() -> str:
    """A settings file with every setting at its default."""
    lines = ["# Settings of txlog server, with their defaults. Remove the # of a line to set it."]
    for setting in fields(LogServerConfig):
        if setting.name not in MEANINGS:
            continue
        limits = _LIMITS.get(setting.name)
        words = f" ({limits[0]} to {limits[1]})" if limits else ""
        default = "" if setting.default is MISSING else setting.default
        value = default if isinstance(default, int) else f'"{default or ""}"'
        lines += ["", f"# {MEANINGS[setting.name]}{words}", f"# {_dashed(setting.name)} = {value}"]
    return "\n".join(lines) + "\n"


def load(path: Path | None, overrides: dict[str, Any]) -> LogServerConfig:
    """The settings of ``path`` (none: the defaults). Those of ``overrides`` that are not None
    replace them. Raises `ConfigError`.
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
