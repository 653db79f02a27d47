"""References: what stands in Nexudus for ever, so every part of one is pinned to the character."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.domain.money.references import KIND_LETTERS, code_of, found_in, reference, references, site_code
from tests.frames import rules

PINNED = {
    ("london", "12345", "sale", 0): "PB-O6DS000000123450W",
    ("london", "12345", "credit", 0): "PB-O6DC0000001234502",
    ("london", "12345", "waive", 0): "PB-O6DW000000123450V",
    ("london", "12345", "undo_sale", 0): "PB-O6DR000000123450P",
    ("london", "12345", "undo_credit", 35): "PB-O6DG00000012345ZA",
    ("london", "12345", "undo_waive", 9): "PB-O6DV000000123459X",
    ("leeds", "1", "sale", 10): "PB-3MFS00000000001AE",
    ("leeds", "ZZZZZZZZZZZ", "sale", 1): "PB-3MFSZZZZZZZZZZZ1A",
    ("york", "0A", "credit", 2): "PB-XM5C0000000000A22",
    ("bath", "99999999999", "undo_sale", 3): "PB-M25R999999999993T",
}


@pytest.mark.parametrize(("of", "ref"), PINNED.items())
def test_a_reference_never_changes(of: tuple[str, str, str, int], ref: str) -> None:
    assert reference(*of) == ref
    assert found_in(ref) == ref


CODES = {"london": "O6D", "leeds": "3MF", "york": "XM5", "bath": "M25"}


def test_the_code_of_a_site_comes_from_its_name_or_is_its_own() -> None:
    assert {site: site_code(site) for site in CODES} == CODES
    assert code_of(rules()) == site_code("london")
    assert code_of(rules(code="QQQ")) == "QQQ"


def test_many_lines_have_the_references_that_each_has_alone() -> None:
    rows = [
        (site, job, kind, seq)
        for site in ("london", "leeds") for job in ("7", "00007", "ABC") for kind in KIND_LETTERS for seq in (0, 35)
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["site", "job_id", "kind", "seq"], orient="row")
    together = references(frame)
    assert together.to_list() == [reference(*row) for row in rows]
    assert together.name == "ref"
    own = references(frame, {"leeds": "AAA"})
    assert own.str.slice(3, 3).unique().sort().to_list() == ["AAA", site_code("london")]
    assert references(frame.clear()).to_list() == []


@pytest.mark.parametrize(("job", "seq"), [("123456789012", 0), ("1-2", 0), ("7", 36), ("7", -1)])
def test_what_does_not_fit_a_reference_is_refused(job: str, seq: int) -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        reference("london", job, "sale", seq)


def test_a_job_id_that_is_too_long_is_named_as_what_is_wrong() -> None:
    assert reference("london", "1" * 11, "sale", 0)
    with pytest.raises(pl.exceptions.InvalidOperationError, match="longer than 11 characters"):
        reference("london", "1" * 12, "sale", 0)


REF = PINNED["london", "12345", "sale", 0]


@pytest.mark.parametrize("text", [f"gift {REF}", f"{REF} gift", REF, f"x{REF}x"])
def test_a_reference_is_found_in_a_text(text: str) -> None:
    assert found_in(text) == REF


@pytest.mark.parametrize("place", [*range(3, 6), *range(7, 20)])
def test_a_reference_with_another_character_is_none(place: int) -> None:
    """Somebody who types one wrong must not name another line; the letter of the kind has its own test."""
    for other in "A4":
        if REF[place] != other:
            assert found_in(REF[:place] + other + REF[place + 1 :]) is None


def test_a_reference_with_another_kind_is_none() -> None:
    for other in set(KIND_LETTERS.values()) - {"S"}:
        assert found_in(REF[:6] + other + REF[7:]) is None


@pytest.mark.parametrize("text", [None, "", "a gift", REF[:-1], REF.lower(), REF.replace("PB-", "PB")])
def test_a_text_without_a_reference_has_none(text: str | None) -> None:
    assert found_in(text) is None
