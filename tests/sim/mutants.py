"""Deliberate bugs: a simulator that finds nothing proves nothing.

`make mutants` plants each bug in turn and prints what catches it.

Decides: how a bug is planted and what a hunt tries. The text of a piece (`log_mutants`,
`engine_mutants`) has the form that `ast.unparse` writes. So a mutant depends neither on the layout
nor on comments. A piece must be there exactly once, else it is an error: so an outdated mutant is
noticed.
Must not know: how a bug is found. This module only names a schedule (`tests.sim.directed`); the one
shared workload finds the other bugs.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.sim.engine_mutants import ENGINE_MUTANTS
from tests.sim.log_mutants import LOG_MUTANTS
from tests.sim.mutant import Mutant

MUTANTS: dict[str, Mutant] = LOG_MUTANTS | ENGINE_MUTANTS


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant the named bug in the real code, until the end of the block."""
    mutant = MUTANTS[name]
    with ExitStack() as undo:
        for piece in mutant.pieces:
            plant(mutant.owner, *piece, undo)
        yield


def plant(owner: Any, function: str, old: str, new: str, undo: ExitStack) -> None:
    original = inspect.getattr_static(owner, function)
    changed = _rewritten(owner, function, old, new)
    for place in [owner, *_users(owner, function, original)]:
        setattr(place, function, changed)
        undo.callback(setattr, place, function, original)


def _users(owner: Any, function: str, original: Any) -> list[Any]:
    """Modules that have imported a module's function by name."""
    if inspect.isclass(owner):
        return []
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(("txlog.", "memstore."))
        and module is not owner
        and getattr(module, function, None) is original
    ]


def rewritten(mutant: Mutant) -> list[Any]:
    return [_rewritten(mutant.owner, *piece) for piece in mutant.pieces]


def _rewritten(owner: Any, function: str, old: str, new: str) -> Any:
    module = sys.modules[owner.__module__ if inspect.isclass(owner) else owner.__name__]
    source = _source(owner, function)
    assert source.count(old) == 1, f"{function} holds {source.count(old)} times {old!r}"
    scope: dict[str, Any] = {}
    exec(
        compile(
            "from __future__ import annotations\n" + source.replace(old, new),
            f"<mutant of {function}>",
            "exec",
        ),
        vars(module),
        scope,
    )
    return scope[function]


def _source(owner: Any, function: str) -> str:
    """A function with its decorators as `ast.unparse` writes it: one line a statement."""
    whole = inspect.getsource(owner).splitlines(keepends=True)
    starts = [at for at, line in enumerate(whole) if line.lstrip().startswith(f"def {function}(")]
    assert len(starts) == 1, f"{function} is there {len(starts)} times"
    first = starts[0]
    indent = len(whole[first]) - len(whole[first].lstrip())
    while first and whole[first - 1].startswith(" " * indent + "@"):
        first -= 1
    text = "".join([*whole[first : starts[0]], *inspect.getblock(whole[starts[0] :])])
    return ast.unparse(ast.parse(textwrap.dedent(text)))


# ----------------------------------------------------------------------- how soon each bug is found


def hunt(name: str, first: int, seeds: int, processes: int) -> tuple[str, str]:
    """(the schedule or number of seeds that caught it, the finding); an empty first: it survived.
    If the mutant names a schedule, that schedule is played first.
    """
    from tests.sim.__main__ import many_until_failure  # here: they import this module
    from tests.sim.directed import play
    from tests.sim.directed.stage import NOT_STAGED

    schedule = MUTANTS[name].schedule
    if schedule:
        with planted(name):
            problems = play(schedule)
        if problems and not problems[0].startswith(NOT_STAGED):
            return schedule, problems[0]
    count, reason = many_until_failure(name, first, seeds, processes)
    return (f"{count} seed{'s' if count > 1 else ''}" if count else ""), reason


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    survived = []
    print("| mutant | the bug | caught by | what was seen |\n| --- | --- | --- | --- |", flush=True)
    for name, mutant in MUTANTS.items():
        if args.only and name not in args.only.split(","):
            continue
        began = time.monotonic()
        by, reason = hunt(name, args.first, args.seeds, args.processes)
        if not by:
            survived.append(name)
        print(f"| {name} | {mutant.what} | {by or 'SURVIVED'} | {reason[:110]} |", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"{len(survived)} survived" + (": " + ", ".join(survived) if survived else ""))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
