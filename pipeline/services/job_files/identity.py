"""The name of a print in files, which have no ids: what it is made of, and how rows of the same print find each other.

What belongs here: job ids of file rows. What does not: reading rows (`folder.py`), and what a print costs (`domain/`).

A name is made of what no second export, redaction or renaming changes: the second on the server's clock, and the number
of pages. The words of a row (user, printer, document), the form of its time, its cost (a refund lowers it) and what
only some exports hold (copies, colour) are no part of it. Eleven characters:

    1 8KQ0ZP4T 00
    | |        |
    | |        number among the prints of that second and number of pages, base 36; almost always 00
    | seconds since 2000 * 1024 + pages % 1024, base 36: exact, so no two prints share it by chance
    1: the file names the second; 8: only the minute

Prints of one second and one number of pages are numbered in the order of their facts, never in the order of the rows,
so a shuffled file names them alike. The words come last in that order, and decide only between rows whose facts are all
equal, where a swap changes no amount.

One file rarely tells everything: it may begin between two such prints, hold one printer's or name people anew. So rows
are settled against those read before (`merged`, `settled`). Rows of two files with one second and one number of pages
are the same print if two of user, printer and cost agree; or only one, where the print before or after it stands in
both files with other words as well: then the files overlap, and the later one names everything anew. Where a file knows
only the minute, the user has to agree. If nobody can tell, also because two lines of one CSV file are equal, the later
row becomes a `twin`: a job of its own that is not to be charged before a person decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import polars as pl

from pipeline.errors import UnsafeError
from pipeline.services.printing import JOB_COLUMNS, TWINS, JobBatch

MOST = 36**2
"""So many prints of one second and one number of pages can be told apart."""

_EXACT, _TO_MINUTE = "1", "8"  # neither begins a digest of before, which was A to Z and 2 to 7
_GROUP = 9  # characters of a name that say the second and the pages
_PAGES = 1024
_START = datetime.fromisoformat("2000-01-01T00:00:00")  # on the server's clock, which has no zone
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS = pl.Series([first + second for first in _DIGITS for second in _DIGITS])
_FACTS = ("copies", "color_pages", "duplex", "cost", "username", "printer")
"""The order of prints of one second: the facts first. A cost may be refunded, a user may be renamed."""

_TELLING = ("username", "printer", "cost")
"""What tells whether rows of one second and one number of pages are the same print."""

_WORDS = ("username", "printer")
_COMPARED = (*_TELLING, "copies", "color_pages", "duplex")
_COLUMNS = pl.Schema({**JOB_COLUMNS, "twin": pl.String()})

Row = dict[str, Any]


class Name(NamedTuple):
    """The name of one row, and of the job that it may be; None where it is surely a print of its own."""

    job_id: str
    twin: str | None


def named(rows: pl.DataFrame, lines: Sequence[str]) -> pl.DataFrame:
    """The rows of one file with their names.

    Args:
        rows: `JOB_COLUMNS` without job_id, printed_at on the server's clock; exact, whether the second is known;
            number, the line of each, counted from 1.
        lines: the lines of the file: the last word on the order of rows, and whether two are equal.

    Returns:
        job_id, twin, and the columns of rows. Of equal rows all but the first are its twins. job_id is null where a
        second holds more than `MOST` prints.
    """
    second = (pl.col("printed_at") - pl.lit(_START)).dt.total_seconds()
    rows = rows.with_columns(group=second * _PAGES + pl.col("pages") % _PAGES, place=pl.lit(0, pl.Int64))
    shared = rows.filter(pl.struct("exact", "group").is_duplicated())
    if shared.height:
        numbers = shared["number"].to_list()
        shared = shared.with_columns(line=pl.Series([lines[number - 1] for number in numbers], dtype=pl.String))
        shared = shared.sort("exact", "group", *_FACTS, "line", "number").with_columns(
            place=pl.int_range(pl.len()).over("exact", "group")
        )
        same = pl.struct("exact", "group", "line")
        shared = shared.with_columns(first=pl.col("place").min().over(same)).with_columns(
            first=pl.when(pl.col("place") > pl.col("first")).then("first")
        )
        rows = pl.concat(
            [rows.join(shared, on="number", how="anti").with_columns(first=pl.lit(None, pl.Int64)), shared.drop("line")]
        ).sort("number")
    else:
        rows = rows.with_columns(first=pl.lit(None, pl.Int64))
    return rows.with_columns(_name("place"), _name("first").alias("twin")).drop("group", "place", "first")


def _name(place: str) -> pl.Expr:
    """The name of the row at a place of its group; null where there is none."""
    lead = pl.when("exact").then(pl.lit(_EXACT)).otherwise(pl.lit(_TO_MINUTE))
    digits = [_pair(pl.col("group") // MOST**power % MOST) for power in (3, 2, 1, 0)]
    number = pl.when(pl.col(place) < MOST).then(place)
    return pl.concat_str(lead, *digits, _pair(number)).alias("job_id")


def _pair(number: pl.Expr) -> pl.Expr:
    """Two digits of base 36."""
    return number.replace_strict(pl.Series(range(MOST), dtype=pl.Int64), _PAIRS, return_dtype=pl.String)


# --- the same print in another file or at another read ---------------------------------------------------------------


def settled(batch: JobBatch, stored: pl.DataFrame) -> JobBatch:
    """A batch of files in which every print has the name under which it is stored.

    Rows of stored jobs keep their names, also the digests of before this module; twins stay twins until one file holds
    both. What a file leaves out (a cost, a name) is taken from the stored job.

    Args:
        batch: what `JobFolder` read.
        stored: the latest revision of at least the jobs of the site printed in the same minute as one of the batch:
            the columns of `JOB_COLUMNS`, and twin where it is stored.

    Raises:
        UnsafeError: a second holds more than `MOST` prints.
    """
    if "twin" not in stored.columns:
        stored = stored.with_columns(twin=pl.lit(None, pl.String))
    read = batch.jobs.join(batch.twins, on="job_id", how="left")
    known = stored.select(pl.col(name).cast(dtype) for name, dtype in _COLUMNS.items())
    rows = together([known, read.select(known.columns)]).slice(known.height)
    return replace(batch, jobs=rows.select(JOB_COLUMNS.names()).sort("printed_at", "job_id"), twins=twins_of(rows))


def merged(files: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of several files, each print once; of a print that stands in several files the last row counts.

    Args:
        files: results of `named`, oldest file first, with printed_at in UTC: `JOB_COLUMNS` and twin.

    Raises:
        UnsafeError: a second holds more than `MOST` prints.
    """
    return together(files).unique("job_id", keep="last").sort("printed_at", "job_id")


