"""The committed cards are those of the code."""

import re
from pathlib import Path

import pytest

from benchmark import fidelity
from benchmark.methods import METHODS
from benchmark.resolve import method_class

COMMITTED = (Path(__file__).parents[2] / "results/fidelity.md").read_text()
HERE = [name for name, entry in METHODS.items() if entry.target]


def test_the_committed_cards_are_the_codes(monkeypatch):
    # the counts take long and have tests of their own: here they are taken as they were written
    counts = iter(re.findall(r"^- parameters: ([\d,]+) here", COMMITTED, re.MULTILINE))
    monkeypatch.setattr(fidelity, "_parameters", lambda kind: int(next(counts).replace(",", "")))
    assert fidelity.cards() == COMMITTED
    assert next(counts, None) is None


@pytest.mark.slow
def test_the_committed_counts_are_the_codes():
    assert fidelity.cards() == COMMITTED


@pytest.mark.parametrize("name", HERE)
def test_a_card_says_where_the_code_departs(name):
    card = method_class(METHODS[name].target).fidelity
    assert card.deviations
    assert all(not text.endswith(".") for text in card.deviations)
