"""The records of a run's history: what clients did and which answers they got.

Decides: nothing.
Must not know: who judges it. Times are true time (of a soak: one machine's monotonic clock) in
microseconds. A record is one command, or one MULTI...EXEC with all its parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OK = "ok"  # answered: it happened between invoke and complete
UNKNOWN = "unknown"  # may have happened, once, at any time from invoke on
REFUSED = "refused"  # a typed error that says that it was not executed

STRONG = "strong"
SESSION = "session"
EVENTUAL = "eventual"

# The effect of a part on its key.
SET = "set"  # a register now holds the value
GET = "get"  # read the register's value
APPEND = "append"  # a token is added to a journal; the answer is the journal's new length
READ = "read"  # read the whole journal
INCREASE = "increase"  # by one; the answer is the counter's new value
COUNT = "count"  # read the counter's value
LEASED = "leased"  # a register with an expiry
LOOK = "look"  # read such a register
ANY = "any"  # a command from the whole table; only its effect on the state is judged

READ_KINDS = (GET, READ, COUNT, LOOK)


@dataclass(slots=True)
class Part:
    kind: str
    key: str
    value: str | None = None  # the written value
    answer: str | int | None = None  # the value read, or the reply


@dataclass(slots=True)
class Record:
    client: int
    number: int
    parts: list[Part]
    invoke: int
    complete: int = 0
    outcome: str = UNKNOWN
    detail: str = ""
    node: str = ""
    level: str = STRONG
    connection: int = 0
    commands: list[tuple[bytes, ...]] = field(default_factory=list)
    final: bool = False  # one of the reads at the end of the run
