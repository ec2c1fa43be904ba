"""The documents as a test: the names in them exist, and their shape and words are right.

Decides: nothing; `tests.documents` has the rules and a planted violation for each.
"""

from __future__ import annotations

import pytest

from tests.documents import DOCUMENT_RULES, PLANTED, Document, Rule, documents


@pytest.mark.parametrize("rule", DOCUMENT_RULES, ids=lambda rule: rule.__name__)
def test_documents(rule: Rule) -> None:
    found = [f"{document.path}: {bad}" for document in documents() for bad in rule(document)]
    assert found == []


@pytest.mark.parametrize(
    ("rule", "path", "text"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_planted_violation_is_found(rule: Rule, path: str, text: str) -> None:
    assert rule(Document(path, text))


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(DOCUMENT_RULES)