def twins_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that may be the print of another row, as `TWINS`."""
    return rows.filter(pl.col("twin").is_not_null()).select(TWINS.names()).sort("job_id")


def together(files: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All rows in the order of the files, named alike, with what later files leave out."""
    rows = pl.concat(files)
    names = _names(files) if len(files) > 1 else {}
    if names:
        places = pl.Series(list(names), dtype=pl.Int64)
        found = pl.DataFrame(list(names.values()), schema={"job_id": pl.String, "twin": pl.String}, orient="row")
        rows = rows.with_columns(rows[name].scatter(places, found[name]) for name in found.columns)
    paper = pl.col("paper")
    gaps = (pl.col("username") == "") | (pl.col("printer") == "") | pl.col("cost").is_null()
    gaps |= paper.is_null() & paper.is_not_null().any()
    if not rows.filter(gaps & pl.col("job_id").is_duplicated()).height:
        return rows
    words = (pl.when(pl.col(name) != "").then(name).forward_fill().over("job_id").fill_null("") for name in _WORDS)
    return rows.with_columns(*words, pl.col("cost", "paper").forward_fill().over("job_id"))


def _names(files: Sequence[pl.DataFrame]) -> dict[int, Name]:
    """The rows that need another name, by their place among all rows.

    In plain words: group the rows of all files by second and pages; where a group stands in more than one file and its
    rows do not plainly agree, match the rows of each file with those of the files before.
    """
    rows = pl.concat(
        rows.select("job_id", "printed_at", "pages", "twin", *_COMPARED, file=pl.lit(at))
        for at, rows in enumerate(files)
    ).with_row_index("row")
    rows = rows.with_columns(group=_group(rows))
    spread = rows.group_by("group").agg(first=pl.col("file").min(), last=pl.col("file").max())
    if not spread.filter(pl.col("last") > pl.col("first")).height:
        return {}
    rows = rows.join(spread, on="group").with_columns(again=pl.col("file") > pl.col("first"))
    rows = rows.join(_renamed_beside(rows), on=["file", "group"]).filter(pl.col("last") > pl.col("first"))
    rows = rows.sort("job_id", "row")
    follows = pl.col("job_id") == pl.col("job_id").shift()
    sizes = rows.group_by("group").agg(alone=pl.col("job_id").n_unique() == 1)
    rows = rows.join(sizes, on="group", maintain_order="left")
    needed = pl.when(pl.col("alone") & _exact()).then(2 - pl.col("beside").cast(pl.Int8)).otherwise(len(_TELLING))
    kept = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ("pages", "twin"))
    agreed = kept & (pl.sum_horizontal(map(_agrees, _TELLING)) >= needed)
    plain = pl.when(follows).then(agreed).otherwise(~pl.col("again"))
    unclear = rows.filter(~plain.fill_null(value=False) | (pl.col("group") < 0)).select("group").unique()
    rows = rows.join(unclear, on="group", how="semi")
    found = dict[int, Name]()
    for _, group in groupby(rows.sort("group", "row").to_dicts(), itemgetter("group")):
        known = dict[str, Row]()
        for _, file in groupby(group, itemgetter("file")):
            read = list(file)
            for row, name in zip(read, _matched(read, known), strict=True):
                found[row["row"]] = name
                known[name.job_id] = row | name._asdict()
    return found


