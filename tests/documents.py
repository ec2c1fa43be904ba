"""The rules that every document must follow.

Each rule is a function from a document to the list of its violations. `tests/test_documents.py`
tries each rule on a planted violation.

Decides: which files are documents, and what a machine can check in them: names that exist, the
shape, the words.
Must not know: whether the content is true; how wide lines are (`length_rules`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent

BULLET_LINES = 4
ARCHITECTURE_LINES = 150
DECISION_LINES = 45
DECISION_HEADINGS = ["## Context", "## Decision", "## Consequence"]
RULE_LINES = 4

PROTOCOL = "docs/log-protocol.md"
DECISIONS = "docs/decisions/"
MUTANTS_TABLE = "tests/sim/README.md"

# Words that have a plainer word. A process or component is *it*.
WORDS_AVOIDED = re.compile(
    r"\b(nobody|anew|for ever|forever|strangers?|in vain|who(so)?ever|he|him|his)\b", re.IGNORECASE
)

_FOLDERS = "memstore|txlog|tests|bench|building|docs"
_PATH = re.compile(rf"`((?:{_FOLDERS})/[\w./-]*)`")
_PLACE = re.compile(rf"`((?:{_FOLDERS})/[\w./-]+\.py)` `(\w+(?:\.\w+)?)`")
_TEST = re.compile(r"`(test_\w+(?:\.\.\.|\*)?)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")
_BULLET = re.compile(r"\s*([-*]|\d+\.) ")

_RULE_HEADING = re.compile(r"^### ([ALRSW]\d+) ", re.MULTILINE)
_LOSS_ROW = re.compile(r"^\| ([FV]\d+) \|", re.MULTILINE)
_RULE_ID = re.compile(r"\b[AFLRSVW][1-9]\d?\b")


@dataclass(frozen=True)
class Document:
    """``path`` from the root of the repository."""

    path: str
    text: str

    @property
    def prose(self) -> Iterator[tuple[int, str]]:
        """Lines outside code blocks, with their numbers."""
        fenced = False
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            elif not fenced:
                yield number, line


def documents() -> list[Document]:
    """All documents except the records of measurements."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    paths += [*(ROOT / "tests").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
    return [
        Document(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
    ]


# --------------------------------------------------------------------------- names exist


def files_named_exist(document: Document) -> list[str]:
    return [
        f"line {number}: {path} does not exist"
        for number, line in document.prose
        for path in _PATH.findall(line)
        if not (ROOT / path).exists()
    ]


def functions_named_exist(document: Document) -> list[str]:
    """`path` `Class.method` or `path` `function`: the file defines the name."""
    return [
        f"line {number}: {path} does not define {name}"
        for number, line in document.prose
        for path, name in _PLACE.findall(line)
        if name not in _defined_in(path)
    ]


@cache
def _defined_in(path: str) -> frozenset[str]:
    found: set[str] = set()
    if (ROOT / path).exists():
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                functions = (ast.FunctionDef, ast.AsyncFunctionDef)
                found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, functions)}
    return frozenset(found)


def named_tests_exist(document: Document) -> list[str]:
    """A name may end in ``...`` or ``*``."""
    return [
        f"line {number}: no test is called {name}"
        for number, line in document.prose
        for name in _TEST.findall(line)
        if not _some_test(name.replace("...", "*"))
    ]


@cache
def _test_names() -> tuple[str, ...]:
    names: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        names |= {path.stem, path.name}
        names |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    return tuple(sorted(names))


@cache
def _some_test(pattern: str) -> bool:
    return any(fnmatch(name, pattern) for name in _test_names())


def links_lead_somewhere(document: Document) -> list[str]:
    folder = (ROOT / document.path).parent
    return [
        f"line {number}: {target} leads nowhere"
        for number, line in document.prose
        for target in _LINK.findall(_CODE.sub("", line))
        if not target.startswith(("https://", "#")) and not (folder / target.split("#")[0]).exists()
    ]


# --------------------------------------------------------------------------- shape and words


