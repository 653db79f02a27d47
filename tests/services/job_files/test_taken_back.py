"""What reports tell of refunds: rows with pages below 0, prints that a later report lacks, or has with fewer pages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.services.job_files.ezeep_report import EzeepReport
from pipeline.services.job_files.folder import JobFolder
from pipeline.services.printing import JobBatch
from tests.services.job_files.files import write

HEADER = "Date,User,Printer,Pages,Color,Status\n"
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
COLUMNS = {
    "user_email": "User", "printed_at": "Date", "pages": "Pages", "printer": "Printer", "colour": "Color",
    "status": "Status",
}  # fmt: skip


def row(minute: int, pages: int = 2, user: str = "a@example.com", *, hour: int = 10, status: str = "done") -> str:
    return f"2026-11-05 {hour}:{minute:02}:00,{user},Front,{pages},no,{status}\n"


def report(path: Path, name: str, *rows: str, hour: int) -> None:
    write(path / name, HEADER + "".join(rows), hour=hour)


def source(path: Path) -> JobFolder:
    layout = EzeepReport(COLUMNS, hours=0)
    return JobFolder(path, layout=layout, timezone="UTC", encoding="utf-8", since=SINCE)


def reread(path: Path) -> JobBatch:
    return source(path).reread(SINCE)


def minutes(batch: JobBatch, job_ids: list[str]) -> list[int]:
    """The minutes at which some jobs were printed."""
    at = dict(batch.jobs.select("job_id", "printed_at").iter_rows())
    return [at[job_id].minute for job_id in job_ids]


@pytest.mark.parametrize("minus", ["-", "\N{MINUS SIGN}"])
def test_a_row_with_pages_below_0_is_no_print_and_has_one_name_in_every_report(tmp_path: Path, minus: str) -> None:
    back = row(5, -3).replace("-3", f"{minus}3")
    report(tmp_path, "a.csv", row(1), back, row(6, -1, status="failed"), hour=11)
    report(tmp_path, "b.csv", row(1), row(5, -3), row(5, -3, "b@example.com"), hour=12)
    batch = source(tmp_path).read(None)
    assert batch.problems == []
    assert batch.jobs["pages"].to_list() == [2]
    assert sorted(batch.returns.select("username", "pages").rows()) == [("a@example.com", 3), ("b@example.com", 3)]
    assert batch.returns["row_id"].n_unique() == 2


def test_equal_rows_of_one_report_have_each_a_name(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", row(1), row(5, -3), row(5, -3), hour=11)
    assert source(tmp_path).read(None).returns["row_id"].n_unique() == 2


def test_a_print_that_a_later_report_of_its_time_lacks_is_named_with_that_report(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", row(1), row(2), row(3), hour=11)
    report(tmp_path, "b.csv", row(1), row(3), hour=12)
    batch = reread(tmp_path)
    assert minutes(batch, batch.lacking["job_id"].to_list()) == [2]
    assert batch.lacking["lacked_by"].to_list() == ["b.csv"]
    assert source(tmp_path).read(None).lacking.is_empty(), "only who reads all files of a time can tell"


OLDER = (row(1), row(2), row(3))
SHORTER = {
    "it ends before": (row(1),),
    "it begins after": (row(3), row(4)),
    "it has no print of others": (row(0, user="b@example.com"), row(9, user="b@example.com")),
    "a line of it cannot be read": (row(1), row(2).replace("Front,2", "Front,two"), row(3)),
    "it is empty": (),
    "it is not whole": (row(1), row(3).rstrip("\n")),
}


@pytest.mark.parametrize("rows", SHORTER.values(), ids=SHORTER.keys())
def test_a_report_that_may_be_shorter_for_another_reason_lacks_nothing(tmp_path: Path, rows: tuple[str, ...]) -> None:
    report(tmp_path, "a.csv", *OLDER, hour=11)
    report(tmp_path, "b.csv", *rows, hour=12)
    assert reread(tmp_path).lacking.is_empty()


def test_a_report_that_lacks_many_prints_is_named_and_lacks_none(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", *(row(each) for each in range(10)), hour=11)
    report(tmp_path, "b.csv", row(0), row(9), hour=12)
    batch = reread(tmp_path)
    assert batch.lacking.is_empty()
    assert batch.problems == [
        "b.csv: lacks 8 of 8 prints that older files have within its time, too many to be refunds; if it is a report of"
        " some people or printers only, keep it out of the folder"
    ]


def test_a_print_that_is_in_the_newest_report_is_not_lacking_whatever_one_in_between_says(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", *OLDER, hour=11)
    report(tmp_path, "b.csv", row(1), row(3), hour=12)
    report(tmp_path, "c.csv", *OLDER, hour=13)
    assert reread(tmp_path).lacking.is_empty()


def test_a_print_with_fewer_pages_in_a_later_report_is_a_twin_of_the_first(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", row(1), row(2, 4), row(3), hour=11)
    report(tmp_path, "b.csv", row(1), row(2, 3), row(3), hour=12)
    batch = reread(tmp_path)
    (new, first) = batch.twins.row(0)
    pages = dict(batch.jobs.select("job_id", "pages").iter_rows())
    assert (pages[new], pages[first]) == (3, 4)
    assert batch.lacking["job_id"].to_list() == [first]


def test_two_prints_of_one_moment_in_one_report_are_two(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", row(1), row(2, 4), hour=11)
    report(tmp_path, "b.csv", row(1), row(2, 4), row(2, 3), row(3), hour=12)
    batch = reread(tmp_path)
    assert batch.twins.is_empty()
    assert batch.lacking.is_empty()


def test_a_twin_of_a_print_whose_report_is_gone_is_seen_and_stays_one(tmp_path: Path) -> None:
    report(tmp_path, "a.csv", row(1), row(2, 4), row(3), hour=11)
    stored = source(tmp_path).read(None).jobs.with_columns(twin=pl.lit(None, pl.String))
    (tmp_path / "a.csv").unlink()
    report(tmp_path, "b.csv", row(1), row(2, 3), row(3), hour=12)
    found = source(tmp_path).settled(source(tmp_path).read(None), stored)
    assert found.twins.height == 1
    known = pl.concat([stored, found.jobs.join(found.twins, on="job_id", how="left")]).unique("job_id", keep="last")
    assert source(tmp_path).settled(reread(tmp_path), known).twins.equals(found.twins)
