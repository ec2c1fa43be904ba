"""Rules about the forms that mypyc compiles to something else than CPython runs.
`tests/test_tidy.py` applies them; `docs/compiled.md` explains each.

Decides: which forms are rejected in the modules that are compiled.
Must not know: what the code does; it sees names and forms, no types.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def hot_modules() -> list[str]:
    """The modules that are compiled, as dotted names."""
    lines = (ROOT / "hot_modules.txt").read_text(encoding="utf-8").splitlines()
    paths = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [path.removesuffix(".py").replace("/", ".") for path in paths]


# Slices with two bounds whose order the rule below cannot prove, by module. The value says what is
# sliced, and why its start is never after its end (or why it may be).
ORDERED: dict[str, dict[str, str]] = {
    "memstore.engine.resp": {
        "self.data[self.offset:at]": "find() looks from the offset on",
        "self.data[self.offset:end]": "a bulk's length is not negative",
    },
    "memstore.engine.state_digest": {
        "_PLACES[first:last]": "a range",
        "database.slots[first:last]": "a list",
    },
    "memstore.engine.engine": {
        "answer[1:-2]": "an error reply has a minus sign and a line break",
        "result[1:-2]": "an error reply, too",
    },
    "memstore.engine.values.nibble_packing": {
        "full[2:-3]": "a blob that ends with a dollar sign has an element"
    },
    "memstore.engine.values.list_nodes": {
        "node[_packed_size(items[:start]):len(node) - _packed_size(items[stop:])]": "start <= stop",
        "node[start:stop]": "start <= stop",
        "node[start * step:stop * step]": "start <= stop",
        "node[at * step + node.index(b'\\n') + 1:(at + 1) * step - "
        "2]": "a step holds the head and the line break behind the element",
        "items[start:stop]": "a list",
        "right.open[start:stop]": "a list",
        "left.open[max(length - stop, 0):length - start]": "a list",
    },
    "memstore.engine.values.quicklist": {
        "blob[head:end]": "an element's length is not negative",
        "blob[1:head - 2]": "a head has a digit",
        "blob[blob.index(b'\\n', start) + 1:-2]": "a line break follows the element",
        "unpack(self.blob, self.count)[left:self.count - right]": "a list",
    },
    "memstore.engine.values.packed_pairs": {
        "blob[at:end_of(blob, at, mark)]": "an element ends behind its start",
        "found[found.index(b'\\n') + 1:-2]": "a bulk string ends with a line break",
    },
    "memstore.engine.values.packed_zset": {
        "body[a:b]": "ends of members go up",
        "body[8 * count:9 * count]": "a count is not negative",
        "body[8 * count + start:8 * count + stop]": "start <= stop, or sums of nothing",
        "body[8 * count:lengths]": "lengths begin behind the scores",
        "body[8 * at:lengths]": "at <= count",
        "body[lengths:here]": "members begin behind the lengths",
        "body[lengths + start:lengths + stop]": "start <= stop",
        "body[8 * stop:lengths + start]": "stop <= count",
        "body[lengths + stop:here]": "members begin behind the lengths",
    },
    "memstore.engine.values.rank_index": {"members[at:end]": "a list"},
    "memstore.engine.values.hash": {
        "encoded[encoded.index(b'\\n') + 1:-2]": "a bulk string ends with a line break"
    },
    "memstore.engine.values.sorted": {
        "packed_zset.scores(body, self.count)[start:stop]": "a tuple"
    },
    "memstore.commands.lists": {"argv[at + 1:side]": "a list"},
    "memstore.commands.zsets": {"argv[first + 1:at]": "a list"},
    "txlog.wire": {
        "body[at + 4:stop]": "stop is at + 4 and a length without a sign",
        "data[at + FRAME_HEADER_BYTES:behind]": "behind is further by a length without a sign",
        "data[at:behind]": "behind is further by a length without a sign",
    },
    "txlog.consensus.progress": {
        "self._encoded[index:max(index + 1, bisect_right(ends, before + max_bytes, "
        "index))]": "a list"
    },
    "txlog.storage.segment": {
        "block[SEAL_AT:BLOCK_BYTES]": "constants",
        "data[start:stop]": "a length without a sign",
        "data[at:end]": "end is at and the size of a header",
    },
    "txlog.storage.segments": {
        "block[len(header):SEAL_AT]": "a header is smaller than the place of the seal"
    },
}

# Functions that call themselves, each with what bounds the depth. Compiled code has no recursion
# limit: the process crashes.
BOUNDED_RECURSION: dict[str, dict[str, str]] = {}


# --------------------------------------------------------------------------- what can be proven

Terms = tuple[Counter[str], int]


def terms(node: ast.expr) -> Terms:
    """Split a sum into its terms and its constant."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        (left, a), (right, b) = terms(node.left), terms(node.right)
        return left + right, a + b
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and isinstance(node.right, ast.Constant)
        and isinstance(node.right.value, int)
    ):
        parts, constant = terms(node.left)
        return parts, constant - node.right.value
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Counter(), node.value
    return Counter([ast.unparse(node)]), 0


