"""One print is one job, whatever its row looks like in this file, in that one, or at the next read."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.money.references import JOB_LENGTH, found_in, reference
from pipeline.errors import UnsafeError
from pipeline.services.job_files.identity import MOST, settled
from pipeline.services.printing import JOB_COLUMNS, JobBatch
from tests.services.job_files.files import folder, line, log, write

COLUMNS = "Time,User,Printer,Pages,Copies,Document,Cost\n"
START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def row(
    time: str = "09:00:10",
    user: str = "anna",
    printer: str = "srv\\mono",
    *,
    day: str = "2026-11-05",
    pages: int = 3,
    document: str = "a",
    cost: str = "30.00",
) -> str:
    return f"{day} {time},{user},{printer},{pages},1,{document},{cost}\n"


def read(path: Path, files: dict[str, str], **jobs: object) -> JobBatch:
    """One read of a folder with these files, each a day newer than the one before."""
    for day, (name, rows) in enumerate(files.items(), start=6):
        write(path / name, COLUMNS + rows, day=day)
    return folder(path, "csv", **jobs).read(None)


def ids(path: Path, rows: str) -> list[str]:
    """The names of the rows of one export in a folder of its own, in the order of their costs."""
    path.mkdir(exist_ok=True)
    batch = read(path, {"export.csv": rows})
    assert batch.problems == []
    return batch.jobs.sort("cost", "job_id")["job_id"].to_list()


# One field of a row differs


@pytest.mark.parametrize(
    "other",
    [
        row(printer="srv\\front-desk"),
        row("9:00:10 AM"),
        row("09:00:10.250"),
        row(day="2026/11/05"),
        row(user="anna.smith"),
        row(user=""),
        row(document="[redacted]"),
        row(printer="srv\\front-desk", document="", user="Anonymous"),
        row(cost="$20.00"),
        row(cost=""),
    ],
)
def test_a_row_that_looks_different_in_a_second_export_is_the_same_job(tmp_path: Path, other: str) -> None:
    assert ids(tmp_path / "first", row()) == ids(tmp_path / "second", other)


def test_rows_of_one_second_may_stand_in_any_order(tmp_path: Path) -> None:
    one, two = row(cost="30.00"), row(cost="60.00")
    assert ids(tmp_path / "first", one + two) == ids(tmp_path / "second", two + one)


def test_different_prints_have_different_names(tmp_path: Path) -> None:
    rows = row() + row("09:00:11") + row(pages=4) + row(user="bob") + row(day="2026-11-06")
    assert len(set(ids(tmp_path / "first", rows))) == 5


def test_a_corrected_time_zone_names_no_job_anew(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", COLUMNS + row())
    london, paris = (folder(tmp_path, "csv", timezone=zone).read(None).jobs for zone in ("Europe/London", "Asia/Tokyo"))
    assert london["job_id"].to_list() == paris["job_id"].to_list()
    assert london["printed_at"].to_list() != paris["printed_at"].to_list()


def test_a_print_log_line_is_known_by_its_second_and_pages(tmp_path: Path) -> None:
    write(log(tmp_path), line())
    first = folder(tmp_path).read(None).jobs
    write(log(tmp_path), line("15:04:05", "REDACTED", document="", account="x").replace("Ground floor", "Front desk"))
    assert folder(tmp_path).read(None).jobs["job_id"].to_list() == first["job_id"].to_list()


def test_a_name_is_a_job_of_a_reference(tmp_path: Path) -> None:
    (name,) = ids(tmp_path / "first", row(pages=999_999_999, day="2067-12-31"))
    assert len(name) == JOB_LENGTH
    ref = reference("london", name, "sale", 0)
    assert found_in(f"{ref} printed") == ref


# Two exports of one month


class Print(NamedTuple):
    at: datetime
    pages: int
    user: str
    printer: str
    document: str
    cost: int

    def row(self, *, half_day: bool, words: dict[str, str]) -> str:
        time = f"{self.at:%I:%M:%S %p}" if half_day else f"{self.at:%H:%M:%S}"
        user, printer, document = (words.get(word, word) for word in (self.user, self.printer, self.document))
        return row(
            time, user, printer, day=f"{self.at:%Y-%m-%d}", pages=self.pages, document=document, cost=f"{self.cost}.00"
        )


def month(chance: random.Random, prints: int) -> list[Print]:
    """Prints of a month in their order, often several in a second, none equal in everything."""
    seconds = [START + timedelta(seconds=chance.randrange(29 * 86_400)) for _ in range(prints // 2)]
    made = {
        Print(
            chance.choice(seconds),
            chance.choice((1, 1, 2, 3, 1025)),
            f"user{chance.randrange(9)}",
            f"printer{chance.randrange(3)}",
            f"document{number}",
            chance.choice((10, 20, 30)),
        )
        for number in range(prints)
    }
    return sorted(made, key=lambda print_: (print_.at, chance.random()))


def anew(chance: random.Random, prints: list[Print]) -> dict[str, str]:
    """New words for the users, printers and documents, or for some of these kinds."""
    kinds = chance.sample(["user", "printer", "document"], chance.randrange(1, 4))
    words = {word for print_ in prints for word in (print_.user, print_.printer, print_.document)}
    redacted = chance.random() < 0.3
    return {
        word: "REDACTED" if redacted and kind == "document" else f"new {word}"
        for word in words
        for kind in kinds
        if word.startswith(kind)
    }


def shuffled_seconds(chance: random.Random, prints: list[Print]) -> list[Print]:
    return sorted(prints, key=lambda print_: (print_.at, chance.random()))


SEEDS = settings(max_examples=20, deadline=None, print_blob=True)
PRINTS = 600  # of each of the examples: 12,000 in all


@SEEDS
@given(st.integers(0, 2**32).map(random.Random))
def test_two_exports_name_the_prints_they_share_alike(chance: random.Random) -> None:
    prints = month(chance, PRINTS)
    edges = sorted({print_.at for print_ in prints})
    since, until = edges[len(edges) // 4], edges[len(edges) * 3 // 4]
    early = [print_ for print_ in prints if print_.at < until]
    late = [print_ for print_ in prints if print_.at >= since]
    share = {print_.at for print_ in early} & {print_.at for print_ in late}
    words = anew(chance, prints)
    with tempfile.TemporaryDirectory() as name:
        one, two, both = (Path(name) / part for part in ("one", "two", "both"))
        for path in (one, two, both):
            path.mkdir()
        first = "".join(print_.row(half_day=False, words={}) for print_ in early)
        second = "".join(print_.row(half_day=True, words=words) for print_ in shuffled_seconds(chance, late))
        alone, again = read(one, {"a.csv": first}), read(two, {"b.csv": second})
        together = read(both, {"a.csv": first, "b.csv": second})

    shared = [batch.jobs.filter(pl.col("printed_at").is_in(list(share))).sort("job_id") for batch in (alone, again)]
    assert shared[0]["job_id"].equals(shared[1]["job_id"])
    assert (alone.jobs["job_id"].n_unique(), again.jobs["job_id"].n_unique()) == (len(early), len(late))
    # ... and a cost stays with its name, so a second export changes no sale.
    assert shared[0]["cost"].equals(shared[1]["cost"])
    # In one folder they are the month: each print once, and doubtful only what the second file alone tells, redacted.
    assert together.jobs.height == len(prints)
    assert set(together.jobs["job_id"]) == set(alone.jobs["job_id"]) | set(again.jobs["job_id"])
    only_again = again.twins.join(shared[1], on="job_id", how="anti")
    assert together.twins.equals(only_again)


@SEEDS
@given(st.integers(0, 2**32).map(random.Random))
def test_a_shuffled_file_names_its_prints_alike(chance: random.Random) -> None:
    rows = [print_.row(half_day=False, words={}) for print_ in month(chance, PRINTS)]
    with tempfile.TemporaryDirectory() as name:
        batch = read(Path(name), {"a.csv": "".join(rows)})
        chance.shuffle(rows)
        shuffled = read(Path(name), {"a.csv": "".join(rows)})
    assert batch.jobs["job_id"].n_unique() == len(rows)
    assert shuffled.jobs.equals(batch.jobs)


@SEEDS
@given(st.integers(0, 2**32).map(random.Random))
def test_an_export_of_some_prints_settles_on_the_names_they_are_stored_under(chance: random.Random) -> None:
    """Whatever part of a month a later file holds, words of one kind renamed: no print is new, each is found."""
    prints = month(chance, PRINTS)
    kind = chance.choice(["user", "printer", "document"])
    words = {word: new for word, new in anew(chance, prints).items() if word.startswith(kind)}
    part = [print_ for print_ in prints if chance.random() < 0.5]
    with tempfile.TemporaryDirectory() as name:
        stored = read(Path(name), {"a.csv": "".join(print_.row(half_day=False, words={}) for print_ in prints)}).jobs
        (Path(name) / "a.csv").unlink()
        rows = "".join(print_.row(half_day=True, words=words) for print_ in shuffled_seconds(chance, part))
        batch = settled(read(Path(name), {"b.csv": rows}), stored)
    assert batch.jobs.height == len(part)
    assert batch.twins.height == 0
    kept = batch.jobs.join(stored, on="job_id", suffix="_before")
    assert kept.height == len(part)
    assert kept.filter(pl.col("cost") != pl.col("cost_before")).height == 0


# What nobody can tell apart


def test_equal_rows_of_one_file_are_twins_of_the_first(tmp_path: Path) -> None:
    batch = read(tmp_path, {"a.csv": row() * 3 + row("09:00:11")})
    first, second, third, _ = batch.jobs["job_id"]
    assert batch.twins.rows() == [(second, first), (third, first)]
    source = folder(tmp_path, "csv")
    assert source.read(None).twins.equals(batch.twins)
    assert source.read(source.newest()).twins.equals(batch.twins)
    assert source.reread(START).twins.equals(batch.twins)


def test_equal_lines_of_a_print_log_are_two_prints_for_sure(tmp_path: Path) -> None:
    write(log(tmp_path), line())
    stored = folder(tmp_path).read(None).jobs
    write(log(tmp_path), line() * 2)
    batch = settled(folder(tmp_path).read(None), stored)
    assert (batch.jobs["job_id"].n_unique(), batch.twins.height) == (2, 0)
    assert set(stored["job_id"]) < set(batch.jobs["job_id"])


def test_the_row_of_another_file_in_which_nothing_but_the_second_agrees_is_a_twin(tmp_path: Path) -> None:
    other = row(user="bob", printer="front", cost="60.00")
    batch = read(tmp_path, {"mono.csv": row("08:00:00") + row(), "front.csv": other + row("09:30:00", "bob", "front")})
    first, second = batch.jobs.filter(pl.col("printed_at").dt.minute() == 0)["job_id"].to_list()[1:]
    assert batch.twins.rows() == [(second, first)]
    assert batch.jobs.filter(job_id=first)["username"].to_list() == ["anna"], "both are shown as they were read"
    assert batch.jobs.filter(job_id=second)["username"].to_list() == ["bob"]


def test_a_single_row_with_other_words_is_a_twin_and_beside_another_that_is_renamed_the_same_job(
    tmp_path: Path,
) -> None:
    renamed = row(user="x", printer="y")
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    alone.mkdir()
    beside.mkdir()
    assert read(alone, {"a.csv": row() + row("09:05:00"), "b.csv": renamed}).twins.height == 1
    both = read(beside, {"a.csv": row() + row("09:05:00"), "b.csv": renamed + row("09:05:00", "x", "y")})
    assert (both.jobs.height, both.twins.height) == (2, 0)


def test_a_twin_is_none_once_one_file_holds_both(tmp_path: Path) -> None:
    bob = row(user="bob", printer="front", cost="60.00")
    apart = read(tmp_path, {"anna.csv": row(), "bob.csv": bob})
    assert apart.twins.height == 1
    whole = settled(
        read(tmp_path, {"anna.csv": row(), "bob.csv": bob, "all.csv": bob + row()}),
        apart.jobs.join(apart.twins, on="job_id", how="left"),
    )
    assert whole.twins.height == 0
    assert set(whole.jobs["job_id"]) == set(apart.jobs["job_id"])


def test_a_twin_stays_one_at_the_next_read_of_its_file_alone(tmp_path: Path) -> None:
    bob = row(user="bob", printer="front", cost="60.00")
    apart = read(tmp_path, {"anna.csv": row(), "bob.csv": bob})
    (tmp_path / "anna.csv").unlink()
    later = settled(read(tmp_path, {"bob.csv": bob}), apart.jobs.join(apart.twins, on="job_id", how="left"))
    assert later.twins.equals(apart.twins)
    assert later.jobs.equals(apart.jobs.filter(username="bob"))


def test_a_late_row_of_a_second_moves_no_name(tmp_path: Path) -> None:
    stored = read(tmp_path, {"a.csv": row(user="bob", cost="20.00")}).jobs
    grown = settled(read(tmp_path, {"a.csv": row(user="bob", cost="20.00") + row(cost="10.00")}), stored)
    assert grown.jobs.filter(username="bob")["job_id"].to_list() == stored["job_id"].to_list()
    assert (grown.jobs["job_id"].n_unique(), grown.twins.height) == (2, 0)


def test_a_refund_in_a_shared_second_stays_with_its_print(tmp_path: Path) -> None:
    stored = read(tmp_path, {"a.csv": row(cost="30.00") + row(user="bob", cost="60.00")}).jobs
    later = settled(read(tmp_path, {"a.csv": row(cost="30.00") + row(user="bob", cost="20.00")}), stored)
    assert later.jobs.sort("username").select("username", "cost").rows() == [
        ("anna", Decimal(30)), ("bob", Decimal(20)),
    ]  # fmt: skip
    assert later.jobs.sort("username")["job_id"].to_list() == stored.sort("username")["job_id"].to_list()


@pytest.mark.parametrize("other", [row(pages=1027), row(pages=4), row("09:00:11", pages=3)])
def test_other_pages_or_another_second_are_surely_another_print(tmp_path: Path, other: str) -> None:
    batch = read(tmp_path, {"a.csv": row(), "b.csv": other, "c.csv": row("09:00", "bob", pages=9)})
    assert (batch.jobs["job_id"].n_unique(), batch.twins.height) == (3, 0)


# What files leave out


def test_what_a_later_export_leaves_out_is_kept(tmp_path: Path) -> None:
    first = read(tmp_path, {"a.csv": row()}).jobs
    (tmp_path / "a.csv").unlink()
    assert settled(read(tmp_path, {"b.csv": row(user="", cost="")}), first).jobs.equals(first)
    both = read(tmp_path, {"a.csv": row(), "b.csv": row(user="", printer="", cost="")}).jobs
    assert both.equals(first)


def test_an_export_without_seconds_is_no_second_sale(tmp_path: Path) -> None:
    stored = read(tmp_path, {"a.csv": row("09:00:10") + row("09:00:40", "bob") + row("09:01:00")}).jobs
    (tmp_path / "a.csv").unlink()
    minutes = row("09:00", "bob", "front") + row("09:00") + row("9:01 AM")
    batch = settled(read(tmp_path, {"b.csv": minutes}), stored)
    assert batch.twins.height == 0
    assert batch.jobs.sort("job_id")["job_id"].to_list() == stored.sort("job_id")["job_id"].to_list()
    assert batch.jobs.join(stored, on=["job_id", "username"]).height == 3


def test_a_row_without_seconds_and_with_another_user_is_a_twin(tmp_path: Path) -> None:
    stored = read(tmp_path, {"a.csv": row("09:00:10")}).jobs
    (tmp_path / "a.csv").unlink()
    batch = settled(read(tmp_path, {"b.csv": row("09:00", "bob")}), stored)
    assert batch.twins["twin"].to_list() == stored["job_id"].to_list()


# Jobs stored under the names of before


def test_jobs_named_by_a_digest_before_keep_that_name(tmp_path: Path) -> None:
    rows = row() + row(user="bob", cost="60.00") * 2 + row("09:05:00") + row("09:06")
    batch = read(tmp_path, {"a.csv": rows})
    digests = [f"ABCDEFGH2{number}".ljust(JOB_LENGTH, "Z") for number in range(2, 7)]
    stored = batch.jobs.with_columns(job_id=pl.Series(digests))
    assert settled(batch, stored.with_columns(site=pl.lit("london"), revision=pl.lit(0))).jobs.equals(
        stored.sort("printed_at", "job_id")
    )
    (tmp_path / "a.csv").unlink()
    again = read(tmp_path, {"b.csv": rows.replace("srv\\mono", "srv\\front-desk") + row("10:00:00")})
    later = settled(again, stored)
    assert set(digests) < set(later.jobs["job_id"])
    assert later.jobs.height == 6


def test_what_is_stored_of_other_minutes_changes_nothing(tmp_path: Path) -> None:
    batch = read(tmp_path, {"a.csv": row()})
    other = batch.jobs.with_columns(pl.col("printed_at") + timedelta(minutes=1), job_id=pl.lit("ABCDEFGHIJ2"))
    for stored in (other, JOB_COLUMNS.to_frame()):
        assert settled(batch, stored).jobs.equals(batch.jobs)


# Odd files


def test_more_prints_in_a_second_than_there_are_names_harm_themselves_only(tmp_path: Path) -> None:
    rows = "".join(row(document=f"d{number}") for number in range(MOST + 2))
    batch = read(tmp_path, {"a.csv": rows + row("09:00:11")})
    assert batch.jobs["job_id"].n_unique() == MOST + 1
    assert [problem.partition(": ")[2] for problem in batch.problems] == [
        "more than 1,296 lines have this second and number of pages, and cannot be told apart"
    ] * 2


def test_one_more_print_than_there_are_names_stops_before_anything_is_charged(tmp_path: Path) -> None:
    stored = read(tmp_path, {"a.csv": "".join(row(document=f"d{number}") for number in range(MOST))}).jobs
    other = read(tmp_path, {"a.csv": row(user="bob", printer="front", cost="60.00")})
    with pytest.raises(UnsafeError, match="more than 1,296 prints of one second and number of pages"):
        settled(other, stored)
