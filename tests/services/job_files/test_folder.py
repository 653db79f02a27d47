"""Job files as a source: PaperCut's print logs and CSV files, on a real folder."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import ConfigError, TransientError, UnsafeError
from pipeline.services.printing import JOB_COLUMNS
from tests.services.job_files.files import HEADER, SAMPLES, SINCE, folder, line, log, write

# Print logs


def test_a_print_log_line_has_every_column_of_the_frame(tmp_path: Path) -> None:
    write(log(tmp_path), line())
    batch = folder(tmp_path).read(None)
    assert batch.jobs.schema == JOB_COLUMNS
    assert batch.problems == []
    assert batch.jobs.drop("job_id").row(0, named=True) == {
        "printed_at": datetime(2026, 11, 5, 15, 4, 5, tzinfo=UTC),
        "username": "anna@example.com",
        "printer": "Ground floor",
        "pages": 4,
        "color_pages": 1,
        "copies": 2,
        "duplex": True,
        "paper": None,
        "cost": Decimal("4.000000"),
        "allowed": True,
        "printed": True,
        "refunded": False,
        "job_type": "PRINT",
        "shared_account": False,
    }


def test_a_folder_without_jobs_gives_an_empty_frame(tmp_path: Path) -> None:
    write(tmp_path / "server.log", "not a print log\n")
    write(log(tmp_path), "")
    batch = folder(tmp_path).read(None)
    assert (batch.jobs.schema, len(batch.jobs), batch.problems) == (JOB_COLUMNS, 0, [])


def test_reading_again_gives_the_same_jobs_and_equal_lines_are_two_jobs(tmp_path: Path) -> None:
    write(log(tmp_path), line() + line() + line("3:04:06 PM"))
    source = folder(tmp_path)
    first = source.read(None)
    again = source.read(first.cursor)
    assert first.jobs["job_id"].n_unique() == 3
    assert again.jobs.equals(first.jobs)
    assert source.reread(SINCE).jobs.equals(first.jobs)


def test_a_file_that_grows_is_noticed_and_its_old_jobs_keep_their_names(tmp_path: Path) -> None:
    write(log(tmp_path), line())
    source = folder(tmp_path)
    first = source.read(None)
    assert source.newest() == first.cursor
    write(log(tmp_path), line() + line("3:09:00 PM"))
    assert source.newest() != first.cursor
    second = source.read(first.cursor)
    assert len(second.jobs) == 2
    assert set(first.jobs["job_id"]) < set(second.jobs["job_id"])


def test_only_files_that_changed_or_lie_in_the_look_back_are_read(tmp_path: Path) -> None:
    for day in (2, 5, 9):
        write(log(tmp_path, day), line(day=f"2026-11-{day:02}"), day=day)
    source = folder(tmp_path)
    cursor = source.read(None).cursor
    assert days(source.read(cursor).jobs) == [9]
    write(log(tmp_path, 2), line(day="2026-11-02") * 2, day=3)  # a late line in an old file
    assert days(source.read(cursor).jobs) == [2, 2, 9]


def test_the_first_read_leaves_out_what_is_long_before_go_live(tmp_path: Path) -> None:
    write(log(tmp_path), line(day="2026-10-29") + line(day="2026-10-30") + line(day="2026-11-05"))
    assert days(folder(tmp_path).read(None).jobs) == [30, 5]


def test_reread_gives_jobs_from_the_moment_on_and_no_cursor(tmp_path: Path) -> None:
    write(log(tmp_path, 4), line(day="2026-11-04"), day=4)
    write(log(tmp_path, 5), line("9:59:59 AM") + line("10:00:00 AM"))
    batch = folder(tmp_path).reread(datetime(2026, 11, 5, 10, tzinfo=UTC))
    assert days(batch.jobs) == [5]
    assert batch.cursor == ""


def days(jobs: pl.DataFrame) -> list[int]:
    return jobs["printed_at"].dt.day().to_list()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("no tabs at all\r\n", "has 1 fields where at least 12 are needed"),
        (line(pages="four"), "pages is not a whole number"),
        (line(pages="-4"), "pages is not a whole number"),
        (line(cost="free"), "cost is not an amount"),
        (line(cost="1,500x1"), "cost is not an amount"),
        (line(cost="9" * 13), "is not a finite number below 10^12"),
        (line("25:00:00"), "there is no such time"),
        (line("13:00:00 PM"), "there is no such time"),
        (line(day="2026-02-30"), "there is no such time"),
        (line(day="2126-11-05"), "there is no such time"),
        (line(day="0001-01-01"), "there is no such time"),
        (line(day="05/11/26"), "the time is not written as 2026-11-20 15:04:05 or 2026-11-20 3:04:05 PM"),
        (line(pages="9223372036854775808"), "pages is not a whole number"),
        (line(user="an\0na"), "holds a zero byte: the file was damaged"),
    ],
)
def test_a_bad_line_is_named_at_each_read_and_the_others_are_kept(tmp_path: Path, bad: str, reason: str) -> None:
    write(log(tmp_path), line() + bad + "\r\n" + line("3:05:00 PM"))
    source = folder(tmp_path)
    first = source.read(None)
    assert len(first.jobs) == 2
    assert first.problems == [f"printlog_2026_11_05.log:2: {reason}"]
    assert source.read(first.cursor).problems == first.problems


def test_a_problem_repeats_no_personal_data(tmp_path: Path) -> None:
    write(log(tmp_path), line(document="Salary\tof Anna"))  # a tab in a name moves all fields
    (problem,) = folder(tmp_path).read(None).problems
    assert "Anna" not in problem


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    write(log(tmp_path), line() + line("3:05:00 PM", cost="12.50").rstrip()[:-9])
    source = folder(tmp_path)
    first = source.read(None)
    assert (len(first.jobs), first.problems) == (1, [])
    stuck = source.read(first.cursor)
    assert "printlog_2026_11_05.log:2: the last line still has no line end" in stuck.problems[0]
    write(log(tmp_path), line() + line("3:05:00 PM", cost="12.50"))
    whole = source.read(first.cursor)
    assert whole.jobs["cost"].to_list() == [Decimal(4), Decimal("12.5")]
    assert whole.problems == []


def test_the_last_line_of_a_finished_file_counts_without_a_line_end(tmp_path: Path) -> None:
    write(log(tmp_path, 5), line().rstrip())
    source = folder(tmp_path)
    first = source.read(None)
    assert len(first.jobs) == 0
    write(log(tmp_path, 6), line(day="2026-11-06"), day=6)
    assert days(source.read(first.cursor).jobs) == [5, 6]


def test_a_file_that_shrank_is_a_problem_and_is_still_read(tmp_path: Path) -> None:
    write(log(tmp_path), line() * 2)
    source = folder(tmp_path)
    first = source.read(None)
    write(log(tmp_path), line(), hour=13)
    second = source.read(first.cursor)
    assert second.problems == [
        f"printlog_2026_11_05.log: the file shrank from {2 * len(line()):,} to {len(line()):,} bytes; was it edited?"
    ]
    assert len(second.jobs) == 1
    assert source.read(second.cursor).problems == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251", "utf-16"])
def test_names_in_any_script(tmp_path: Path, encoding: str) -> None:
    write(log(tmp_path), line(user="ЮРИЙ", document="Договор"), encoding=encoding)
    batch = folder(tmp_path, encoding=encoding).read(None)
    assert batch.problems == []
    assert batch.jobs["username"].to_list() == ["юрий"]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    write(log(tmp_path), line(document="Letter \u2028 \x0b \x0c \x1c \x85 1"))
    batch = folder(tmp_path).read(None)
    assert (len(batch.jobs), batch.problems) == (1, [])


def test_a_wrong_encoding_is_named_and_correcting_it_names_no_job_anew(tmp_path: Path) -> None:
    write(log(tmp_path), line() + line(user="Юрий"), encoding="cp1251")
    wrong = folder(tmp_path).read(None)
    assert wrong.problems == ["printlog_2026_11_05.log:2: is not written in utf-8; correct jobs.encoding"]
    assert len(wrong.jobs) == 1
    similar = folder(tmp_path, encoding="cp1252").read(None)
    right = folder(tmp_path, encoding="cp1251").read(None)
    assert set(right.jobs["job_id"]) == set(similar.jobs["job_id"]) > set(wrong.jobs["job_id"])


@pytest.mark.parametrize(("account", "shared"), [("", False), ("anna@example.com", False), ("Marketing\\Fairs", True)])
def test_another_account_than_the_users_own_is_shared(tmp_path: Path, account: str, shared: bool) -> None:
    write(log(tmp_path), line(account=account))
    assert folder(tmp_path).read(None).jobs["shared_account"].to_list() == [shared]


def test_positions_can_be_moved(tmp_path: Path) -> None:
    write(log(tmp_path), line(cost="no cost here").replace("19kb", "7.5"))
    batch = folder(tmp_path, columns={"cost": "15"}).read(None)
    assert batch.jobs["cost"].to_list() == [Decimal("7.5")]


@pytest.mark.parametrize(
    ("source", "columns", "message"),
    [
        ("print_log", {"costs": "12"}, "cannot hold costs = '12'.*any of: .*cost"),
        ("print_log", {"cost": "Cost"}, "cannot hold cost = 'Cost'.*positions counted from 1"),
        ("print_log", {"cost": "0"}, "cannot hold cost = '0'"),
        ("csv", {"price": "Cost"}, "cannot hold price.*use any of: .*cost"),
    ],
)
def test_columns_that_cannot_be_are_refused(tmp_path: Path, source: str, columns: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        folder(tmp_path, source, columns=columns)


@pytest.mark.parametrize("encoding", ["utf-99", "hex"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(ConfigError, match=f"jobs.encoding '{encoding}' is not known"):
        folder(tmp_path, encoding=encoding)


# The folder


def test_a_folder_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no folder .*nowhere\. .*correct jobs\.path"):
        folder(tmp_path / "nowhere").newest()


def test_a_file_that_cannot_be_read_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    log(tmp_path).mkdir()  # no permission stops the user that runs as root
    with pytest.raises(TransientError, match=r"The job file .*printlog_2026_11_05\.log cannot be read: Is a directory"):
        folder(tmp_path, since=datetime(2020, 1, 1, tzinfo=UTC)).read(None)


def test_a_folder_that_lost_all_its_files_is_a_share_that_is_away(tmp_path: Path) -> None:
    write(log(tmp_path), line())
    source = folder(tmp_path)
    cursor = source.read(None).cursor
    log(tmp_path).unlink()
    assert source.newest() != cursor
    with pytest.raises(TransientError, match=r"held 1 job files at the last read and none now.*share is mounted"):
        source.read(cursor)


def test_files_that_papercut_removed_are_no_problem(tmp_path: Path) -> None:
    write(log(tmp_path, 5), line())
    write(log(tmp_path, 6), line(day="2026-11-06"), day=6)
    source = folder(tmp_path)
    cursor = source.read(None).cursor
    log(tmp_path, 5).unlink()
    batch = source.read(cursor)
    assert (days(batch.jobs), batch.problems) == ([6], [])


def test_the_cursor_of_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match=r"charged again.*put jobs\.source back"):
        folder(tmp_path).read("93211/5000")


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-10-25\t1:30:00 AM", "2026-10-25T00:30:00"),  # happens twice: the first
        ("2027-03-28\t1:30:00 AM", "2027-03-28T01:30:00"),  # never was: 02:30 summer time
    ],
)
def test_local_times_become_utc_at_both_clock_changes(tmp_path: Path, local: str, expected: str) -> None:
    write(log(tmp_path), line("TIME", day="DAY").replace("DAY\tTIME", local))
    jobs = folder(tmp_path, since=datetime(2026, 10, 1, tzinfo=UTC)).read(None).jobs
    assert jobs["printed_at"].to_list() == [datetime.fromisoformat(expected).replace(tzinfo=UTC)]


# CSV files


def test_the_print_logger_samples(tmp_path: Path) -> None:
    for sample in SAMPLES.glob("*.csv"):
        (tmp_path / sample.name).write_bytes(sample.read_bytes())
    batch = folder(tmp_path, "csv", since=datetime(2020, 5, 1, tzinfo=UTC), timezone="America/Chicago").read(None)
    assert batch.problems == []
    assert batch.jobs.schema == JOB_COLUMNS
    assert batch.jobs["username"].to_list() == [
        "sample1", "sample2", "sample3", "sample3", "sample3", "sample4", "administrator",
    ]  # fmt: skip
    assert batch.jobs["cost"].null_count() == 7, "the Print Logger knows no cost"
    assert batch.jobs.drop("job_id", "cost").row(0, named=True) == {
        "printed_at": datetime(2020, 5, 29, 22, 50, 10, tzinfo=UTC),
        "username": "sample1",
        "printer": "SAMPLE-MFP01",
        "pages": 1,
        "color_pages": 0,
        "copies": 1,
        "duplex": False,
        "paper": None,
        "allowed": True,
        "printed": True,
        "refunded": False,
        "job_type": "PRINT",
        "shared_account": False,
    }


def test_the_other_print_logger_rows(tmp_path: Path) -> None:
    rows = (
        '2026-11-05 10:00:00,Юрий,3,2,МФУ 1,"Договор, ""новый"".docx",ПК,A4,PCL6,,,DUPLEX,NOT GRAYSCALE,55kb,\n'
        '2026-11-05 10:01:00,"Иванов, Пётр",1,1,МФУ 1,План,ПК,A4,PCL6,,,NOT DUPLEX,GRAYSCALE,16\n'
    )
    write(tmp_path / "papercut-print-log-2026-11-05.csv", HEADER + rows, encoding="cp1251")
    batch = folder(tmp_path, "csv", encoding="cp1251").read(None)
    assert batch.problems == []
    seen = batch.jobs.select("username", "printer", "pages", "color_pages", "copies", "duplex").rows()
    assert seen == [("юрий", "МФУ 1", 3, 3, 2, True), ("иванов, пётр", "МФУ 1", 1, 0, 1, False)]


def test_a_report_with_a_title_other_separator_and_cost(tmp_path: Path) -> None:
    report = (
        "\ufeffPrint log summary\r\n\r\n;;;\r\n"
        "TIME;User;Printer;pages;Colour Pages;Charged Cost;Gray Scale;Refunded\r\n"
        "2026-11-05 10:00:00;anna;Ground floor;3;2;£1.50;Not grayscale;N\r\n"
        "2026-11-05 10:01:00;bob;Ground floor;3;0;0,75;Grayscale;Y\r\n"
    )
    write(tmp_path / "Report.CSV", report)
    batch = folder(tmp_path, "csv").read(None)
    assert batch.problems == []
    assert batch.jobs.select("username", "color_pages", "cost", "refunded").rows() == [
        ("anna", 2, Decimal("1.5"), False),
        ("bob", 0, Decimal("0.75"), True),
    ]


def test_headers_can_be_named(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "Wann,Wer,Seiten,Kosten\n2026-11-05 10:00,anna,3,2.5\n")
    columns = {"printed_at": "Wann", "username": "Wer", "pages": "Seiten", "cost": "Kosten"}
    assert folder(tmp_path, "csv", columns=columns).read(None).jobs["cost"].to_list() == [Decimal("2.5")]


@pytest.mark.parametrize("columns", [{}, {"cost": "Price"}])
def test_a_file_without_the_needed_headers_is_named(tmp_path: Path, columns: dict[str, str]) -> None:
    write(tmp_path / "other.csv", "When,User,Pages,Cost\n" if not columns else "Time,User,Pages,Cost\n")
    write(tmp_path / "good.csv", "Time,User,Pages,Price\n2026-11-05 10:00,anna,3,2.5\n")
    batch = folder(tmp_path, "csv", columns=columns).read(None)
    (problem,) = batch.problems
    assert problem.startswith("other.csv: no line is a header with the columns time")
    assert len(batch.jobs) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            '2026-11-05 10:00:00,bob,1,1,P,"no end,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,',
            "has 6 fields where the header has 14",
        ),
        ("2026-11-05 10:00:00,bob,1", "has 3 fields where the header has 14"),
        ("2026-11-05 10:00:00,bob,1,1,P,D,PC,A4,PCL6,,,SIMPLEX,GRAYSCALE,1kb,", "duplex is neither yes nor no"),
        ("05.11.2026,bob,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,", "the time is not written"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_kept(tmp_path: Path, bad: str, reason: str) -> None:
    good = "2026-11-05 10:00:0{},anna,1,1,P,D,PC,A4,PCL6,,,DUPLEX,GRAYSCALE,1kb,\n"
    write(tmp_path / "a.csv", HEADER + good.format(1) + bad + "\n" + good.format(2))
    batch = folder(tmp_path, "csv").read(None)
    assert len(batch.jobs) == 2
    (problem,) = batch.problems
    assert problem.startswith(f"a.csv:4: {reason}")


def test_a_report_exported_again_revises_its_jobs_and_overlapping_reports_add_none(tmp_path: Path) -> None:
    header = "Time,User,Pages,Document,Cost,Refunded\n"
    write(tmp_path / "week.csv", header + "2026-11-05 10:00:00,anna,3,a,2.5,N\n" * 2)
    source = folder(tmp_path, "csv")
    first = source.read(None).jobs
    write(
        tmp_path / "month.csv",
        header
        + "2026-11-05 10:00:00,anna,3,a,2.5,N\n2026-11-05 10:00:00,anna,3,a,0,Y\n2026-11-06 10:00:00,bob,1,b,1,N\n",
        day=7,
    )
    second = source.read(None).jobs
    assert len(first) == 2
    assert set(first["job_id"]) < set(second["job_id"])
    assert second.select("username", "cost", "refunded").sort("username", "refunded").rows() == [
        ("anna", Decimal("2.5"), False),
        ("anna", Decimal(0), True),
        ("bob", Decimal(1), False),
    ]