def grows(low: ast.expr, high: ast.expr) -> bool:
    """Whether ``high`` is ``low`` plus something: lengths and counts are not negative."""
    if isinstance(low, ast.UnaryOp) or isinstance(high, ast.UnaryOp):
        return False
    if (
        isinstance(high, ast.Call)
        and ast.unparse(high.func) == "max"
        and any(grows(low, arg) for arg in high.args)
    ):
        return True
    if (
        isinstance(low, ast.Call)
        and ast.unparse(low.func) == "min"
        and any(grows(arg, high) for arg in low.args)
    ):
        return True
    (a, a_constant), (b, b_constant) = terms(low), terms(high)
    return not a - b and a_constant <= b_constant


def known(test: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What holds where the test is true: pairs of a smaller and a larger expression."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        for value in test.values:
            yield from known(value)
    elif isinstance(test, ast.Compare):
        for low, op, high in zip(
            [test.left, *test.comparators], test.ops, test.comparators, strict=False
        ):
            if isinstance(op, (ast.Lt, ast.LtE)):
                yield low, high
            elif isinstance(op, (ast.Gt, ast.GtE)):
                yield high, low


def slices(
    node: ast.AST, held: list[tuple[ast.expr, ast.expr]]
) -> Iterator[tuple[ast.Subscript, list[tuple[ast.expr, ast.expr]]]]:
    """Every slice that is read, with what the enclosing tests imply about it."""
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Slice)
        and isinstance(node.ctx, ast.Load)
    ):
        yield node, held
    for name, value in ast.iter_fields(node):
        inside = held
        if isinstance(node, (ast.If, ast.IfExp, ast.While)) and name == "body":
            inside = held + list(known(node.test))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = []
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from slices(child, inside)


# ----------------------------------------------------- the rules: each gives its violations by line


def unordered_slices(module: str, tree: ast.Module) -> list[str]:
    """A slice of bytes whose start is after its end raises SystemError."""
    found = []
    for node, held in slices(tree, []):
        bounds = node.slice
        assert isinstance(bounds, ast.Slice)
        low, high = bounds.lower, bounds.upper
        if low is None or high is None or bounds.step is not None or grows(low, high):
            continue
        if any(
            grows(low, smaller) and grows(larger, high) for smaller, larger in held
        ) or ast.unparse(node) in ORDERED.get(module, {}):
            continue
        found.append(
            f"line {node.lineno}: {ast.unparse(node)}: nothing here proves that the start is not "
            "behind the end"
        )
    return found


def shared_error_names(module: str, tree: ast.Module) -> list[str]:
    """A name in ``except ... as`` keeps the type of its first use in the function.
    The second handler then raises TypeError.
    """
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        types: dict[str, str] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
                first = types.setdefault(node.name, ast.unparse(node.type))
                if first != ast.unparse(node.type):
                    found.append(
                        f"line {node.lineno}: {node.name} is {first} in another handler of "
                        f"{function.name}"
                    )
    return found


