"""Where settings come from: defaults, then ``memstore.toml``, then the command line.

Decides: how a file and overrides become a `ServerConfig`, and the one clear line for an error.
Must not know: what a setting means (`memstore.engine.settings` has the table).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from memstore.engine.settings import (
    CHOICE,
    FLAG,
    MEMORY,
    NUMBER,
    PERCENTILES,
    SECRET,
    TABLE,
    Setting,
    SettingError,
    Settings,
    all_names,
    bounded,
    find,
    parse,
)

_LONGEST_SHOWN = 200  # characters of a wrong value in its message
_LONGEST_SHOWN_BITS = 256


class ConfigError(Exception):
    """One line: what is wrong, and where."""


@dataclass(slots=True)
class ServerConfig(Settings):
    """The settings of one engine node.
    The node and its engine read the same object, so both see CONFIG SET.
    """

    @property
    def engine(self) -> Settings:
        return self


def load(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> ServerConfig:
    """Apply the defaults, then the file, then ``overrides``. Raises ConfigError.
    Setting names have either spelling, ``lease-ms`` or ``lease_ms``; None: not given.
    """
    config = ServerConfig()
    if path is not None:
        for name, value in _read(Path(path)).items():
            _assign(config, name, value, f"{path}: ")
        config.config_file = str(Path(path).absolute())
    for name, value in (overrides or {}).items():
        if value is not None:
            _assign(config, name.replace("_", "-"), value, "")
    _check_together(config)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as broken:
        # bad TOML, bad UTF-8, a number with more digits than Python converts, brackets nested too
        # deep
        raise ConfigError(f"{path}: not valid TOML: {broken}") from None


def _assign(config: ServerConfig, name: str, value: Any, where: str) -> None:
    row = find(name)
    if row is None:
        near = get_close_matches(name, all_names(), 1)
        raise ConfigError(
            f"{where}unknown setting '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
        )
    try:
        setattr(config, row.attribute, _convert(row, value))
    except SettingError as error:
        unit = f" ({row.unit})" if row.unit else ""
        raise ConfigError(
            f"{where}{row.name}{unit} = {'...' if row.kind == SECRET else _quoted(value)}: {error}"
        ) from None


def _quoted(value: Any) -> str:
    """Return the value as a message shows it. Python prints no integer of more than 4300 digits."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN_BITS:
        return "..."
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _convert(row: Setting, value: Any) -> Any:
    """Convert from TOML's types (or a command line's text) to the setting's type."""
    if row.kind in (NUMBER, MEMORY) and isinstance(value, int) and not isinstance(value, bool):
        return bounded(row, value)
    if row.kind == FLAG and isinstance(value, bool):
        return value
    if row.kind == CHOICE and isinstance(value, bool):
        return parse(row, "yes" if value else "no")
    if row.name == "bind" or row.kind == PERCENTILES:
        value = " ".join(str(item) for item in value) if isinstance(value, list) else value
    if not isinstance(value, str):
        wanted = {
            NUMBER: "an integer",
            MEMORY: "a number of bytes or a text like '64mb'",
            FLAG: "true or false",
        }.get(row.kind, "a text")
        raise SettingError(f"must be {wanted}")
    return parse(row, value)


def _check_together(config: ServerConfig) -> None:
    if config.max_entry_bytes > config.max_uncommitted_bytes:
        raise ConfigError(
            f"max-entry-bytes ({config.max_entry_bytes}) is larger than max-uncommitted-bytes "
            f"({config.max_uncommitted_bytes})"
        )
    if config.cluster_enabled and config.databases != TABLE["databases"].default:
        raise ConfigError(
            "databases cannot be set with cluster-enabled: a cluster has database 0 only"
        )


def example() -> str:
    """Return a ``memstore.toml`` of every setting at its default, with its unit and range."""
    lines = ["# Settings of a memstore node. What is commented out is the default.", ""]
    for row in TABLE.values():
        about = [row.unit] if row.unit else []
        about += (
            [f"{row.low} to {row.high}"]
            if row.kind in (NUMBER, MEMORY) and row.high < 2**31 - 1
            else []
        )
        about += ["one of " + ", ".join(c or '""' for c in row.choices)] if row.choices else []
        about += ["may be changed by CONFIG SET"] if row.runtime else []
        lines.append(f"# {row.doc}" + (f" ({'; '.join(about)})" if about else ""))
        value = (
            str(row.default).lower()
            if isinstance(row.default, (bool, int))
            else '"' + str(row.default) + '"'
        )
        lines.append(f"# {row.name} = {value}")
    return "\n".join(lines) + "\n"
