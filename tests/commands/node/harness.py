"""An engine and its sessions in this process, without shard or sockets: what a command answers is
what its handler returned.
"""

from __future__ import annotations

import shlex
from random import Random
from typing import Any

import hiredis

from memstore.commands import build_table
from memstore.config import ServerConfig
from memstore.engine.engine import Engine
from memstore.engine.session import Session

NOW_MS = 1_700_000_000_123


class Node:
    """One engine; time stands still unless a test moves it."""

    def __init__(self, **settings: Any) -> None:
        self.config = ServerConfig(**{"enable_debug_command": "yes", **settings})
        self.engine = Engine(self.config, Random(1), build_table())
        self.engine.facts.started_ms = NOW_MS - 60_000
        self.engine.facts.role = "primary"
        self.wall_ms = NOW_MS

    def connect(self, address: str = "") -> Client:
        id = len(self.engine.sessions) + 1
        authenticated = not self.config.requirepass
        session = Session(
            id, address or f"127.0.0.1:{50_000 + id}", "127.0.0.1:6379", NOW_MS, authenticated
        )
        self.engine.sessions[id] = session
        return Client(self, session)


class Client:
    def __init__(self, node: Node, session: Session) -> None:
        self.node = node
        self.session = session

    def raw(self, *argv: bytes) -> bytes:
        """The encoded reply."""
        engine, context = self.node.engine, self.node.engine.context
        context.bind(self.session, self.node.wall_ms)
        row = engine.find(list(argv))
        if isinstance(row, bytes):
            return row
        answer = engine.call(row, list(argv))
        del context.unit[:], context.changed[:], context.changed_all[:]
        self.session.last_command = row.name
        return b"" if answer is None else answer

    def line(self, text: str) -> bytes:
        """As `raw`, from a line in a shell's quoting."""
        return self.raw(*[word.encode() for word in shlex.split(text)])

    def ask(self, text: str) -> Any:
        """The decoded reply; errors as text with their dash."""
        return decoded(self.line(text))

    def info(self, sections: str = "") -> dict[str, str]:
        text = self.ask(f"INFO {sections}")
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def decoded(answer: bytes) -> Any:
    if answer[:1] == b"-":
        return answer[:-2].decode()
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    reader.feed(answer)
    return reader.gets()
