"""The report as people open it: a workbook that runs nothing, a page that asks nobody, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reports import figures
from pipeline.reports.page import change, money, page
from pipeline.reports.sheets import together
from pipeline.reports.title import Title
from pipeline.reports.workbook import MOST_CHARACTERS, NAMES, heading, money_format, write_workbook
from tests.reports.test_sheets import accounts, november, sheets

NS = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
TITLE = Title("london", "2026-11", ("Europe/London",))
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet has no zones

AWKWARD = [
    '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "<r><t>markup</t></r>", "<b>bold</b> & 'quotes'",
    "Zoë", "李小龍", "مريم", "अनीता", "👩‍🚀", "_x0041_", "a\x01b", " padded ", "\N{BOM}=1",
]  # fmt: skip


@cache
def _november() -> dict[str, pl.DataFrame]:
    return {**sheets(), "year_to_date": accounts()}


def report() -> dict[str, pl.DataFrame]:
    """November of `test_report` with the file for accountants."""
    return dict(_november())


def two_currencies() -> dict[str, pl.DataFrame]:
    """London in pounds and Oslo in kroner."""
    oslo = {name: sheet.with_columns(site=pl.lit("oslo"), currency=pl.lit("NOK")) for name, sheet in report().items()}
    return together([report(), oslo])


class Workbook:
    """The cells of a workbook, read from its XML: texts, numbers, and which cells are formulas."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as parts:
            self.parts = {name: parts.read(name) for name in parts.namelist()}
            self.dates = {entry.date_time for entry in parts.infolist()}
        book = self._xml("xl/workbook.xml")
        names = [sheet.attrib["name"] for sheet in book.iterfind("m:sheets/m:sheet", NS)]
        self.sheets = {name: self._xml(f"xl/worksheets/sheet{n}.xml") for n, name in enumerate(names, 1)}
        self.styles = self._xml("xl/styles.xml")

    def _xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.parts[name])  # noqa: S314 - made by the test itself

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a sheet below its headings, as heading -> value."""
        grid = [self._row(row) for row in self.sheets[name].iterfind("m:sheetData/m:row", NS)]
        top = next(place for place, row in enumerate(grid) if len(row) > 1)
        names = grid[top]
        return [{names[column]: value for column, value in row.items() if column in names} for row in grid[top + 1 :]]

    def _row(self, row: ElementTree.Element) -> dict[str, Any]:
        return {re.sub(r"\d", "", cell.attrib["r"]): self._value(cell) for cell in row if len(cell)}

    @staticmethod
    def _value(cell: ElementTree.Element) -> Any:
        if cell.get("t") == "inlineStr":
            text = "".join(part.text or "" for part in cell.iter(f"{{{NS['m']}}}t"))
            return re.sub(r"_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text)
        return float(cell.findtext("m:v", namespaces=NS) or "nan")

    def formulas(self, name: str) -> list[str]:
        """The formulas of a sheet."""
        return [formula.text or "" for formula in self.sheets[name].iter(f"{{{NS['m']}}}f")]

    def style(self, name: str, text: str) -> dict[str, str]:
        """The format of the first cell with a text."""
        for cell in self.sheets[name].iter(f"{{{NS['m']}}}c"):
            if len(cell) and self._value(cell) == text:
                return dict(self.styles.findall("m:cellXfs/m:xf", NS)[int(cell.get("s", 0))].attrib)
        raise AssertionError(f"no cell with {text!r} on {name}")


def written(folder: Path, made: dict[str, pl.DataFrame], title: Title = TITLE) -> Workbook:
    write_workbook(folder / "report.xlsx", made, title)
    return Workbook(folder / "report.xlsx")


def renamed(texts: list[str]) -> dict[str, pl.DataFrame]:
    """The report with these texts as the names of printers."""
    made = report()
    row = made["printers"].head(1)
    return {**made, "printers": pl.concat([row.with_columns(printer=pl.lit(text)) for text in texts])}


# --- the workbook -----------------------------------------------------------------------------------------------------


def test_every_sheet_has_a_frozen_header_and_totals(tmp_path: Path) -> None:
    book = written(tmp_path, report())
    assert list(book.sheets) == list(NAMES.values())
    for name, sheet in book.sheets.items():
        pane = sheet.find("m:sheetViews/m:sheetView/m:pane", NS)
        assert pane is not None, f"the header of {name} is not frozen"
        assert pane.get("state") == "frozen"
    for name in ("customers", "teams", "printers", "jobs", "reconciliation", "year_to_date"):
        total = book.rows(NAMES[name])[-1]
        for column in (each for each in report()[name].columns if each.endswith("_cents")):
            assert total[heading(column)] == pytest.approx(report()[name][column].sum() / 100, abs=0.0001), (
                f"the total of {column} on {name} is wrong"
            )


def test_totals_follow_the_filter_of_their_sheet(tmp_path: Path) -> None:
    book = written(tmp_path, report())
    assert book.formulas("Printers"), "the totals are plain numbers"
    for name in NAMES.values():
        assert all(formula.startswith("SUBTOTAL(109,") for formula in book.formulas(name)), f"a foreign formula: {name}"


def test_held_refunded_and_voided_amounts_are_not_added_up(tmp_path: Path) -> None:
    rows = written(tmp_path, report()).rows("Held and refunds")
    assert [(row["Reference"], row["Amount"]) for row in rows[-3:]] == [
        ("Waiting", 12.05), ("Voided", 0), ("Given back", 0.2),
    ]  # fmt: skip


def test_money_is_a_number_with_the_currency_and_a_time_a_real_one_in_the_zone_of_the_site(tmp_path: Path) -> None:
    made = {**report(), "jobs": sheets(timezone="Asia/Kathmandu")["jobs"]}
    book = written(tmp_path, made)
    job = next(row for row in book.rows("Jobs") if row["Job"] == "4")
    assert job["Printed"] == 12.05
    assert EPOCH + timedelta(minutes=round(job["Printed at"] * 1440)) == datetime(2026, 11, 15, 18, 15)  # noqa: DTZ001
    assert '"£"#,##0.00' in [
        each.attrib["formatCode"].split(";")[0] for each in book.styles.iter(f"{{{NS['m']}}}numFmt")
    ]


@pytest.mark.parametrize(("currency", "shown"), [("GBP", '"£"#'), ("USD", '"USD "#'), (None, "#")])
def test_an_unknown_currency_has_no_sign(currency: str | None, shown: str) -> None:
    assert money_format(currency).startswith(shown + ",##0.00")


def test_two_currencies_have_two_totals(tmp_path: Path) -> None:
    rows = written(tmp_path, two_currencies()).rows("Printers")
    assert [(row["Site"], row["Printed"]) for row in rows[-2:]] == [("Total GBP", 15.9), ("Total NOK", 15.9)]


@pytest.mark.parametrize("text", AWKWARD)
def test_a_text_stays_a_text_in_the_workbook(tmp_path: Path, text: str) -> None:
    book = written(tmp_path, renamed([text]))
    assert book.rows("Printers")[0]["Printer"] == text
    assert not any("HYPERLINK" in formula or "SUM(A1)" in formula for formula in book.formulas("Printers"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_what_looks_like_a_formula_stays_a_text_when_it_is_edited(tmp_path: Path, text: str) -> None:
    book = written(tmp_path, renamed([text, "hall"]))
    assert book.style("Printers", text).get("quotePrefix") == "1"
    assert "quotePrefix" not in book.style("Printers", "hall")


NAMES_OF_ANY_KIND = st.text(st.characters(codec="utf-8", exclude_characters="\ufffe\uffff"), min_size=1, max_size=12)
MARKUP = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="_")).map("<r>{}</r>".format)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.one_of(NAMES_OF_ANY_KIND, MARKUP), min_size=20, max_size=60))
def test_names_in_any_script_survive_the_workbook(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    rows = written(tmp_path_factory.mktemp("book"), renamed(texts)).rows("Printers")
    assert [row["Printer"] for row in rows[: len(texts)]] == texts


def test_a_text_that_no_cell_can_hold_is_cut_with_a_mark(tmp_path: Path) -> None:
    (row, _) = written(tmp_path, renamed(["x" * 40_000])).rows("Printers")
    assert len(row["Printer"]) == MOST_CHARACTERS
    assert row["Printer"].endswith("x…")


def test_rows_beyond_a_sheet_are_told_and_still_in_the_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.reports.workbook.MOST_ROWS", 1)
    *_, total, told = written(tmp_path, report()).rows("Printers")
    assert total["Printed"] == 15.9
    assert told["Printer"] == "1 more rows do not fit on a sheet; they stand in printers.csv"


def test_the_same_sheets_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.xlsx", tmp_path / "2.xlsx"
    write_workbook(first, report(), TITLE)
    write_workbook(second, report(), TITLE)
    assert first.read_bytes() == second.read_bytes()
    assert b"2026-11-01T00:00:00Z" in Workbook(first).parts["docProps/core.xml"], "the file is dated by the clock"
    assert len(Workbook(first).dates) == 1
    assert page(report(), report(), TITLE) == page(report(), report(), TITLE)


MANY_ROWS = """
import resource, sys
import polars as pl
from pathlib import Path
from tests.reports.test_files import TITLE, report
from pipeline.reports.workbook import write_workbook
made = report()
made["jobs"] = pl.concat([made["jobs"]] * 5000).rechunk()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_workbook(Path(sys.argv[1]), made, TITLE)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_the_memory_of_a_workbook_does_not_grow_with_its_rows(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MANY_ROWS, str(tmp_path / "many.xlsx")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 10, f"35,000 jobs took {grown} MB: is the workbook still written in constant memory?"


def test_a_month_without_jobs(tmp_path: Path) -> None:
    nothing = {name: sheet.clear() if name != "summary" else sheet for name, sheet in report().items()}
    empty = {**nothing, "summary": sheets({**november(), "jobs": november()["jobs"].clear()})["summary"]}
    assert written(tmp_path, empty).rows("Jobs")[-1]["Printed"] == 0
    assert "Nothing is held." in page(empty, empty, TITLE).decode()


# --- the page ---------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every start tag of a page with its attributes, and its text."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def made_page(made: dict[str, pl.DataFrame] | None = None, before: dict[str, pl.DataFrame] | None = None) -> Elements:
    return Elements(page(made or report(), before or report(), TITLE))


def test_the_page_asks_nobody_for_anything() -> None:
    document = made_page()
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in document.tags}
    asking = {"src", "href", "xlink:href", "style", "srcset", "data", "action"}
    assert not [tag for tag, attributes in document.tags if asking & attributes.keys()]
    policy = next(attributes["content"] or "" for tag, attributes in document.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "http" not in policy
    style = re.search("<style>(.*)</style>", page(report(), report(), TITLE).decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy, "the browser refuses the style sheet: the policy names another digest"
    assert "url(" not in document.text


def test_a_name_is_never_markup() -> None:
    made = report()
    evil = "</bdi><script>alert(1)</script>"
    made["customers"] = made["customers"].with_columns(full_name=pl.lit(evil))
    made["printers"] = made["printers"].with_columns(printer=pl.lit(evil))
    made["held_and_refunds"] = made["held_and_refunds"].with_columns(full_name=pl.lit(evil), reason=pl.lit(evil))
    made["reconciliation"] = made["reconciliation"].with_columns(findings=pl.lit(evil))
    document = made_page(made)
    assert "script" not in {tag for tag, _ in document.tags}
    assert document.text.count("alert(1)") >= 8


def test_every_picture_has_words_and_every_column_a_heading() -> None:
    document = made_page()
    pictures = [attributes for _, attributes in document.tags if attributes.get("role") == "img"]
    assert [each["aria-label"] for each in pictures] == [
        "Pages by day. 56 pages in all; most on Sun 15, 26 pages.",
        "Credits and money by day. £3.45 in all; most on Sun 1, £2.50.",
    ]
    hidden = [attributes for tag, attributes in document.tags if tag == "svg"]
    assert all(each.get("aria-hidden") == "true" for each in hidden)
    assert all("scope" in attributes for tag, attributes in document.tags if tag == "th")
    assert dict(document.tags)["html"] == {"lang": "en-GB"}


def test_the_page_tells_what_is_held_and_what_cannot_be_explained() -> None:
    text = made_page().text
    assert "Too few credits, and the customer may not be charged money: 1 line, £12.05" in text
    assert "£0.01 on 1 day cannot be explained" in text


def test_days_that_nobody_reconciled_are_told() -> None:
    made = report()
    made["reconciliation"] = made["reconciliation"].filter(pl.col("day").dt.day() > 2)
    assert "2 days with jobs not reconciled yet, the first on 2026-11-01 (london)." in made_page(made).text


def test_amounts_of_two_currencies_are_never_added_up() -> None:
    made = two_currencies()
    values = [(each.label, each.value, each.currency) for each in figures.headline(made, made) if each.kind == "money"]
    assert [each for each in values if each[0] == "Held"] == [("Held", 1205, "GBP"), ("Held", 1205, "NOK")]
    assert made_page(made).text.count("Credits and money by day (") == 2


def test_a_customer_of_two_sites_counts_once() -> None:
    customers = next(each for each in figures.headline(two_currencies(), report()) if each.label == "Customers")
    assert (customers.value, customers.before) == (4, 4)


@pytest.mark.parametrize(
    ("kind", "value", "before", "told"),
    [
        ("count", 120, 100, "+20 % from 100 in October"),
        ("count", 80, 100, "\N{MINUS SIGN}20 % from 100 in October"),
        ("count", 5, 0, "0 in October"),
        ("count", 0, 0, "as in October"),
        ("count", 5, None, "no jobs in October"),
        ("share", 0.5, 0.45, "+5.0 points from October"),
        ("money", 150, 100, "+50 % from £1.00 in October"),
    ],
)
def test_a_change_in_words(kind: Any, value: float, before: float | None, told: str) -> None:
    assert change(figures.Figure("x", kind, value, before, "GBP"), TITLE) == told


def test_amounts_in_words() -> None:
    assert [money(-1205, "GBP"), money(120_500, "USD"), money(5, None)] == [
        "\N{MINUS SIGN}£12.05", "USD 1,205.00", "0.05",
    ]  # fmt: skip


def test_only_a_report_loads_what_a_report_needs() -> None:
    loaded = "import sys; import pipeline.definitions; print(*sorted(sys.modules))"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"altair", "vl_convert", "xlsxwriter"} & set(names)
    assert not heavy, f"every run pays for {heavy}: import them inside the report asset only"
