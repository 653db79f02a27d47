"""The monthly report: a small month as golden files, sums that agree, cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.money.reconcile import reconcile
from pipeline.domain.money.references import references
from pipeline.reports import sheets as report
from pipeline.reports.cells import safe_cells, to_csv
from pipeline.reports.sheets import Month, month_before, month_bounds, months_to_date, part, together, year_to_date
from tests.frames import LEDGER, customers, jobs, moment, rules, shuffled, table

GOLDEN = Path(__file__).parents[1] / "fixtures" / "report"
SHEETS = ["summary", "customers", "teams", "printers", "jobs", "held_and_refunds", "reconciliation"]
SALES = {
    "remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64, "total_cents": pl.Int64,
}  # fmt: skip


def november() -> dict[str, pl.DataFrame]:
    """Seven jobs of November in London, one just before and one just after it, and names that are awkward."""
    people = customers("coworker_id team\n1 Writers\n2 Writers\n3 -\n4 -").with_columns(
        full_name=pl.Series(["Zoë, “the pen” O'Neil", "李小龍", '=HYPERLINK("http://x")', "مريم"]),
        company=pl.Series(["Plume & Co", None, "-10%", None]),
    )
    logged = jobs(
        "job_id username printed_at cost pages color_pages printer\n"
        "1 c1@example.com 11-01T00:00 250 5 5 hall\n"
        "2 c1@example.com 11-02T10:00 50 10 0 hall\n"
        "3 c2@example.com 11-02T11:00 45 9 0 attic\n"
        "4 c3@example.com 11-15T12:30 1205 24 24 attic\n"
        "5 staff 11-15T13:00 10 2 0 hall\n"
        "6 c4@example.com 11-30T23:59 30 6 0 hall\n"
        "7 c4@example.com 11-20T09:00 20 4 0 hall\n"
        "8 c1@example.com 12-01T00:00 77 1 0 hall\n"
        "9 c1@example.com 10-31T23:59 78 1 0 hall"
    ).with_columns(refunded=pl.col("job_id") == "7", revision=(pl.col("job_id") == "7").cast(pl.Int64))
    told = table(
        LEDGER,
        "job_id kind amount_cents coworker_id state rule\n"
        "1 sale 250 1 invoiced money\n"
        "2 credit 45 1 confirmed credits\n"
        "2 sale 5 1 confirmed money\n"
        "3 credit 45 2 confirmed credits\n"
        "4 sale 1205 3 held overdrawn\n"
        "6 waive 30 4 confirmed free\n"
        "7 sale 20 4 confirmed money\n"
        "7 undo_sale 20 4 confirmed no_longer_counts\n"
        "8 sale 77 1 confirmed money\n"
        "9 sale 78 1 confirmed money",
        site="london", revision=lambda row: int(row["job_id"] == "7"), seq=0, ref="", printed_at=moment("11-01T00:00"),
        username=lambda row: f"c{row['coworker_id']}@example.com",
        reason=lambda row: "+1205 cents above the balance" if row["state"] == "held" else None,
    )  # fmt: skip
    told = told.with_columns(ref=references(told))
    reversal = pl.col("kind") == "undo_sale"
    undone = references(told.with_columns(kind=pl.col("kind").str.strip_prefix("undo_")))
    told = told.with_columns(undoes=pl.when(reversal).then(undone)).update(
        logged.select("job_id", "printed_at"), on="job_id"
    )
    sold = told.filter(pl.col("job_id").is_in(["1", "2"]), kind="sale").select(
        "ref", "coworker_id", remote_id=pl.col("job_id").cast(pl.Int64), quantity="amount_cents",
        total_cents=pl.col("amount_cents") + (pl.col("job_id") == "2").cast(pl.Int64),
        invoiced=pl.lit(value=False),
    )  # fmt: skip
    names = people.select(username="email")
    later = moment("12-02T00:00")
    compared = pl.concat(
        reconcile(logged, told, sold, rules=rules(), day=date(2026, 11, day), now=later, names=names)
        for day in (1, 2, 15, 20, 30)
    )
    return {"jobs": logged, "ledger": told, "customers": people, "reconciliation": compared}


def sheets(frames: dict[str, pl.DataFrame] | None = None, **choices: Any) -> dict[str, pl.DataFrame]:
    jobs, ledger, people, days = (frames or november()).values()
    of = Month("2026-11", rules(**choices), people, days, "GBP")
    return report.sheets([part(jobs, ledger, of)], of)


@pytest.mark.parametrize("name", [*SHEETS, "year_to_date"])
def test_a_small_month_is_the_same_bytes_as_ever(name: str) -> None:
    golden = GOLDEN / f"{name}.csv"
    sheet = {**sheets(), "year_to_date": accounts()}[name]
    assert to_csv(sheet) == golden.read_bytes(), (
        f"the sheet {name} has changed; if that is wanted, replace {golden.name} with the bytes of this test"
    )


def test_the_sheets_and_nothing_else_are_golden() -> None:
    assert list(sheets()) == SHEETS
    assert sorted(path.stem for path in GOLDEN.glob("*.csv")) == sorted([*SHEETS, "year_to_date"])


def test_row_order_does_not_matter() -> None:
    mixed = {name: shuffled(frame, seed) for seed, (name, frame) in enumerate(november().items())}
    assert {name: to_csv(sheet) for name, sheet in sheets(mixed).items()} == {
        name: to_csv(sheet) for name, sheet in sheets().items()
    }


def test_every_cent_that_papercut_charged_is_on_the_summary_once() -> None:
    figures = dict(sheets()["summary"].select("figure", "amount_cents").rows())
    ways = ("paid with credits", "charged as money", "waived", "held for a person", "not charged")
    assert figures["chargeable prints"] == sum(figures[way] for way in ways) == 1590
    assert (figures["reversed"], figures["sales in Nexudus"], figures["unexplained"]) == (20, 256, 1)


@pytest.mark.parametrize("name", ["customers", "teams", "printers", "jobs"])
def test_the_sheets_agree_with_the_summary(name: str) -> None:
    every = sheets()
    figures = dict(every["summary"].select("figure", "amount_cents").rows())
    totals = every[name].select(pl.col("credits_cents", "money_cents", "waived_cents", "held_cents").sum()).row(0)
    assert totals == tuple(
        figures[figure] for figure in ("paid with credits", "charged as money", "waived", "held for a person")
    )


@pytest.mark.parametrize(
    ("timezone", "expected"),
    [("Europe/London", "1234567"), ("America/New_York", "2345678"), ("Asia/Tokyo", "1234579")],
)
def test_the_month_is_the_sites_own(timezone: str, expected: str) -> None:
    printed = sheets(timezone=timezone)["jobs"]["job_id"]
    assert "".join(sorted(printed)) == expected


def test_times_are_the_sites_own() -> None:
    printed = sheets(timezone="Asia/Kathmandu")["jobs"].filter(job_id="4").select("printed_at")
    assert to_csv(printed).decode("utf-8-sig").split() == ["printed_at", "2026-11-15", "18:15"]


def test_major_units_stand_beside_cents_in_a_file() -> None:
    frame = pl.DataFrame({"held_cents": [0, 1205, -7, -1205], "n": range(4)})
    assert to_csv(frame).decode("utf-8-sig") == (
        "held_cents,held,n\r\n0,0.00,0\r\n1205,12.05,1\r\n-7,-0.07,2\r\n-1205,-12.05,3\r\n"
    )


def test_an_empty_month_has_every_sheet() -> None:
    nothing = {
        "jobs": tables.empty("print_jobs"), "ledger": pl.DataFrame(schema=LEDGER),
        "customers": tables.empty("nexudus_customers"), "reconciliation": tables.empty("reconciliation"),
    }  # fmt: skip
    empty = sheets(nothing)
    assert {name: sheet.height for name, sheet in empty.items()} == dict.fromkeys(SHEETS, 0) | {"summary": 16}
    assert all(to_csv(sheet) for sheet in empty.values())
    assert {name: sheet.columns for name, sheet in empty.items()} == {
        name: sheet.columns for name, sheet in sheets().items()
    }


def accounts(frames: dict[str, pl.DataFrame] | None = None, **choices: Any) -> pl.DataFrame:
    logged, told, people, days = (frames or november()).values()
    of = Month("2026-11", rules(**choices), people, days, "GBP")
    return year_to_date([part(logged, told, of)], of)


def test_accountants_get_what_stands_what_was_given_back_and_what_is_invoiced() -> None:
    assert accounts().drop("full_name").rows() == [
        ("london", "GBP", "2026-11", 1, 45, 255, 0, 250, "partly invoiced"),
        ("london", "GBP", "2026-11", 4, 0, 0, 20, 0, "nothing to invoice"),
        ("london", "GBP", "2026-11", 2, 45, 0, 0, 0, "nothing to invoice"),
    ], "the held line of customer 3 is no charge yet, and the waived one of customer 4 none at all"


def test_the_sheets_of_several_sites_stand_below_one_another() -> None:
    leeds = {name: frame.with_columns(site=pl.lit("leeds")) if "site" in frame.columns else frame
             for name, frame in november().items()}  # fmt: skip
    both = together([sheets(), sheets(leeds, name="leeds")])
    assert list(both) == SHEETS
    for name, sheet in both.items():
        assert sheet.height == 2 * sheets()[name].height, f"rows of a site are missing on {name}"
        assert sheet.columns[:2] == ["site", "currency"]
        assert sheet["site"].unique(maintain_order=True).to_list() == ["london", "leeds"]


def test_months() -> None:
    assert (month_before("2026-01"), month_before("2026-11")) == ("2025-12", "2026-10")
    assert months_to_date("2026-03") == ["2026-01", "2026-02", "2026-03"]


def test_a_month_that_is_none() -> None:
    with pytest.raises(ValueError, match="Invalid isoformat"):
        month_bounds("November", "Europe/London")


# --- any month --------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.tuples(
        st.integers(0, 40),  # job
        st.sampled_from(["sale", "credit", "waive"]),
        st.integers(0, 99_999),  # cents
        st.integers(1, 4),  # customer
        st.sampled_from(["priced", "sending", "confirmed", "invoiced", "held", "void", "unknown"]),
        st.booleans(),  # undone
    ),
    max_size=40,
    unique_by=lambda line: line[0],
)


def a_month(lines: list[tuple[Any, ...]]) -> dict[str, pl.DataFrame]:
    """One job for each line, printed somewhere around November; a line that is undone has its reversal."""
    body = [f"{job} 11-{1 + job % 28:02d}T12:{job:02d} {cents}" for job, _, cents, _, _, _ in lines]
    logged = jobs("\n".join(["job_id printed_at cost", *body]))
    rows = [f"{job} {kind} {cents} {customer} {state} -" for job, kind, cents, customer, state, _ in lines]
    rows += [
        f"{job} undo_{kind} {cents} {customer} confirmed R{job}{kind}"
        for job, kind, cents, customer, state, undone in lines
        if undone and state in {"confirmed", "invoiced"}
    ]
    told = table(
        LEDGER, "\n".join(["job_id kind amount_cents coworker_id state undoes", *rows]),
        site="london", revision=0, seq=0, rule="money", username="c1@example.com",
        printed_at=moment("11-01T00:00"), ref=lambda row: f"R{row['job_id']}{row['kind']}",
    )  # fmt: skip
    people = customers("coworker_id team\n1 A\n2 A\n3 B\n4 -")
    return {"jobs": logged, "ledger": told, "customers": people, "reconciliation": tables.empty("reconciliation")}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(LINES)
def test_every_total_is_the_ledgers_to_the_cent(lines: list[tuple[Any, ...]]) -> None:
    standing = [line for line in lines if line[4] != "void" and not (line[5] and line[4] in {"confirmed", "invoiced"})]

    def cents(kind: str) -> int:
        return sum(line[2] for line in standing if line[1] == kind and line[4] != "held")

    expected = {
        "credits_cents": cents("credit"), "money_cents": cents("sale"), "waived_cents": cents("waive"),
        "held_cents": sum(line[2] for line in standing if line[4] == "held"),
    }  # fmt: skip
    month = a_month(lines)
    made = sheets(month)
    for name in ("customers", "teams", "printers", "jobs"):
        totals = made[name].select(pl.col(list(expected)).sum()).row(0, named=True)
        assert totals == expected, f"the sheet {name} does not add up to the ledger"
    booked = accounts(month).select(pl.col("credits_cents", "money_cents").sum()).row(0)
    assert booked == (expected["credits_cents"], expected["money_cents"]), "the file for accountants does not add up"


# --- cells ------------------------------------------------------------------------------------------------------------

STARTS = "=+-@\t\r\n"
DISGUISES = "\uff1d\uff0b\uff0d\uff20\u207a\u208a\ufe62\ufe63\ufe66\ufe6b\u2212"
BLANKS = " \u00a0\u3000\u200b\ufeff\u2060\u202e\x00\x1f\x0b"


def dangerous(text: str) -> bool:
    """Written anew, character by character, so that a slip in the expression shows."""
    for character in unicodedata.normalize("NFKC", text):
        if character in STARTS + "\u2212":
            return True
        if not (character.isspace() or unicodedata.category(character).startswith("C")):
            return False
    return False


def made_safe(text: str) -> str:
    return safe_cells(pl.DataFrame({"text": [text]}))["text"][0]


@pytest.mark.parametrize("start", [*STARTS, *DISGUISES])
@pytest.mark.parametrize("before", ["", *BLANKS, "  \u200b "])
def test_every_formula_start_is_neutralised(start: str, before: str) -> None:
    assert made_safe(f"{before}{start}1+1") == f"'{before}{start}1+1"


@pytest.mark.parametrize(
    "text", ["", "a=b", "1-2", "me@example.com", "Ünal", "李小龍", "مريم", "'=1", "🖨", " a", "(=1)"]
)
def test_other_text_is_unchanged(text: str) -> None:
    assert made_safe(text) == text


words = st.text(st.characters(codec="utf-8"), max_size=20)
cells = st.one_of(
    words, st.builds("".join, st.tuples(st.text(BLANKS, max_size=3), st.sampled_from(STARTS + DISGUISES), words))
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(cells, min_size=1, max_size=20))
def test_no_cell_is_a_formula_and_no_other_text_changes(texts: list[str]) -> None:
    frame = pl.DataFrame({"text": texts, "number": [-1] * len(texts)})
    safe = safe_cells(frame)
    for before, after in zip(texts, safe["text"], strict=True):
        assert after == (f"'{before}" if dangerous(before) else before)
        assert not dangerous(after)
    assert safe["number"].equals(frame["number"]), "numbers are no text"
    assert safe_cells(safe).equals(safe), "twice is once"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(cells, min_size=1, max_size=10))
def test_text_in_any_script_survives_the_file(texts: list[str]) -> None:
    frame = pl.DataFrame({"name": texts, "number": range(len(texts))})
    read = list(csv.reader(io.StringIO(to_csv(frame).decode("utf-8-sig"), newline="")))
    assert [row[0] for row in read[1:]] == safe_cells(frame)["name"].to_list()


def test_the_file_starts_with_a_byte_order_mark_and_ends_lines_with_crlf() -> None:
    assert to_csv(pl.DataFrame({"a": ["Zoë", None], "b": [1, 2]})) == "\ufeffa,b\r\nZoë,1\r\n,2\r\n".encode()
