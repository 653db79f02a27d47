"""What reports without refunds tell of them: rows with pages below 0, and prints that a later report lacks or lowers.

What belongs here: naming such rows, and holding the files of one time against each other. What does not: which print a
row takes back (`pipeline.domain.money.returns`), and what follows for a charge (`pipeline.domain.money.charges`).

A report that is shorter for another reason looks the same as a refund, so what is found here is only ever a question
to a person. A file is believed to lack a print where all of these hold: every line of it was read; it has prints from
before and from after; it has prints of older files; and no more than a few of theirs are missing in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from pipeline.services.job_files.identity import together
from pipeline.services.printing import LACKING, RETURNS, TWINS, JobBatch

FEW, SHARE = 3, 20
"""So many prints, or one of so many, may be missing in a file that is still taken for a whole one."""

_FACTS = [name for name in RETURNS.names() if name != "row_id"]
_PLACE = ["printed_at", "username", "printer"]


class File(NamedTuple):
    """One file of a read: its rows as `identity.named` gives them, in UTC; whole: whether every line was read."""

    name: str
    rows: pl.DataFrame
    whole: bool


def returns_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one file that take pages back, as `RETURNS`; of equal rows each has a name of its own.

    Args:
        rows: `JOB_COLUMNS` without job_id, pages below 0. One that says that it failed takes nothing back.
    """
    rows = rows.filter("printed").select(
        *(name for name in _FACTS if name not in {"stamped_at", "pages", "color_pages"}),
        stamped_at="printed_at", pages=pl.col("pages").abs(), color_pages=pl.col("color_pages").abs(),
    )  # fmt: skip
    rows = rows.with_columns(number=pl.int_range(pl.len()).over(_FACTS)) if rows.height else rows
    names = [_name(row) for row in rows.select(*_FACTS, "number").rows()] if rows.height else []
    return rows.with_columns(row_id=pl.Series(names, dtype=pl.String)).select(
        pl.col(name).cast(dtype) for name, dtype in RETURNS.items()
    )


def _name(facts: tuple[object, ...]) -> str:
    return "B" + hashlib.sha256(repr(facts).encode()).hexdigest()[:10].upper()


def compared(batch: JobBatch, files: Sequence[File], *, judge: bool) -> JobBatch:
    """A batch with what its files, oldest first, say of each other.

    A print that comes with another number of pages in a file that lacks the first is a twin of that. With `judge`, for
    which the files must be all of their time, `lacking` has the prints that later files lack.
    """
    if len(files) < 2:
        return batch
    rows = together([file.rows for file in files]).select("job_id", "pages", *_PLACE)
    counts = [file.rows.height for file in files]
    rows = rows.with_columns(
        file=pl.Series([at for at, number in enumerate(counts) for _ in range(number)], dtype=pl.Int64)
    )
    prints = rows.group_by("job_id").agg(
        pl.col("pages", *_PLACE).last(), pl.col("file").unique(), first=pl.col("file").min(), last=pl.col("file").max()
    )
    found = batch.twins, _lowered(prints.filter(~pl.col("job_id").is_in(batch.twins["job_id"].implode())))
    batch = replace(batch, twins=pl.concat(found).sort("job_id"))
    if not judge:
        return batch
    lacking, sentences = [LACKING.to_frame()], list[str]()
    for at, file in enumerate(files):
        if file.whole and file.rows.height:
            lacks, said = _lacked(prints, at, file)
            lacking.append(lacks)
            sentences += said
    newest = pl.concat(lacking).unique("job_id", keep="last", maintain_order=True)
    return replace(batch, lacking=newest.sort("job_id"), problems=[*batch.problems, *sentences])


def _lowered(prints: pl.DataFrame) -> pl.DataFrame:
    """`TWINS`: prints that came in a file without a print of the same moment, person and printer from before."""
    before = prints.select(*_PLACE, "first", twin="job_id", files="file", pages_before="pages")
    return (
        prints.join(before, on=_PLACE, suffix="_before")
        .filter(
            pl.col("first") > pl.col("first_before"),
            pl.col("pages") != pl.col("pages_before"),
            ~pl.col("files").list.contains(pl.col("first")),
        )
        .sort("job_id", "twin")
        .unique("job_id", keep="first", maintain_order=True)
        .select(TWINS.names())
    )


def _lacked(prints: pl.DataFrame, at: int, file: File) -> tuple[pl.DataFrame, Iterator[str]]:
    """The prints that one file lacks, or a sentence where it lacks too many."""
    first, last = file.rows.select(first=pl.col("printed_at").min(), last=pl.col("printed_at").max()).row(0)
    known = prints.filter(pl.col("first") < at, pl.col("printed_at") > first, pl.col("printed_at") < last)
    lacks = known.filter(pl.col("last") < at)
    shared = prints.filter(pl.col("first") < at, pl.col("file").list.contains(at))
    if not lacks.height or not shared.height:
        return LACKING.to_frame(), iter(())
    if lacks.height > max(FEW, known.height // SHARE):
        return LACKING.to_frame(), iter([
            f"{file.name}: lacks {lacks.height:,} of {known.height:,} prints that older files have within its time, too"
            " many to be refunds; if it is a report of some people or printers only, keep it out of the folder"
        ])  # fmt: skip
    return lacks.select("job_id", lacked_by=pl.lit(file.name)), iter(())


def lowered_since(batch: JobBatch, stored: pl.DataFrame) -> JobBatch:
    """A settled batch whose new prints are held against stored ones that it lacks, as `compared` does among files.

    What was once such a twin stays one, although the file with the first print is read no more.

    Args:
        batch: with the names under which its prints are stored.
        stored: PrintJobs of the same minutes, the latest revision of each.
    """
    new = batch.jobs.join(stored, on="job_id", how="anti").join(batch.twins, on="job_id", how="anti")
    before = stored.join(batch.jobs, on="job_id", how="anti")
    prints = pl.concat(
        rows.select("job_id", "pages", *_PLACE, file=pl.lit([at]), first=pl.lit(at, pl.Int64))
        for at, rows in enumerate((before, new))
    )
    pages = stored.select(twin="job_id", of_twin="pages")
    known = stored.join(pages, on="twin").filter(pl.col("pages") != pl.col("of_twin"))
    known = known.join(batch.jobs, on="job_id", how="semi").join(batch.twins, on="job_id", how="anti")
    return replace(batch, twins=pl.concat([batch.twins, known.select(TWINS.names()), _lowered(prints)]).sort("job_id"))
