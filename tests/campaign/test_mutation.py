"""The mutation score: which changes count, and that a change is noticed exactly where a test notices it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign import mutation
from tests.campaign.changes import changes
from tests.campaign.equivalents import EQUIVALENT, Equivalent

FEE = '''"""What a job costs."""

def fee(pages: int, free: int = 10) -> int:
    """Five cents a page."""
    if pages > free:
        return 5 * pages
    return 0
'''
TEST = """from pipeline.fees import fee

def test_twenty_pages_cost_a_hundred_cents_and_one_is_free():
    assert [fee(20), fee(1)] == [100, 0]
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", ["comparison: < -> <="]),
        ("a = b and c", ["condition: b -> True", "condition: and -> or", "condition: c -> True"]),
        (
            "a = b & ~c",
            ["condition: & -> |", "condition: b & ~c -> (b)", "condition: b & ~c -> (~c)", "condition: ~c -> c"],
        ),
        (
            "a = x.filter(kind='sale').min()",
            ["method: .filter(kind='sale') -> nothing", "value: 'sale' -> \"?\"", "method: min -> max"],
        ),
        ("a = b.join(c, on='ref', how='anti')", ["method: 'anti' -> \"semi\""]),
        (
            "a = 5\nb = x.sort('ref', maintain_order=True)",
            ["number: 5 -> 4", "number: 5 -> 6", "method: .sort('ref', maintain_order=True) -> nothing"],
        ),
        ("a = 'SELECT ref FROM charge WHERE n >= 1'", ["SQL: >= -> >"]),
        ("def f(x: int = 0) -> int:\n    '''The 2nd.'''\n    return x", ["number: 0 -> -1", "number: 0 -> 1"]),
        (
            "if a:\n    raise ValueError(f'{b + 1} is > 2')",
            ["condition: a -> (not (a))", "statement: raise ValueError(f'{b + 1} is > 2') -> pass"],
        ),
    ],
)
def test_which_changes_of_a_source_count(source: str, expected: list[str]) -> None:
    assert sorted(str(change) for change in changes(source.encode())) == sorted(expected)


def test_a_change_is_made_in_its_place_and_leaves_every_other_letter_as_it_is() -> None:
    source = "price = 'ä' if days > 1 else 2\n".encode()
    made = {change.made_in(source).decode() for change in changes(source) if change.kind == "comparison"}
    assert made == {"price = 'ä' if days >= 1 else 2\n"}


def test_a_sample_has_the_same_share_of_each_module_and_is_told_by_its_seed() -> None:
    found = mutation.every([*mutation.rules(), *mutation.LEDGER, *mutation.PLAN])
    drawn = mutation.sampled(found, 300, 7)
    assert drawn == mutation.sampled(found, 300, 7) != mutation.sampled(found, 300, 8)
    assert len(drawn) == pytest.approx(300, abs=len(mutation.rules()))
    charges = "pipeline/domain/money/charges.py"
    share = [sum(path == charges for path, _ in each) / len(each) for each in (found, drawn)]
    assert share[0] == pytest.approx(share[1], rel=0.1)


@pytest.mark.parametrize("equivalent", EQUIVALENT, ids=lambda each: f"{each.path}: {each.right}")
def test_every_change_that_changes_nothing_still_has_its_place_in_the_source(equivalent: Equivalent) -> None:
    source = (mutation.ROOT / equivalent.path).read_bytes()
    there = [
        change for change in changes(source)
        if (change.right, change.wrong) == equivalent[2:] and mutation.known(equivalent.path, change, source)
    ]  # fmt: skip
    assert there, "its source changed: mend or remove its entry in tests/campaign/equivalents.py"


def test_a_change_that_a_test_notices_is_told_from_one_that_none_does(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for name, text in {"pipeline/__init__.py": "", "pipeline/fees.py": FEE, "tests/test_fees.py": TEST}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", "utf-8")
    (tmp_path / "copy").mkdir()
    with mutation.trials(tmp_path / "copy", ["tests"], root) as trials:
        found = [trials.tried(*each) for each in mutation.every(["pipeline/fees.py"], root)]
    missed = [each for each in found if not each.noticed]
    assert [str(each) for each in missed] == [
        "pipeline/fees.py:3: number: 10 -> 11",
        "pipeline/fees.py:3: number: 10 -> 9",
        "pipeline/fees.py:5: comparison: > -> >=",
    ]
    assert mutation.score(found, ["pipeline/fees.py"]) == (len(found) - 3, len(found))
