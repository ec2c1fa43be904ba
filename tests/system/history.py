"""The record of each operation of a client and its answer.

Decides: the form of a recorded history and its file.
Must not know: how the history was made (`workload`) or judged (`checks`, `linearizability`). Times
are seconds of one machine's monotonic clock. `invoke` is before the first byte was sent. `complete`
is after the whole reply was read. For an unknown outcome, `complete` is when the client gave up;
the operation may still take effect at any later time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

OK = "ok"  # acknowledged: it happened, between invoke and complete
# -UNKNOWN, closed with the command outstanding, or no answer in time: the operation may happen,
# once, at any time from invoke on
UNKNOWN = "unknown"
REFUSED = "refused"  # a typed error that says that it was not executed: it must never be seen

WRITE = "write"  # the key now holds `value`
APPEND = "append"  # `value` is added at the end of the key
READ = "read"  # `value` is what was read (None: absent)


@dataclass(slots=True)
class Operation:
    client: int
    kind: str
    key: str
    value: str | None
    invoke: float
    complete: float
    outcome: str
    detail: str = ""  # the error's text, or why it is unknown
    node: int = 0  # port of the node asked

    @property
    def changes(self) -> bool:
        return self.kind != READ


def save(path: Path, operations: Iterable[Operation]) -> None:
    """One JSON object a line."""
    with path.open("w") as file:
        for operation in operations:
            file.write(json.dumps(asdict(operation)) + "\n")


def load(path: Path) -> list[Operation]:
    return [Operation(**json.loads(line)) for line in path.read_text().splitlines() if line]


def by_key(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The history cut by key; registers of different keys are independent."""
    keys: dict[str, list[Operation]] = {}
    for operation in operations:
        keys.setdefault(operation.key, []).append(operation)
    return keys
