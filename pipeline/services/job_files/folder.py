"""A folder of job files as a job source: which files are due, which lines are whole, which cannot be read.

What belongs here: everything the two kinds of files share. What does not: what a line means; that is a `Layout`
(`print_log.py`, `csv_report.py`). How a print is named, and known again in another file: `identity.py`.

Files grow at the end while PaperCut writes, so a last line without a line end is not read yet. A line that cannot be
read harms itself only: it becomes a sentence with its file, its number and the reason, and the others are read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from pipeline.errors import ConfigError, TransientError, UnsafeError
from pipeline.services.job_files.identity import MOST, merged, named, settled, twins_of
from pipeline.services.job_files.taken_back import File, compared, lowered_since, returns_of
from pipeline.services.printing import JOB_COLUMNS, RETURNS, SLACK_DAYS, JobBatch, utc

LOOK_BACK = timedelta(days=3)
"""Files changed this shortly before the newest one are read again each time, changed or not."""

AT_REST = timedelta(hours=1)
"""A file this much older than the newest one is finished: its last line counts even without a line end."""

NAMED = 20
"""So many lines of a file with the same fault are named one by one; of more, the first and the last."""

_UNDECODABLE = re.compile("[\ud800-\udfff]")


class FileJob(NamedTuple):
    """One job line: `JOB_COLUMNS` without job_id; `printed_at` is the server's wall-clock time.

    With pages below 0 it is no print, but takes so many pages of one back.
    """

    printed_at: datetime
    exact: bool  # whether the line names the second
    username: str
    printer: str
    pages: int
    color_pages: int
    copies: int
    duplex: bool
    cost: Decimal | None
    paper: str | None = None
    allowed: bool = True
    printed: bool = True
    refunded: bool = False
    job_type: str = "PRINT"
    shared_account: bool = False


_ROWS = {"printed_at": pl.Datetime("us"), "exact": pl.Boolean()} | {
    name: JOB_COLUMNS[name] for name in FileJob._fields if name not in {"printed_at", "exact"}
}


class Layout(Protocol):
    """What the lines of one kind of file mean.

    Attributes:
        repeats: whether a file may tell one print twice, so that two equal lines need not be two prints.
        takes_back: whether a refund shows in other rows only: in one with pages below 0, or in one that a later file
            lacks (`taken_back.py`).
    """

    repeats: bool
    takes_back: bool

    def covers(self, name: str) -> bool:
        """Whether a file of this name holds jobs."""
        ...

    def table(self, lines: Sequence[str]) -> tuple[int, Callable[[str], FileJob]]:
        """How many lines stand before the first job, and how one is read; both raise ValueError with the reason."""
        ...


@dataclass(frozen=True)
class Stamp:
    """How a file looked: enough to see that it changed."""

    size: int
    mtime_ns: int

    @property
    def changed_at(self) -> datetime:
        """When the file was last written, UTC."""
        return datetime.fromtimestamp(self.mtime_ns / 1e9, UTC)


class JobFolder:
    """A `JobSource` over the files of one folder. The cursor is how each file looked, as JSON."""

    def __init__(self, path: Path, *, layout: Layout, timezone: str, encoding: str, since: datetime) -> None:
        """Prepare, without looking at the folder.

        Args:
            path: the folder; folders inside it are not read.
            layout: what the lines mean.
            timezone: of the server that wrote the files.
            encoding: of the files; Windows tools write their ANSI code page, such as cp1252 or cp1251.
            since: jobs printed more than `SLACK_DAYS` before it (aware) are never given.

        Raises:
            ConfigError: there is no such encoding.
        """
        try:
            "text".encode(encoding)  # some codecs are not for text
            codecs.getincrementaldecoder(encoding)  # ... and some cannot read a file bit by bit
        except LookupError:
            raise ConfigError(
                f"jobs.encoding {encoding!r} is not known", "write for example utf-8, cp1252 or cp1251"
            ) from None
        self._encoding = codecs.lookup(encoding).name.removesuffix("-sig")  # `_lines` drops a mark itself
        self._path = path
        self._layout = layout
        self._timezone = timezone
        self._lowest = since - timedelta(days=SLACK_DAYS)

    by_time = True
    prefixes = ()

    def settled(self, batch: JobBatch, stored: pl.DataFrame) -> JobBatch:
        """The batch with every print under the name that it is stored under; see `identity.settled`."""
        batch = settled(batch, stored)
        return lowered_since(batch, stored) if self._layout.takes_back else batch

    def newest(self) -> str:
        """How every file looks now."""
        return _cursor(self._look())

    def read(self, cursor: str | None) -> JobBatch:
        """Every file that changed since the cursor, and those of the look-back, each read whole.

        Raises:
            TransientError: the folder or a file cannot be read, or a folder that had files is empty.
            UnsafeError: the cursor belongs to another kind of source.
        """
        seen = _stamps(cursor)
        stamps = self._look()
        if seen and not stamps:
            raise TransientError(
                f"The folder {self._path} held {len(seen)} job files at the last read and none now",
                "check that the network share is mounted; the next run tries again",
            )
        reach = max((stamp.changed_at for stamp in stamps.values()), default=self._lowest) - LOOK_BACK
        due = [
            name
            for name, stamp in stamps.items()
            if stamp.changed_at >= self._lowest and (stamp != seen.get(name) or stamp.changed_at >= reach)
        ]
        return self._batch(due, stamps, seen, self._lowest, _cursor(stamps))

    def reread(self, since: datetime) -> JobBatch:
        """Every job printed at or after `since`; the cursor is empty."""
        stamps = self._look()
        first = since - timedelta(days=SLACK_DAYS)
        due = [name for name, stamp in stamps.items() if stamp.changed_at >= first]
        return self._batch(due, stamps, {}, since, "", judge=self._layout.takes_back)

    def close(self) -> None:
        """Nothing to let go of: files are open only while they are read."""

    def _look(self) -> dict[str, Stamp]:
        """Every covered file, oldest change first. Each is asked itself: Windows keeps stale sizes in the folder."""
        try:
            found = [(entry.name, entry.stat()) for entry in self._path.iterdir() if self._layout.covers(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"There is no folder {self._path}", "correct jobs.path in bridge.toml, or mount the share it names"
            ) from None
        except OSError as error:
            raise TransientError(
                f"The folder {self._path} cannot be read: {error.strerror}",
                "let the user of this program read it; the next run tries again",
            ) from error
        found.sort(key=lambda file: (file[1].st_mtime_ns, file[0]))
        return {name: Stamp(status.st_size, status.st_mtime_ns) for name, status in found}

    def _batch(
        self, due: Sequence[str], stamps: dict[str, Stamp], seen: dict[str, Stamp], since: datetime, cursor: str,
        *, judge: bool = False,
    ) -> JobBatch:  # fmt: skip
        """The jobs of some files; `judge`: those are all files of that time, so what one lacks is looked at."""
        files, returns, problems = list[File](), [RETURNS.to_frame()], list[str]()
        newest = max((stamp.changed_at for stamp in stamps.values()), default=since)
        for name in due:
            stamp, before = stamps[name], seen.get(name)
            if before and stamp.size < before.size:
                problems.append(f"{name}: the file shrank from {before.size:,} to {stamp.size:,} bytes; was it edited?")
            try:
                lines, rest = self._lines(name)
            except UnicodeDecodeError:
                problems.append(f"{name}: is not written in {self._encoding}; correct jobs.encoding")
                continue
            if rest and newest - stamp.changed_at > AT_REST:
                lines.append(rest)
                rest = ""
            elif rest and stamp == before:
                problems.append(
                    f"{name}:{len(lines) + 1}: the last line still has no line end; it is read when it has one, or "
                    f"when a file newer by {AT_REST} lies beside it"
                )
            jobs, bad = self._parse(lines)
            back = pl.DataFrame([job for _, job in jobs if job.pages < 0], schema=_ROWS, orient="row")
            back = back.with_columns(utc(pl.col("printed_at"), self._timezone))
            returns.append(returns_of(back.filter(pl.col("printed_at") >= since)))
            rows, crowded = self._named([each for each in jobs if each[1].pages >= 0], lines)
            files.append(File(name, rows.filter(pl.col("printed_at") >= since), not (rest or bad or crowded)))
            problems += _sentences(name, [*bad, *crowded])
        rows = merged([_no_rows(), *(file.rows for file in files)])
        batch = JobBatch(
            rows.select(JOB_COLUMNS.names()), cursor, problems, twins_of(rows),
            pl.concat(returns).unique("row_id", maintain_order=True),
        )  # fmt: skip
        return compared(batch, files, judge=judge) if self._layout.takes_back else batch

    def _lines(self, name: str) -> tuple[list[str], str]:
        """The complete lines of a file, and the text after the last line end. A character cut in half waits, too.

        What cannot be decoded becomes half a surrogate pair, and spoils its line only.

        Raises:
            UnicodeDecodeError: the encoding cannot go on after what it cannot decode.
        """
        errors = "surrogatepass" if self._encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        try:
            text = codecs.getincrementaldecoder(self._encoding)(errors).decode((self._path / name).read_bytes())
        except OSError as error:
            raise TransientError(
                f"The job file {self._path / name} cannot be read: {error.strerror}",
                "let the user of this program read it; the next run tries again",
            ) from error
        # Only a line feed ends a line: names of documents may hold the other characters Python would split at.
        *lines, rest = text.removeprefix("\ufeff").split("\n")
        return [line.removesuffix("\r") for line in lines], rest

    def _parse(self, lines: Sequence[str]) -> tuple[list[tuple[int, FileJob]], list[tuple[int, str]]]:
        """The jobs of a file, and the lines that are none, each with its number and the reason; 0 is the whole file."""
        if not any(lines):
            return [], []
        try:
            start, job = self._layout.table(lines)
        except ValueError as error:
            return [], [(0, str(error))]
        jobs = list[tuple[int, FileJob]]()
        problems = list[tuple[int, str]]()
        for number, line in enumerate(lines[start:], start + 1):
            if not line or line.isspace():
                continue
            if not line.isascii() and _UNDECODABLE.search(line):
                problems.append((number, f"is not written in {self._encoding}; correct jobs.encoding"))
            elif "\0" in line:
                problems.append((number, "holds a zero byte: the file was damaged"))
            else:
                try:
                    jobs.append((number, job(line)))
                except ValueError as error:
                    problems.append((number, str(error)))
        return jobs, problems

    def _named(
        self, jobs: Sequence[tuple[int, FileJob]], lines: Sequence[str]
    ) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
        """The jobs of a file as `JOB_COLUMNS` and twin, and the lines that cannot be named."""
        rows = pl.DataFrame([job for _, job in jobs], schema=_ROWS, orient="row")
        rows = rows.with_columns(number=pl.Series([number for number, _ in jobs], dtype=pl.Int64))
        rows = named(rows, lines)
        if not self._layout.repeats:
            rows = rows.with_columns(twin=pl.lit(None, pl.String))
        crowded = rows.filter(pl.col("job_id").is_null())["number"].to_list()
        reason = f"more than {MOST:,} lines have this second and number of pages, and cannot be told apart"
        rows = rows.filter(pl.col("job_id").is_not_null()).with_columns(utc(pl.col("printed_at"), self._timezone))
        return rows.select(*JOB_COLUMNS.names(), "twin"), [(number, reason) for number in crowded]


def _no_rows() -> pl.DataFrame:
    return JOB_COLUMNS.to_frame().with_columns(twin=pl.lit(None, pl.String))


def _sentences(name: str, problems: Iterable[tuple[int, str]]) -> Iterator[str]:
    """The lines of a file that cannot be read, each with its place; of very many with one fault, the first and last."""
    lines = dict[str, list[int]]()
    for number, reason in sorted(problems):
        lines.setdefault(reason, []).append(number)
    said = [
        (number, reason)
        for reason, numbers in lines.items()
        for number in numbers[: 1 if len(numbers) > NAMED else None]
    ]
    for number, reason in sorted(said):
        more = lines[reason]
        also = f" (so are {len(more) - 1:,} more lines, the last of them {more[-1]:,})" if len(more) > NAMED else ""
        yield f"{name}:{number}: {reason}{also}" if number else f"{name}: {reason}"


def fields_at(positions: Mapping[str, int], fields: Sequence[str]) -> Callable[[str], str]:
    """A function from one of our names to its field, stripped; empty where the line has none."""

    def field(name: str) -> str:
        at = positions.get(name)
        return fields[at].strip() if at is not None and at < len(fields) else ""

    return field


def _cursor(stamps: dict[str, Stamp]) -> str:
    return json.dumps(
        {name: [stamp.size, stamp.mtime_ns] for name, stamp in sorted(stamps.items())}, separators=(",", ":")
    )


def _stamps(cursor: str | None) -> dict[str, Stamp]:
    if not cursor:
        return {}
    try:
        return {name: Stamp(size, mtime_ns) for name, (size, mtime_ns) in json.loads(cursor).items()}
    except (ValueError, AttributeError, TypeError):
        raise UnsafeError(
            "The print jobs of this site were last read from a database, and now from files, which names every job "
            "anew: jobs already charged would be charged again",
            "put jobs.source back; to change it for good, begin a new site in bridge.toml with charge_from at the "
            "change",
        ) from None