def moving_ranges(module: str, tree: ast.Module) -> list[str]:
    """``range(end)`` reads ``end`` in every round: a loop that assigns to it ends elsewhere."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.For)
            and isinstance(node.iter, ast.Call)
            and ast.unparse(node.iter.func) == "range"
        ):
            names = {
                part.id
                for arg in node.iter.args
                for part in ast.walk(arg)
                if isinstance(part, ast.Name)
            }
            stored = {
                part.id
                for line in node.body
                for part in ast.walk(line)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
            found += [
                f"line {node.lineno}: the loop assigns to {name}, which its range was made of"
                for name in sorted(names & stored)
            ]
    return found


def silent_truth(module: str, tree: ast.Module) -> list[str]:
    """For ``if thing``, a compiled class calls only ``__bool__``, never ``__len__``."""
    return [
        f"line {node.lineno}: class {node.name} has __len__ and no __bool__"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and "__len__" in methods(node)
        and "__bool__" not in methods(node)
    ]


def methods(node: ast.ClassDef) -> set[str]:
    return {part.name for part in node.body if isinstance(part, ast.FunctionDef)}


def shared_attributes(module: str, tree: ast.Module) -> list[str]:
    """A value in a class body belongs to each object, and the class itself does not have it.
    State that the objects should share would no longer be shared. The members of an Enum belong to
    the class in both builds.
    """
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or any(
            "dataclass" in ast.unparse(decorator) for decorator in node.decorator_list
        ):
            continue
        if any(ast.unparse(base).endswith("Enum") for base in node.bases):
            continue
        found += [
            f"line {part.lineno}: class {node.name}: {ast.unparse(part)}"
            for part in node.body
            if is_state(part)
        ]
    return found


def is_state(part: ast.stmt) -> bool:
    """Whether a class body's line sets something that is neither constant nor the class's own."""
    if isinstance(part, ast.AnnAssign):
        return part.value is not None and not re.search(
            r"\b(ClassVar|Final)\b", ast.unparse(part.annotation)
        )
    return isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) != "__slots__"


def unbounded_recursion(module: str, tree: ast.Module) -> list[str]:
    """There is no RecursionError: the process crashes."""
    found = []
    for function in ast.walk(tree):
        if isinstance(
            function, (ast.FunctionDef, ast.AsyncFunctionDef)
        ) and function.name not in BOUNDED_RECURSION.get(module, {}):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    function.name,
                    f"self.{function.name}",
                ):
                    found.append(f"line {node.lineno}: {function.name} calls itself")
    return found


COMPILED_RULES = [
    unordered_slices,
    shared_error_names,
    moving_ranges,
    silent_truth,
    shared_attributes,
    unbounded_recursion,
]

PLANTED = [
    (
        unordered_slices,
        "def f(value: bytes, start: int, end: int) -> bytes:\n    return value[start : end + 1]\n",
    ),
    (unordered_slices, "def f(value: bytes) -> bytes:\n    return value[1:-2]\n"),
    (
        unordered_slices,
        "def f(value: bytes, a: int, b: int) -> bytes:\n    return value[a:b] if a >= b else "
        "value\n",
    ),
    (
        shared_error_names,
        "def f() -> None:\n    try:\n        g()\n    except KeyError as error:\n        "
        "h(error)\n    except Exception as error:\n        h(error)\n",
    ),
    (moving_ranges, "def f(end: int) -> None:\n    for at in range(end):\n        end -= 1\n"),
    (silent_truth, "class C:\n    def __len__(self) -> int:\n        return 0\n"),
    (shared_attributes, "class C:\n    seen: list[int] = []\n"),
    (unbounded_recursion, "def f(n: int) -> int:\n    return f(n - 1)\n"),
]

GOOD = '''
class C:
    """Has nothing that mypyc makes something else of."""

    __slots__ = ("items",)
    LIMIT: Final = 5

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return len(self) > 0

    def cut(self, value: bytes, start: int, end: int, size: int) -> bytes:
        try:
            part = value[start : end + 1] if start <= end else b""
            rest = value[start : start + size] + value[start : max(start, end)]
            rest += value[min(start, end) : end] + value[2:5]
            while start < end and size:
                part += value[start:end]
        except KeyError as missing:
            raise ValueError(missing) from missing
        except ValueError as wrong:
            raise wrong
        for at in range(end):
            part += rest[at : at + 1]
        return part
'''
