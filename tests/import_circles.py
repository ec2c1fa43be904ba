"""No module and no package imports itself through others.

Decides: what an import circle is. Every import counts, also one inside a function. An import under
``TYPE_CHECKING`` counts only where it crosses a package boundary: two classes of one package may
name each other. Packages (`memstore.engine`) are also checked as a whole.
Must not know: which imports the layout allows (`test_tidy` has that table).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.length_rules import Source

PACKAGES = ("memstore", "txlog")

Graph = dict[str, set[str]]

# Known circles, each with the area that removes it. An entry that is not a circle fails.
LEFT: dict[tuple[str, ...], str] = {}


def package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Every module that a source imports, with its line.
    `from memstore import b` also gives memstore.b, because b may be a module.
    """
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, ("." * node.level) + (node.module or "")
            if node.module in PACKAGES:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _types_only(tree: ast.AST) -> set[int]:
    """The ids of all nodes under ``if TYPE_CHECKING:``."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }


def _imports(source: Source, known: set[str]) -> Iterator[str]:
    types_only = _types_only(source.tree)
    for node in source.nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inner]
        for name in names:
            inside = package(name) == package(source.module)
            if name in known and name != source.module and not (id(node) in types_only and inside):
                yield name


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """The strongly connected components with more than one name, sorted (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(tuple(sorted(stack[at:])))
            del stack[at:]

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return sorted(found)


def import_circles(sources: dict[str, Source]) -> list[tuple[str, ...]]:
    """Circles of modules, then of packages."""
    known = set(sources)
    modules: Graph = {name: set(_imports(source, known)) for name, source in sources.items()}
    packages: Graph = {}
    for name, others in modules.items():
        packages.setdefault(package(name), set()).update(
            package(other) for other in others if package(other) != package(name)
        )
    return circles(modules) + circles(packages)