def bullets_are_short(document: Document) -> list[str]:
    found, lines = [], 0
    for number, line in document.prose:
        if _BULLET.match(line):
            lines = 1
        elif lines and line.startswith("  ") and line.strip():
            lines += 1
        else:
            lines = 0
        if lines == BULLET_LINES + 1:
            found.append(f"line {number}: a bullet has more than {BULLET_LINES} lines")
    return found


def words_are_plain(document: Document) -> list[str]:
    return [
        f"line {number}: {match[0]}"
        for number, line in document.prose
        if (match := WORDS_AVOIDED.search(_CODE.sub("", line)))
    ]


def it_has_its_shape(document: Document) -> list[str]:
    """ARCHITECTURE.md is short; a decision has three chapters and half a page."""
    lines = document.text.count("\n")
    if document.path == "ARCHITECTURE.md" and lines > ARCHITECTURE_LINES:
        return [f"{lines} lines, the limit is {ARCHITECTURE_LINES}"]
    if not document.path.startswith(DECISIONS) or document.path == f"{DECISIONS}README.md":
        return []
    found = [] if lines <= DECISION_LINES else [f"{lines} lines, the limit is {DECISION_LINES}"]
    headings = [line for line in document.text.splitlines() if line.startswith("## ")]
    if headings != DECISION_HEADINGS:
        found.append(f"its chapters are {headings}")
    number = Path(document.path).name[:4]
    if not document.text.startswith(f"# {int(number) if number.isdigit() else number}. "):
        found.append(f"its title does not begin with its number {number}")
    return found


# --------------------------------------------------------------------------- the log's rules


def rules_defined(text: str) -> set[str]:
    return {*_RULE_HEADING.findall(text), *_LOSS_ROW.findall(text)}


@cache
def _rules() -> frozenset[str]:
    return frozenset(rules_defined((ROOT / PROTOCOL).read_text(encoding="utf-8")))


class Text(Protocol):
    """A document or a source."""

    @property
    def text(self) -> str: ...


def cited_rules_are_defined(cites: Text) -> list[str]:
    """Every rule of the log that a text cites is in docs/log-protocol.md."""
    return [
        f"line {number}: rule {cited} is not in {PROTOCOL}"
        for number, line in enumerate(cites.text.splitlines(), 1)
        for cited in _RULE_ID.findall(line)
        if cited not in _rules()
    ]


def rules_are_whole(document: Document) -> list[str]:
    """Each rule has its own id, a text of at most four lines, a reason, a place and a test.
    The ids of a group have no gap. The place is where the code enforces the rule.
    """
    if document.path != PROTOCOL:
        return []
    found = []
    parts = re.split(r"^(?=##+ )", document.text, flags=re.MULTILINE)
    rules = [part for part in parts if _RULE_HEADING.match(part)]
    ids = [part.split()[1] for part in rules]
    for letter in sorted({name[0] for name in ids}):
        numbers = [int(name[1:]) for name in ids if name[0] == letter]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"rules {letter} are numbered {numbers}")
    for name, part in zip(ids, rules, strict=True):
        text = part.split("\n\n")[1]
        if text.count("\n") >= RULE_LINES:
            found.append(f"{name} has more than {RULE_LINES} lines")
        found += [
            f"{name} has no line {label}"
            for label in ("- Why: ", "- Where: ", "- Tests: ")
            if f"\n{label}" not in part
        ]
        where = re.search(r"^- Where: (.*?)(?=^- )", part, re.MULTILINE | re.DOTALL)
        found += [
            f"{name} is enforced in {word}, which is nowhere in the code"
            for place in re.findall(r"`([\w.]+)`", where[1] if where else "")
            for word in place.split(".")
            if word not in _words_of_the_code()
        ]
    return found


@cache
def _words_of_the_code() -> frozenset[str]:
    words: set[str] = set()
    for package in ("memstore", "txlog"):
        for path in (ROOT / package).rglob("*.py"):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    return frozenset(words)


