"""The rule about import circles, tried on planted ones. `test_tidy` applies it to the product."""

from __future__ import annotations

import pytest

from tests.import_circles import circles, import_circles
from tests.length_rules import Source

CIRCLES = [
    {
        "memstore.engine.a": "from memstore.engine import b\n",
        "memstore.engine.b": "def f():\n    from memstore.engine.a import x\n",
    },
    {
        "memstore.engine.a": "if TYPE_CHECKING:\n    from memstore.node.b import B\n",
        "memstore.node.b": "from memstore.engine.a import A\n",
    },
    {
        "memstore.engine.a": "import memstore.node.b\n",
        "memstore.node.c": "import memstore.engine.d\n",
        "memstore.node.b": "",
        "memstore.engine.d": "",
    },
]


@pytest.mark.parametrize("texts", CIRCLES)
def test_a_planted_circle_is_found(texts: dict[str, str]) -> None:
    assert import_circles({name: Source(name, text) for name, text in texts.items()})


def test_two_classes_of_a_package_may_name_each_other() -> None:
    texts = {
        "memstore.engine.a": "if TYPE_CHECKING:\n    from memstore.engine.b import B\n",
        "memstore.engine.b": "from memstore.engine.a import A\n",
    }
    assert import_circles({name: Source(name, text) for name, text in texts.items()}) == []


def test_each_circle_is_named_once() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"c", "e"}, "e": {"d"}, "f": {"f2"}}
    assert circles(graph) == [("a", "b", "c"), ("d", "e")]