def _renamed_beside(rows: pl.DataFrame) -> pl.DataFrame:
    """Whether the print before or after those of a file and group is known, too, and has other words now: `beside`."""
    words = ["group", *_WORDS]
    first = rows.group_by(words).agg(said=pl.col("file").min())
    renamed = pl.col("again") & (pl.col("said") == pl.col("file"))
    groups = rows.join(first, on=words).group_by("file", "group").agg(renamed.any(), pl.col("printed_at").min())
    groups = groups.sort("file", "printed_at", "group")
    beside = [pl.col("again").shift(step) & (pl.col("file") == pl.col("file").shift(step)) for step in (-1, 1)]
    return groups.select("file", "group", beside=pl.any_horizontal(beside).fill_null(value=False))


def _group(rows: pl.DataFrame) -> pl.Expr:
    """One number for each second and number of pages; below 0 for each minute where a file knows no more than that."""
    second, pages = pl.col("printed_at").dt.epoch("s"), pl.col("pages") % _PAGES
    exact, minute = second * _PAGES + pages, -(second // 60 * _PAGES + pages) - 1
    coarse = ~_exact()
    if not rows.select(coarse.any()).item():
        return exact
    mixed = coarse.any().over(minute) & ~coarse.all().over(minute)
    return pl.when(mixed).then(minute).otherwise(exact)


def _exact() -> pl.Expr:
    return ~pl.col("job_id").str.starts_with(_TO_MINUTE)


def _agrees(name: str) -> pl.Expr:
    """Whether a row agrees with the one before it; what a file leaves out agrees with everything."""
    now, before = pl.col(name), pl.col(name).shift()
    same = now == before
    if name in _WORDS:
        same |= (now == "") | (before == "")
    return same.fill_null(value=True).cast(pl.Int8)


def _matched(read: Sequence[Row], known: dict[str, Row]) -> list[Name]:
    """A name for each row of one file, given the rows of the same group before it."""
    pairs = _pairs_of(read, known)
    used, names = {*known}, list[str]()
    for at, row in enumerate(read):
        names.append(pairs[at] if at in pairs else _free(row["job_id"], used))
        used.add(names[-1])
    equal = dict(zip((row["job_id"] for row in read), names, strict=True))
    free = [job for job_id, job in known.items() if job_id not in names]
    result = list[Name]()
    for row, name in zip(read, names, strict=True):
        twin = equal.get(row["twin"])
        if name in known:  # what one file holds side by side is two prints, unless its lines are equal
            before = known[name]["twin"]
            twin = before if before not in names or twin else None
        else:
            twin = twin or next((job["job_id"] for job in free if _may_be_same(row, job)), None)
        result.append(Name(name, twin))
    return result


def _free(job_id: str, used: set[str]) -> str:
    """The name of a new print: its own, or the next that is free in its group."""
    if job_id not in used:
        return job_id
    for pair in _PAIRS:
        if (name := job_id[:_GROUP] + pair) not in used:
            return name
    raise UnsafeError(
        f"The job files hold more than {MOST:,} prints of one second and number of pages, which no name tells apart",
        "look at the newest files of the folder: they are not what PaperCut writes",
    )


def _pairs_of(read: Sequence[Row], known: dict[str, Row]) -> dict[int, str]:
    """The rows that are surely known prints; those that agree most are paired first."""
    likely = [
        (_likeness(row, job), at, job_id)
        for at, row in enumerate(read)
        for job_id, job in known.items()
        if _is_same(row, job)
    ]
    likely.sort(key=lambda pair: ([not agrees for agrees in pair[0]], pair[1], pair[2]))
    pairs = dict[int, str]()
    for _, at, job_id in likely:
        if at not in pairs and job_id not in pairs.values():
            pairs[at] = job_id
    return pairs


def _likeness(row: Row, job: Row) -> list[bool]:
    return [*(row[name] == job[name] for name in _COMPARED), row["job_id"] == job["job_id"]]


def _may_be_same(row: Row, job: Row) -> bool:
    """Whether pages and second of two rows are the same, as far as they tell."""
    second = row["printed_at"] == job["printed_at"] or _TO_MINUTE in {row["job_id"][0], job["job_id"][0]}
    return second and row["pages"] == job["pages"]


def _is_same(row: Row, job: Row) -> bool:
    """Whether two rows of one group are surely the same print. What a row leaves out agrees with everything."""
    agree = {name: row[name] == job[name] or {row[name], job[name]} & {"", None} != set() for name in _TELLING}
    if _TO_MINUTE in {row["job_id"][0], job["job_id"][0]}:
        needed = 2 if agree["username"] else 4
    else:
        needed = 1 if row["beside"] else 2
    return _may_be_same(row, job) and sum(agree.values()) >= needed