def mutants_named_exist(document: Document) -> list[str]:
    """Mutants named after "Mutants:" exist, and the table of all mutants is complete."""
    from tests.sim.mutants import MUTANTS  # here: it imports everything

    found = [
        f"no mutant is called {name}"
        for part in re.findall(r"[Mm]utants: ((?:`[\w-]+`[,\s]*)+)", document.text)
        for name in re.findall(r"`([\w-]+)`", part)
        if name not in MUTANTS
    ]
    if document.path == MUTANTS_TABLE and mutants_table() not in document.text:
        found.append("the table of mutants is old: python -m tests.documents writes it again")
    return found


def mutants_table() -> str:
    from tests.sim.mutants import MUTANTS  # here: it imports everything

    rows = [f"| `{name}` | {mutant.what} |\n" for name, mutant in MUTANTS.items()]
    return "".join(["| mutant | the bug |\n| --- | --- |\n", *rows])


def write_mutants_table() -> None:
    path = ROOT / MUTANTS_TABLE
    text = path.read_text(encoding="utf-8")
    old = re.search(r"^\| mutant \|.*\n(?:\|.*\n)*", text, re.MULTILINE)
    assert old is not None, "the table begins with | mutant |"
    path.write_text(text.replace(old[0], mutants_table()), encoding="utf-8")


# --------------------------------------------------------------------------- the rules

Rule = Callable[[Document], list[str]]

DOCUMENT_RULES: list[Rule] = [
    files_named_exist,
    functions_named_exist,
    named_tests_exist,
    links_lead_somewhere,
    bullets_are_short,
    words_are_plain,
    it_has_its_shape,
    cited_rules_are_defined,
    rules_are_whole,
    mutants_named_exist,
]

_NO_RULE = "A" + "9"
_LONG_RULE = "### A1 Seal\n\n1\n2\n3\n4\n5\n\n- Why: w\n- Where: w\n- Tests: t\n"
_NO_CODE = "### A1 Seal\n\nOne.\n\n- Why: w\n- Where: `no_such_f`\n- Tests: t\n"
_NO_TEST = "### A1 Seal\n\nOne.\n\n- Why: w\n- Where: w\n"
_NO_FIRST = "### A2 Seal\n\nOne.\n\n- Why: w\n- Where: w\n- Tests: t\n"

PLANTED: list[tuple[Rule, str, str]] = [
    (files_named_exist, "docs/bad.md", "See `memstore/engine/nothing.py`.\n"),
    (functions_named_exist, "docs/bad.md", "`memstore/cli.py` `nothing` is it.\n"),
    (functions_named_exist, "docs/bad.md", "`txlog/entry.py` `Entry.nothing` is it.\n"),
    (named_tests_exist, "docs/bad.md", "See `test_nothing_" + "of_this_name...`.\n"),
    (links_lead_somewhere, "docs/bad.md", "See [this](ARCHITECTURE.md).\n"),
    (bullets_are_short, "docs/bad.md", "- one\n" + "  more\n" * 4),
    (words_are_plain, "docs/bad.md", "It waits for " + "ever.\n"),
    (words_are_plain, "docs/bad.md", "The writer stops; he" + " is fenced.\n"),
    (it_has_its_shape, "ARCHITECTURE.md", "line\n" * 151),
    (it_has_its_shape, "docs/decisions/0001-bad.md", "# 1. Bad\n\n## Context\n\n## Decision\n"),
    (it_has_its_shape, "docs/decisions/0002-bad.md", "# 1. Bad\n\n" + "\n".join(DECISION_HEADINGS)),
    (cited_rules_are_defined, "docs/bad.md", f"By rule {_NO_RULE} this holds.\n"),
    (rules_are_whole, PROTOCOL, _LONG_RULE),
    (rules_are_whole, PROTOCOL, _NO_CODE),
    (rules_are_whole, PROTOCOL, _NO_TEST),
    (rules_are_whole, PROTOCOL, _NO_FIRST),
    (mutants_named_exist, "docs/bad.md", "- Mutants: `no-such-mutant`.\n"),
    (mutants_named_exist, MUTANTS_TABLE, "| `no-such-mutant` | a bug |\n"),
]

if __name__ == "__main__":
    write_mutants_table()
