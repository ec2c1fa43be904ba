"""A log's address: the text that an operator writes, and its parts.

Decides: the form of a log's address and of a log's name.
Must not know: how a connection is made.
Invariant: a name that passes `valid_log_name` is safe as a folder's name on any file system.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEFAULT_LOG_NAME: Final = "shard-0"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_HOST_CHARACTERS: Final = 253
_SCHEME: Final = "txlog://"
_EMBEDDED: Final = "embedded:"


class AddressError(ValueError):
    """The address cannot be used; the text is one line for the operator."""


def valid_log_name(name: str) -> bool:
    return _NAME.match(name) is not None


def parse_host_port(text: str, default_port: int = 7401) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``host``."""
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port_text = rest.removeprefix(":")
    elif text.count(":") > 1:
        raise AddressError(f"'{text}': write an IPv6 address as [address]:port")
    else:
        host, _, port_text = text.partition(":")
    if not host:
        raise AddressError(f"'{text}' names no host")
    if not _is_host(host):
        raise AddressError(f"{text[:100]!r}: that is not a host's name")
    if not port_text:
        return host, default_port
    if (
        not port_text.isascii()
        or not port_text.isdigit()
        or len(port_text) > 5
        or not 0 < int(port_text) < 65536
    ):
        raise AddressError(f"'{text}': {port_text!r} is not a port")
    return host, int(port_text)


def _is_host(host: str) -> bool:
    """Whether a look-up accepts the text. For a name with a NUL or a very long label, a look-up
    raises errors of other kinds.
    """
    if len(host) > _HOST_CHARACTERS or not host.isprintable() or " " in host:
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def format_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class LogAddress:
    """``nodes`` of a quorum log, or the ``folder`` of an embedded one; ``log``: the log's name."""

    nodes: tuple[tuple[str, int], ...]
    log: str
    folder: Path | None = field(default=None)

    @property
    def embedded(self) -> bool:
        return self.folder is not None

    @staticmethod
    def parse(text: str) -> LogAddress:
        """``txlog://h1:7401,h2:7401,h3:7401/log-0`` or ``embedded:DIR``. Raises `AddressError`."""
        if text.startswith(_EMBEDDED):
            folder = (
                text[len(_EMBEDDED) :].removeprefix("//")
                if text.startswith(_EMBEDDED + "//")
                else text[len(_EMBEDDED) :]
            )
            if not folder:
                raise AddressError("'embedded:' needs a folder, as in embedded:/var/lib/memstore")
            return LogAddress((), DEFAULT_LOG_NAME, Path(folder))
        if not text.startswith(_SCHEME):
            raise AddressError(
                f"'{text}' is not the address of a log: "
                "txlog://host:port,host:port,host:port/name or embedded:DIR"
            )
        hosts, slash, name = text[len(_SCHEME) :].partition("/")
        name = name.rstrip("/") if slash else DEFAULT_LOG_NAME
        if not valid_log_name(name or DEFAULT_LOG_NAME):
            raise AddressError(
                f"'{name}' is not a log's name: small letters, digits, '.', '_', '-', at most 64, "
                "a letter or digit first"
            )
        nodes = tuple(sorted(parse_host_port(part) for part in hosts.split(",") if part.strip()))
        if not nodes:
            raise AddressError(f"'{text}' names no log node")
        if len(set(nodes)) != len(nodes):
            raise AddressError(f"'{text}' names a log node twice")
        return LogAddress(nodes, name or DEFAULT_LOG_NAME)

    def __str__(self) -> str:
        if self.folder is not None:
            return f"{_EMBEDDED}{self.folder}"
        nodes = ",".join(format_host_port(host, port) for host, port in self.nodes)
        return f"{_SCHEME}{nodes}/{self.log}"
