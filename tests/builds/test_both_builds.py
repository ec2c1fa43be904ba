"""The compiled modules in this process give what the source gives in another one: for the edge
arguments of every command, and for runs of the simulator.

Decides: which processes are compared.
Must not know: which arguments are tried (`edges`), what a run does (`tests.sim`). It runs in the
compiled tree only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

import memstore.engine.engine
from tests.builds import edges
from tests.compiled_rules import ROOT
from tests.sim.run import Plan, run

SEEDS = range(1, 21)
BOUND_S = 300
# build/compiled lies in the repository
SOURCE = Path(os.environ.get("MEMSTORE_SOURCE_TREE") or ROOT.parent.parent)
DIGESTS = """
import sys, memstore.engine.engine
from tests.sim.run import Plan, run
digests = [f"{run(Plan(seed)).digest:08x}" for seed in map(int, sys.argv[1:])]
print(memstore.engine.engine.__file__, *digests, sep="\\n")
"""

pytestmark = pytest.mark.skipif(
    not str(memstore.engine.engine.__file__).endswith(".so"),
    reason="compares the compiled modules of this process with the source: make test COMPILED=1",
)


def interpreted(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *command],
        cwd=SOURCE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    )


def told(child: subprocess.Popen[str]) -> list[str]:
    output, _ = child.communicate(timeout=BOUND_S)
    assert child.returncode == 0
    return output.splitlines()


def test_the_edge_arguments_of_every_command_have_the_same_answers_and_effects() -> None:
    child = interpreted("-m", "tests.builds.edges", "--build")
    mine = list(edges.lines())
    build, *theirs = told(child)
    assert build.endswith(".py"), "the other process is compiled too"
    assert len(mine) > 10_000
    differences = [
        f"compiled {one}\n source  {other}"
        for one, other in zip_longest(mine, theirs)
        if one != other
    ]
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:10])


def test_no_edge_argument_raises_an_error_of_the_program() -> None:
    assert [
        line
        for line in edges.lines(
            frozenset((b"GETRANGE", b"SUBSTR", b"SETRANGE", b"LRANGE", b"ZRANGE"))
        )
        if edges.FAILED in line
    ] == []


def test_a_seed_gives_the_same_digest_in_both_builds() -> None:
    child = interpreted("-c", DIGESTS, *map(str, SEEDS))
    mine = [f"{run(Plan(seed)).digest:08x}" for seed in SEEDS]
    build, *theirs = told(child)
    assert build.endswith(".py"), "the other process is compiled too"
    assert dict(zip(SEEDS, mine, strict=True)) == dict(zip(SEEDS, theirs, strict=True))
