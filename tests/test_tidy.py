"""Tests of the architecture and the house rules.

The tests read every source file with `ast` and compare it with the tables below. Each rule is a
function from a source to the list of its violations. Each rule is first tried on a planted
violation: a rule that finds nothing proves nothing.

Decides: who may import whom, what pure layers may not call, what a module header must have.
`length_rules` decides the limits of lines, functions and files.
Must not know: what the code does.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from tests import compiled_rules, length_rules
from tests.compiled_rules import COMPILED_RULES, hot_modules
from tests.documents import cited_rules_are_defined
from tests.import_circles import LEFT, PACKAGES, import_circles, imported
from tests.interpreted_only import INTERPRETED_ONLY
from tests.length_rules import (
    LENGTH_RULES,
    LONG_FILES,
    LONG_FUNCTIONS,
    Source,
    lines_fit,
    prose_fits,
)

ROOT = Path(__file__).resolve().parent.parent

# --------------------------------------------------------------------------- the tables

# The layout of a log on disk, as bytes. The other modules of txlog.storage work on the files.
PURE_STORAGE = (
    "txlog.storage.segment",
    "txlog.storage.meta",
    "txlog.storage.positions",
    "txlog.storage.recovery",
    "txlog.storage.scrub",
)

# The lowest layer of txlog; callers of txlog use it too.
LOG_BASICS = (
    "txlog.address", "txlog.clock", "txlog.entry", "txlog.program_errors", "txlog.resolver",
    "txlog.secret_file", "txlog.sockets", "txlog.trust",
)  # fmt: skip
# How a process talks to log nodes. The client of a log sees no server; `txlog.embedded` is above
# both.
LOG_LINKS = (
    *LOG_BASICS, "txlog.config", "txlog.events", "txlog.handshake", "txlog.link", "txlog.messages",
    "txlog.throttle", "txlog.tool_connection", "txlog.wire",
)  # fmt: skip

# What each group may import from the project itself. The longest matching prefix on the left
# decides. A group may always import from itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "memstore.version": (),
    "memstore.engine": ("memstore.version",),
    "memstore.commands": ("memstore.engine", "memstore.version"),
    "memstore.replication": ("memstore.engine", "memstore.version", "txlog.entry"),
    "memstore.config": ("memstore.engine",),
    "memstore.events": (),
    "memstore.secret_files": ("txlog.secret_file",),
    "memstore.node": (
        *("memstore.commands", "memstore.config", "memstore.engine", "memstore.replication"),
        "memstore.events",
        "memstore.secret_files",
        "memstore.version",
        *("memstore.log", *LOG_BASICS),
    ),
    "memstore.log.interface": ("txlog.entry",),
    "memstore.log": ("txlog.client", "txlog.embedded", *LOG_BASICS),
    "memstore.ops": (
        *("memstore.engine.values", "memstore.config", "memstore.secret_files", "memstore.version"),
        *("txlog.client", "txlog.tools", *LOG_BASICS),
    ),
    "memstore.cli": ("memstore",),
    "memstore.__main__": ("memstore",),
    **dict.fromkeys(LOG_LINKS, LOG_LINKS),
    "txlog.entry": (),
    "txlog.messages": ("txlog.entry",),
    "txlog.wire": ("txlog.entry", "txlog.messages"),
    "txlog.consensus": ("txlog.entry", "txlog.messages"),
    "txlog.storage": ("txlog.entry", "txlog.messages", "txlog.consensus"),
    **dict.fromkeys(PURE_STORAGE, ("txlog.entry", "txlog.consensus.outputs", *PURE_STORAGE)),
    "txlog.lease_keeper": LOG_LINKS,
    "txlog.client": (*LOG_LINKS, "txlog.consensus", "txlog.lease_keeper"),
    "txlog.server": (*LOG_LINKS, "txlog.consensus", "txlog.storage"),
    "txlog.embedded": (*LOG_LINKS, "txlog.client", "txlog.server"),
    "txlog.tools": LOG_LINKS,
    "txlog": ("txlog",),
}

# Layers without I/O, clocks or chance.
PURE = (
    "memstore.engine", "memstore.commands", "memstore.replication",
    "txlog.consensus", "txlog.wire", "txlog.messages", "txlog.entry", *PURE_STORAGE,
)  # fmt: skip

BANNED_MODULES = frozenset((
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "queue", "secrets", "select", "selectors", "shutil",
    "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "tempfile", "threading",
    "time", "uuid", "uvloop", "_thread", "aiofiles", "rich", "typer", "prometheus_client",
))  # fmt: skip
# `hash` of bytes changes with the hash seed: a machine that calls it is not reproducible.
BANNED_CALLS = frozenset(
    ("open", "print", "input", "eval", "exec", "compile", "__import__", "hash", "breakpoint")
)
PURE_THIRD_PARTY = frozenset(
    ("hiredis", "sortedcontainers", "crc32c", "blake3", "lupa", "lzf", "xxhash")
)

PRINT_ALLOWED = ("memstore.cli", "txlog.cli", "memstore.__main__", "txlog.__main__")

MODULE_NAMES_AVOIDED = frozenset(
    ("util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "managers")
)
CLASS_ENDINGS_AVOIDED = ("Manager", "Util", "Utils", "Impl", "Factory", "Wrapper")
# The protocol's own words stay in the strings it sends; our names say primary and replica.
NAMES_AVOIDED = re.compile(r"(^|_)(master|slave)s?(_|$)")
LEFTOVERS = re.compile("|".join(("FIX" + "ME", "TO" + "DO", "XX" + "X")).join((r"\b(", r")\b")))
MACHINE_PATHS = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp)/\w")


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def is_pure(module: str) -> bool:
    return within(module, PURE)


# --------------------------------------------------------------------------- the rules


def imports_follow_the_table(source: Source) -> list[str]:
    group = max(
        (prefix for prefix in MAY_IMPORT if within(source.module, (prefix,))), key=len, default=None
    )
    found = []
    for line, name in imported(source):
        if name.startswith("."):
            found.append(f"line {line}: relative import")
        elif (
            within(name, PACKAGES)
            and group is not None
            and name not in PACKAGES
            and not within(name, (group, *MAY_IMPORT[group]))
        ):
            found.append(f"line {line}: {group} may not import {name}")
    return found


def pure_layers_are_pure(source: Source) -> list[str]:
    if not is_pure(source.module):
        return []
    found = []
    for line, name in imported(source):
        top = name.split(".")[0]
        if top in BANNED_MODULES:
            found.append(f"line {line}: a pure layer imports {name}")
        elif (
            top not in sys.stdlib_module_names
            and top not in PURE_THIRD_PARTY
            and top not in PACKAGES
        ):
            found.append(f"line {line}: a pure layer imports {name}, which is not in its list")
    for node in source.nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BANNED_CALLS
        ):
            found.append(f"line {node.lineno}: a pure layer calls {node.func.id}()")
        elif isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            found.append(f"line {node.lineno}: a pure layer waits")
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "random"
            and node.attr not in ("Random", "random")
        ):
            found.append(
                f"line {node.lineno}: chance of the process, not of the generator given: "
                f"random.{node.attr}"
            )
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module == "random"
            and any(alias.name != "Random" for alias in node.names)
        ):
            found.append(f"line {node.lineno}: only Random may come from random")
    return found


def files_have_a_header(source: Source) -> list[str]:
    if not source.text.strip():
        return []  # an empty __init__.py
    header = ast.get_docstring(source.tree)
    return [] if header and len(header) >= 20 else ["no header that says what the file decides"]


def only_the_command_line_prints(source: Source) -> list[str]:
    if within(source.module, PRINT_ALLOWED) or not within(source.module, PACKAGES):
        return []
    calls = (
        node
        for node in source.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return [
        f"line {node.lineno}: print outside the command line"
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def nothing_is_left_over(source: Source) -> list[str]:
    return [
        f"line {number}: {match[0]}"
        for number, line in enumerate(source.text.splitlines(), 1)
        if (match := LEFTOVERS.search(line))
    ]


def no_paths_of_one_machine(source: Source) -> list[str]:
    return [
        f"line {number}: {match[0]}..."
        for number, line in enumerate(source.text.splitlines(), 1)
        if (match := MACHINE_PATHS.search(line))
    ]


def comments(source: Source) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def exemptions_give_a_reason(source: Source) -> list[str]:
    """``# type: ignore[code]  reason`` and ``# noqa: CODE  reason``.
    An exemption must not be broader, and it must have a reason.
    """
    found = []
    for line, comment in comments(source):
        if "type: ignore" in comment and not re.search(r"type: ignore\[[\w, -]+\]\W*\w\w", comment):
            found.append(f"line {line}: type: ignore needs [code] and a reason")
        if "noqa" in comment and not re.search(r"noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*\W+\w\w", comment):
            found.append(f"line {line}: noqa needs a code and a reason")
    return found


def errors_are_not_swallowed(source: Source) -> list[str]:
    explained = {line for line, _ in comments(source)}
    found = []
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                found.append(f"line {node.lineno}: bare except")
            assert node.end_lineno is not None
            silent = all(
                isinstance(part, (ast.Pass, ast.Continue))
                or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
                for part in node.body
            )
            if silent and not explained.intersection(range(node.lineno, node.end_lineno + 1)):
                found.append(f"line {node.lineno}: an error is swallowed without a word")
        elif isinstance(node, ast.Call) and re.fullmatch(
            r"(contextlib\.)?suppress\((Base)?Exception\)", ast.unparse(node)
        ):
            found.append(f"line {node.lineno}: suppress() of every error")
    return found


def names_are_ours(source: Source) -> list[str]:
    found = []
    if source.module.rpartition(".")[2] in MODULE_NAMES_AVOIDED:
        found.append("a module is named after a thing of the domain")
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and node.name.endswith(CLASS_ENDINGS_AVOIDED):
            found.append(f"line {node.lineno}: class {node.name}")
        name = (
            getattr(node, "name", None)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            else None
        )
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        if name and NAMES_AVOIDED.search(name):
            found.append(f"line {getattr(node, 'lineno', 0)}: {name}: say primary or replica")
    return found


Rule = Callable[[Source], list[str]]

PRODUCT_RULES: list[Rule] = [
    imports_follow_the_table,
    pure_layers_are_pure,
    only_the_command_line_prints,
    no_paths_of_one_machine,
    names_are_ours,
    exemptions_give_a_reason,
    errors_are_not_swallowed,
]
RULES: list[Rule] = [
    *LENGTH_RULES,
    files_have_a_header,
    cited_rules_are_defined,
    nothing_is_left_over,
]

# --------------------------------------------------------------------------- the sources


def sources(*folders: str) -> dict[str, Source]:
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
                ".__init__"
            )
            found[module] = Source(module, path.read_text(encoding="utf-8"))
    return found


PRODUCT = sources(*PACKAGES)
EVERYTHING = PRODUCT | sources("tests", "bench")
OTHER_TEXTS = (
    "Makefile", ".ci/run", "Dockerfile", "docker-compose.yml", "pyproject.toml", "setup.py",
    "constraints.txt", "hot_modules.txt", "MANIFEST.in", "building/*.py",
)  # fmt: skip
MARKDOWN = ("*.md", "docs/**/*.md", "bench/*.md", "tests/**/*.md")


def texts(*patterns: str) -> dict[str, Source]:
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    names = [str(path.relative_to(ROOT)) for path in paths]
    return {
        name: Source(name, path.read_text(encoding="utf-8"))
        for name, path in zip(names, paths, strict=True)
    }


def violations(rule: Rule, over: dict[str, Source]) -> str:
    return "\n".join(
        f"{module}: {violation}" for module, source in over.items() for violation in rule(source)
    )


@pytest.mark.parametrize("rule", PRODUCT_RULES, ids=lambda rule: rule.__name__)
def test_product_code(rule: Rule) -> None:
    assert violations(rule, PRODUCT) == ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_all_code(rule: Rule) -> None:
    assert violations(rule, EVERYTHING) == ""


def test_other_lines_fit() -> None:
    found = texts(*OTHER_TEXTS)
    assert len(found) >= len(OTHER_TEXTS), "a file has another name now"
    assert violations(lines_fit, found) == ""


def test_lines_of_prose_fit() -> None:
    found = texts(*MARKDOWN)
    assert {"README.md", "ARCHITECTURE.md", "STYLE.md", "docs/compiled.md"} <= set(found)
    assert violations(prose_fits, found) == ""


def test_what_is_listed_as_long_exists() -> None:
    assert set(LONG_FILES) <= set(EVERYTHING)
    assert {module for module, _ in LONG_FUNCTIONS} <= set(EVERYTHING)


def test_wide_tables_and_code_blocks_are_no_prose() -> None:
    wide = "x " * 60
    for text in (f"| {wide}|", f"```\n{wide}\n```", f"text:\n\n    {wide}", f"https://{'x' * 99}"):
        assert prose_fits(Source("README.md", text)) == []


HEADER = '"""Decides something, and must not know something else."""\n'

PLANTED: list[tuple[Rule, str, str]] = [
    (imports_follow_the_table, "memstore.engine.bad", "from memstore.node import node\n"),
    (imports_follow_the_table, "memstore.engine.bad", "import memstore.commands\n"),
    (imports_follow_the_table, "memstore.engine.bad", "from memstore import commands\n"),
    (imports_follow_the_table, "memstore.commands.bad", "import txlog.entry\n"),
    (imports_follow_the_table, "memstore.replication.bad", "from txlog.client import LogClient\n"),
    (
        imports_follow_the_table,
        "memstore.node.bad",
        "from txlog.consensus.acceptor import Acceptor\n",
    ),
    (imports_follow_the_table, "txlog.server.bad", "from memstore.engine import reply\n"),
    (imports_follow_the_table, "txlog.client.bad", "from txlog.server.logs import open_store\n"),
    (imports_follow_the_table, "txlog.consensus.bad", "from txlog.storage.disk import Store\n"),
    (imports_follow_the_table, "txlog.wire", "from txlog.client import LogClient\n"),
    (imports_follow_the_table, "memstore.engine.bad", "from . import reply\n"),
    (pure_layers_are_pure, "memstore.engine.bad", "import time\n"),
    (pure_layers_are_pure, "memstore.replication.bad", "from asyncio import sleep\n"),
    (pure_layers_are_pure, "txlog.storage.segment", "import os\n"),
    (pure_layers_are_pure, "txlog.consensus.bad", "import random\nrandom.randint(1, 2)\n"),
    (pure_layers_are_pure, "txlog.consensus.bad", "from random import randint\n"),
    (pure_layers_are_pure, "memstore.engine.bad", "open('x')\n"),
    (pure_layers_are_pure, "memstore.engine.bad", "async def f():\n    pass\n"),
    (pure_layers_are_pure, "memstore.engine.bad", "import requests\n"),
    *length_rules.PLANTED,
    (files_have_a_header, "memstore.engine.bad", "x = 1\n"),
    (only_the_command_line_prints, "memstore.node.bad", "print(1)\n"),
    (cited_rules_are_defined, "txlog.consensus.bad", "x = 1  # rule A" + "9\n"),
    (nothing_is_left_over, "memstore.engine.bad", "x = 1  # TO" + "DO: more\n"),
    (no_paths_of_one_machine, "memstore.engine.bad", "PATH = '/ho" + "me/someone/x'\n"),
    (exemptions_give_a_reason, "memstore.engine.bad", "x = 1  # type: ign" + "ore\n"),
    (exemptions_give_a_reason, "memstore.engine.bad", "x = 1  # no" + "qa\n"),
    (exemptions_give_a_reason, "memstore.engine.bad", "x = 1  # no" + "qa: F401\n"),
    (
        errors_are_not_swallowed,
        "memstore.engine.bad",
        "try:\n    x = 1\nexcept ValueError:\n    pass\n",
    ),
    (
        errors_are_not_swallowed,
        "memstore.engine.bad",
        "try:\n    x = 1\nexcept:  # why\n    x = 2\n",
    ),
    (errors_are_not_swallowed, "memstore.engine.bad", "with suppress(Exception):\n    x = 1\n"),
    (names_are_ours, "memstore.engine.utils", "x = 1\n"),
    (names_are_ours, "memstore.engine.bad", "class KeyManager:\n    pass\n"),
    (names_are_ours, "memstore.engine.bad", "def find_master(x):\n    pass\n"),
]


@pytest.mark.parametrize(
    ("rule", "module", "text"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_planted_violation_is_found(rule: Rule, module: str, text: str) -> None:
    assert rule(Source(module, text))


def test_good_code_passes() -> None:
    text = (
        HEADER + "import random\nfrom memstore.engine import reply\n\n\ndef f(rng: random.Random) "
        "-> int:\n    return rng.randint(1, 2)\n"
    )
    for rule in PRODUCT_RULES + RULES:
        assert rule(Source("memstore.engine.good", text)) == []


def test_there_are_no_import_circles() -> None:
    assert sorted(import_circles(PRODUCT)) == sorted(LEFT), "an entry of LEFT may be gone"


# --------------------------------------------------------------------------- what is compiled


@pytest.mark.parametrize("rule", COMPILED_RULES, ids=lambda rule: rule.__name__)
def test_compiled_modules_avoid_what_mypyc_makes_something_else_of(
    rule: Callable[[str, ast.Module], list[str]],
) -> None:
    found = [
        f"{module}: {violation}"
        for module in hot_modules()
        for violation in rule(module, PRODUCT[module].tree)
    ]
    assert found == [], "docs/compiled.md says why, and what to write instead"


@pytest.mark.parametrize(
    ("rule", "text"), compiled_rules.PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_what_mypyc_makes_something_else_of_is_found(
    rule: Callable[[str, ast.Module], list[str]], text: str
) -> None:
    assert rule("memstore.engine.bad", ast.parse(text)), "a planted violation"
    assert rule("memstore.engine.good", ast.parse(compiled_rules.GOOD)) == []


def test_exemptions_of_compiled_modules_are_in_use() -> None:
    for module, exempt in compiled_rules.ORDERED.items():
        written = {
            ast.unparse(node) for node in PRODUCT[module].nodes if isinstance(node, ast.Subscript)
        }
        assert set(exempt) <= written, f"{module} has no such slice any more"


def test_tests_that_need_the_interpreted_build_exist() -> None:
    for test in INTERPRETED_ONLY:
        path, _, name = test.partition("::")
        source = EVERYTHING[path.removesuffix(".py").replace("/", ".")]
        assert any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
            for node in source.nodes
        ), test


# --------------------------------------------------------------------------- the whole


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].replace("-", "_").lower()


def test_imported_packages_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {distribution(requirement) for requirement in project["dependencies"]}
    used = {
        name.split(".")[0]: module
        for module, source in PRODUCT.items()
        for _, name in imported(source)
    }
    undeclared = {
        name: module
        for name, module in used.items()
        if name not in sys.stdlib_module_names and name not in PACKAGES and name not in declared
    }
    assert undeclared == {}, "missing in pyproject.toml"
    assert declared <= set(used), "declared in pyproject.toml and imported nowhere"


IMPORT_ALL = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"


@pytest.mark.parametrize("backwards", [False, True])
def test_every_module_imports_in_any_order(backwards: bool) -> None:
    """There are no circles (see above), so two orders represent all orders."""
    modules = sorted(module for module in PRODUCT if not module.endswith("__main__"))
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *(modules[::-1] if backwards else modules)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_asserts_stay_on(package: str) -> None:
    """The invariants are asserts: a process that starts without them must refuse to run."""
    result = subprocess.run(
        [sys.executable, "-O", "-m", package, "status", "localhost:1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "-O" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
