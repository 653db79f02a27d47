"""CSV files of other layouts, languages and locales, and rows that nobody would write."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.job_files.files import HEADER, folder, line, log, write

SCRIPTED = (
    "Print Logs\n\n"
    "Date,Username,Printer Name,Document,Total Printed Pages,Simplex Pages,Duplex Pages,Grayscale,Total Color Pages\n"
)
"""The print-log report that three public scripts read, its header on line 3. It has no cost."""

SPANISH = "Registro de impresión\n\nFecha;Usuario;Impresora;Documento;Páginas;Copias;Dúplex;Escala de grises;Costo\n"


def test_the_print_log_report_with_simplex_and_duplex_pages(tmp_path: Path) -> None:
    rows = (
        "2026-11-05 10:00:00,Anna,srv\\mono,a.docx,4,0,4,Y,0\n"
        '"Nov 5, 2026 10:01:00 AM",bob,srv\\color,"b, c.pdf",5,5,0,N,2\n'
    )
    write(tmp_path / "print_logs.csv", SCRIPTED + rows)
    batch = folder(tmp_path, "csv").read(None)
    assert batch.problems == []
    assert batch.jobs.select("printed_at", "username", "printer", "pages", "color_pages", "duplex", "cost").rows() == [
        (datetime(2026, 11, 5, 10, 0, tzinfo=UTC), "anna", "srv\\mono", 4, 0, True, None),
        (datetime(2026, 11, 5, 10, 1, tzinfo=UTC), "bob", "srv\\color", 5, 2, False, None),
    ]


def test_a_spanish_report_with_the_day_first(tmp_path: Path) -> None:
    rows = (
        "05/11/2026 9:00:10 a. m.;Anna;srv\\mono;a;3;1;Sí;No;30,00 Créditos\n"
        "13/11/2026 9:00:10 p.\u00a0m.;José;srv\\mono;b;1.234;1;No;Sí;1.234,50 Créditos\n"
    )
    write(tmp_path / "registro.csv", SPANISH + rows)
    batch = folder(tmp_path, "csv").read(None)
    assert batch.problems == []
    assert batch.jobs.select("printed_at", "username", "pages", "color_pages", "duplex", "cost").rows() == [
        (datetime(2026, 11, 5, 9, 0, 10, tzinfo=UTC), "anna", 3, 3, True, Decimal(30)),
        (datetime(2026, 11, 13, 21, 0, 10, tzinfo=UTC), "josé", 1234, 0, False, Decimal("1234.5")),
    ]


def test_the_same_prints_in_english_and_spanish_are_the_same_jobs(tmp_path: Path) -> None:
    english = "Usage Date,User,Printer,Document,Pages,Copies,Cost\n2026-11-13 09:00:10,anna,P,a,3,1,30 Credits\n"
    write(tmp_path / "english.csv", english)
    write(tmp_path / "spanish.csv", SPANISH + "13/11/2026 9:00:10 a. m.;anna;P;[oculto];3;1;No;No;30,00 Créditos\n")
    batch = folder(tmp_path, "csv").read(None)
    assert (batch.jobs.height, batch.twins.height, batch.problems) == (1, 0, [])


def test_date_and_time_in_two_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "Date,Time,User,Pages,Cost\n11/13/2026,9:00:10 PM,anna,3,30\n")
    jobs = folder(tmp_path, "csv").read(None).jobs
    assert jobs["printed_at"].to_list() == [datetime(2026, 11, 13, 21, 0, 10, tzinfo=UTC)]


def test_dates_that_nothing_decides_are_named_with_the_remedy_and_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "Date,User,Pages,Cost\n" + "05/11/2026 9:00:10,anna,3,30\n" * 25)
    batch = folder(tmp_path, "csv").read(None)
    assert batch.jobs.height == 0
    assert batch.problems == [
        "a.csv:2: the date can be read with the day or the month first, and no row of the file shows which; set "
        "jobs.dates to day_first or month_first (so are 24 more lines, the last of them 26)"
    ]


def test_a_cost_that_nothing_decides_harms_its_row_only(tmp_path: Path) -> None:
    write(
        tmp_path / "a.csv", 'Time,User,Pages,Cost\n2026-11-05 09:00:10,anna,3,30\n2026-11-05 09:00:11,bob,3,"1,234"\n'
    )
    batch = folder(tmp_path, "csv").read(None)
    assert batch.jobs["username"].to_list() == ["anna"]
    (problem,) = batch.problems
    assert problem.startswith("a.csv:3: cost can be read in two ways")
    write(
        tmp_path / "a.csv", 'Time,User,Pages,Cost\n2026-11-05 09:00:10,anna,3,3.50\n2026-11-05 09:00:11,bob,3,"1,234"\n'
    )
    assert folder(tmp_path, "csv").read(None).jobs["cost"].to_list() == [Decimal("3.5"), Decimal(1234)]


def test_print_logs_decide_dates_and_amounts_by_their_file_too(tmp_path: Path) -> None:
    write(log(tmp_path), line(day="05/11/2026", cost="1.234") + line(day="13/11/2026", cost="30,00 Credits"))
    batch = folder(tmp_path).read(None)
    assert batch.problems == []
    assert batch.jobs.select("printed_at", "cost").rows() == [
        (datetime(2026, 11, 5, 15, 4, 5, tzinfo=UTC), Decimal(1234)),
        (datetime(2026, 11, 13, 15, 4, 5, tzinfo=UTC), Decimal(30)),
    ]


def test_odd_rows_prove_nothing_about_the_others(tmp_path: Path) -> None:
    odd = "a\rb\n,,\n,,,,,\n2026-11-05,zoe,3,none\n"
    rows = '05/11/2026 9:00:10,anna,3,"1,234"\n13/11/2026 9:00:10,bob,3,1.50\n'
    write(tmp_path / "a.csv", odd + "Date,User,Pages,Cost\n" + odd + rows)
    batch = folder(tmp_path, "csv").read(None)
    assert batch.jobs["cost"].to_list() == [Decimal(1234), Decimal("1.5")]
    assert [problem.partition(":")[2][0] for problem in batch.problems] == ["6", "7", "8", "9"]


def test_a_header_is_found_by_configured_names_without_accents(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "Zeitpunkt,Wer,Seiten,Gebühr\n2026-11-05 10:00:00,anna,3,2.5\n")
    columns = {"printed_at": "zeitpunkt", "username": "WER", "pages": " Seiten ", "cost": "GEBUHR"}
    assert folder(tmp_path, "csv", columns=columns).read(None).jobs["cost"].to_list() == [Decimal("2.5")]


# One odd row harms itself only

ODD = {
    "a zero byte": ("2026-11-05 10:00:00,a\0b,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "holds a zero byte"),
    "a carriage return": ("2026-11-05 10:00:00,a,1,1,P\rQ,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1,", "is not a line of CSV"),
    "a cell without end": (f"2026-11-05 10:00:00,{'x' * 200_000},1", "is not a line of CSV"),
    "pages out of range": (
        "2026-11-05 10:00:00,a,9200000000000000000,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "pages is not a whole",
    ),
    "negative pages": ("2026-11-05 10:00:00,a,-3,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "pages is not a whole"),
    "copies out of range": (
        "2026-11-05 10:00:00,a,3,99999999999,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "copies is not a whole",
    ),
    "a year of nobody": ("0001-01-01 00:00:00,a,3,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "there is no such time"),
    "a far year": ("9999-12-31 23:59:59,a,3,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "there is no such time"),
    "half a surrogate pair": (
        "2026-11-05 10:00:00,a,3,1,P,\ud83d,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "is not written in",
    ),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_row_is_named_with_its_line_and_the_others_are_read(tmp_path: Path, odd: str, encoding: str) -> None:
    bad, reason = ODD[odd]
    good = "2026-11-05 10:00:0{},anna,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,\n"
    text = HEADER + good.format(1) + bad + "\n" + good.format(2)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding, "surrogatepass"))
    batch = folder(tmp_path, "csv", encoding=encoding).read(None)
    assert batch.jobs.height == 2
    (problem,) = batch.problems
    assert problem.startswith(f"a.csv:4: {reason}")
    assert bad[20:60] not in problem


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32"])
def test_a_character_cut_in_half_at_the_end_waits_with_its_line(tmp_path: Path, encoding: str) -> None:
    whole = HEADER + "2026-11-05 10:00:01,anna,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,\n"
    data = (whole + "2026-11-05 10:00:02,Ю").encode(encoding)
    (tmp_path / "a.csv").write_bytes(data[:-1])
    batch = folder(tmp_path, "csv", encoding=encoding).read(None)
    assert (batch.jobs.height, batch.problems) == (1, [])


def test_a_file_that_is_not_in_its_encoding_harms_itself_only(tmp_path: Path) -> None:
    good = HEADER + "2026-11-05 10:00:01,anna,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,\n"
    write(tmp_path / "good.csv", good, encoding="utf-32-le")
    (tmp_path / "torn.csv").write_bytes(b"\xff\xff\xff\x7f" * 9)
    batch = folder(tmp_path, "csv", encoding="utf-32-le").read(None)
    assert batch.jobs.height == 1
    assert batch.problems == ["torn.csv: is not written in utf-32-le; correct jobs.encoding"]


def test_very_many_lines_with_one_fault_are_one_sentence(tmp_path: Path) -> None:
    rows = "2026-11-05 10:00:00,bob,x,1\n" * 1000 + "2026-11-05 10:00:00,bob,1,1\n"
    write(tmp_path / "a.csv", "Time,User,Pages,Copies\n" + rows + "gestern,bob,1,1\n")
    batch = folder(tmp_path, "csv").read(None)
    assert batch.jobs.height == 1
    assert batch.problems == [
        "a.csv:2: pages is not a whole number (so are 999 more lines, the last of them 1,001)",
        "a.csv:1003: the time is not written as 2026-11-20 15:04:05 or 2026-11-20 3:04:05 PM",
    ]


@given(st.binary(max_size=200))
def test_no_bytes_between_two_rows_break_them(odd: bytes) -> None:
    good = "2026-11-05 10:00:0{},anna,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,\n"
    with tempfile.TemporaryDirectory() as name:
        text = (HEADER + good.format(1)).encode() + odd + b"\n" + good.format(2).encode()
        (Path(name) / "a.csv").write_bytes(text)
        batch = folder(Path(name), "csv").read(None)
    assert batch.jobs["printed_at"].dt.second().to_list() == [1, 2]
    assert len(batch.problems) <= 1 + odd.count(b"\n")
    assert bool(batch.problems) == any(part.strip() for part in odd.decode("latin-1").split("\n"))
