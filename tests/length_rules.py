"""Limits on the length of lines, functions and files, for `tests/test_tidy.py`.

Decides: the limits, and which existing code still exceeds them. Each rule is a function from a
source to the list of its violations.
Must not know: which files exist.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

LINE_COLUMNS = 100
FUNCTION_LINES = 60
FILE_LINES = 600

# Code that still exceeds the limits, and its length: it may shrink and not grow. An entry that is
# no longer needed is an error.
LONG_FILES: dict[str, int] = {
    "memstore.replication.roles": 720,
    "tests.sim.campaigns": 871,
}
LONG_FUNCTIONS: dict[tuple[str, str], int] = {
    ("memstore.replication.dispatch", "run"): 74,
    ("memstore.node.client_connection", "run"): 61,
    ("txlog.storage.inspect", "_verify_segment"): 61,
    ("tests.sim.seams", "installed"): 70,
    ("tests.system.points.clients", "standalone"): 80,
    ("tests.system.points.clients", "cluster_mode"): 68,
    ("tests.system.points.clients", "fresh_clone"): 75,
    ("tests.system.points.diskfull", "_two"): 62,
    ("tests.system.points.handover", "under_load"): 61,
    ("tests.system.points.memory", "soak"): 64,
    ("tests.system.points.reads", "strong"): 70,
    ("tests.txlog.service.test_delete", "test_the_commands"): 67,
    (
        "tests.txlog.service.test_replace_process",
        "test_replace_under_load_with_kills_at_every_step",
    ): 92,
    (
        "tests.txlog.service.test_scrub",
        "test_a_byte_rots_under_a_running_node_and_is_repaired_without_a_restart",
    ): 76,
}


@dataclass
class Source:
    module: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return [*ast.walk(self.tree)]


def functions(source: Source) -> Iterator[tuple[str, int, int]]:
    """The name of every function, its line and its number of lines."""
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def functions_are_short(source: Source) -> list[str]:
    found = []
    for name, line, lines in functions(source):
        limit = LONG_FUNCTIONS.get((source.module, name), FUNCTION_LINES)
        if lines > limit:
            found.append(f"line {line}: {name} has {lines} lines, {limit} are the limit")
    return found


def files_are_short(source: Source) -> list[str]:
    lines, limit = source.text.count("\n"), LONG_FILES.get(source.module, FILE_LINES)
    return [f"{lines} lines, {limit} are the limit"] if lines > limit else []


def long_files_are_long(source: Source) -> list[str]:
    listed = source.module in LONG_FILES
    if listed and source.text.count("\n") <= FILE_LINES:
        return ["it is short: take it out of LONG_FILES"]
    return []


def long_functions_are_long(source: Source) -> list[str]:
    longest: dict[str, int] = {}
    for name, _, lines in functions(source):
        longest[name] = max(lines, longest.get(name, 0))
    return [
        f"{name} is short, or gone: take it out of LONG_FUNCTIONS"
        for module, name in LONG_FUNCTIONS
        if module == source.module and longest.get(name, 0) <= FUNCTION_LINES
    ]


def lines_fit(source: Source) -> list[str]:
    return [
        f"line {number}: {columns} columns, {LINE_COLUMNS} are the limit"
        for number, line in enumerate(source.text.splitlines(), 1)
        if (columns := len(line.expandtabs())) > LINE_COLUMNS
    ]


def prose(markdown: str) -> str:
    """Markdown with empty lines in place of tables, code blocks and lines with only a link."""
    kept, fenced, behind_empty, code = [], False, True, False
    for line in markdown.splitlines():
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        code = line.startswith("    ") and (behind_empty or code)
        behind_empty = not line.strip()
        left_out = fence or fenced or code or line.lstrip().startswith("|") or "://" in line
        kept.append("" if left_out else line)
    return "\n".join(kept)


def prose_fits(source: Source) -> list[str]:
    return lines_fit(Source(source.module, prose(source.text)))


Rule = Callable[[Source], list[str]]

LENGTH_RULES: list[Rule] = [
    functions_are_short,
    files_are_short,
    long_files_are_long,
    long_functions_are_long,
    lines_fit,
]

PLANTED: list[tuple[Rule, str, str]] = [
    (functions_are_short, "memstore.engine.bad", "def f():\n" + "    x = 1\n" * 60),
    *[
        (functions_are_short, module, f"def {name}():\n" + "    x = 1\n" * lines)
        for (module, name), lines in LONG_FUNCTIONS.items()
    ],
    (files_are_short, "memstore.engine.bad", "x = 1\n" * 601),
    *[(files_are_short, module, "x = 1\n" * (lines + 1)) for module, lines in LONG_FILES.items()],
    *[(long_files_are_long, module, "x = 1\n" * 600) for module in LONG_FILES],
    *[(long_functions_are_long, module, "x = 1\n") for module, _ in LONG_FUNCTIONS],
    (lines_fit, "memstore.engine.bad", "x = 1  # " + "x" * 92),
    (lines_fit, "Makefile", "\t" + "x" * 93),
    (prose_fits, "README.md", "x " * 60),
    (prose_fits, "README.md", "```\ncode\n```\n- " + "x " * 60),
    (prose_fits, "README.md", "- an item\n    " + "x " * 60),
]
