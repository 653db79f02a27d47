"""A folder of job files as a job source: which files are due, which lines are whole, how a job gets its name.

What belongs here: everything the two kinds of files share. What does not: what a line means; that is a `Layout`
(`print_log.py`, `csv_report.py`).

A file has no ids. A job is named by a digest of what identifies it in its line, and by its number among equal ones, so
the same file read twice, or two exports that overlap, give the same jobs, and two equal lines of one file are two jobs.
Files grow at the end while PaperCut writes, so a last line without a line end is not read yet.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from pipeline.domain.references import JOB_LENGTH
from pipeline.errors import ConfigError, TransientError, UnsafeError
from pipeline.joblogs import JOB_COLUMNS, SLACK_DAYS, JobBatch, as_credits, utc

LOOK_BACK = timedelta(days=3)
"""Files changed this shortly before the newest one are read again each time, changed or not."""

AT_REST = timedelta(hours=1)
"""A file this much older than the newest one is finished: its last line counts even without a line end."""

_UNDECODABLE = re.compile("[\udc80-\udcff]")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T\s]+(\d{1,2}):(\d\d)(?::(\d\d))?(?:\.\d+)?\s*([AaPp])?\.?[Mm]?\.?")


class FileJob(NamedTuple):
    """One job line. All but `identity` are `JOB_COLUMNS`; `printed_at` is the server's wall-clock time."""

    identity: tuple[str, ...]  # what tells this job from others and never changes later
    printed_at: datetime
    username: str
    printer: str
    pages: int
    color_pages: int
    copies: int
    duplex: bool
    cost: Decimal | None
    allowed: bool = True
    printed: bool = True
    refunded: bool = False
    job_type: str = "PRINT"
    shared_account: bool = False


class Layout(Protocol):
    """What the lines of one kind of file mean."""

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
        except LookupError:
            raise ConfigError(
                f"jobs.encoding {encoding!r} is not known", "write for example utf-8, cp1252 or cp1251"
            ) from None
        self._encoding = codecs.lookup(encoding).name.removesuffix("-sig")  # `_lines` drops a mark itself
        self._path = path
        self._layout = layout
        self._timezone = timezone
        self._lowest = since - timedelta(days=SLACK_DAYS)

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
        return self._batch(due, stamps, {}, since, "")

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
        self, due: Sequence[str], stamps: dict[str, Stamp], seen: dict[str, Stamp], since: datetime, cursor: str
    ) -> JobBatch:
        frames, problems = [JOB_COLUMNS.to_frame()], list[str]()
        newest = max((stamp.changed_at for stamp in stamps.values()), default=since)
        for name in due:
            stamp, before = stamps[name], seen.get(name)
            if before and stamp.size < before.size:
                problems.append(f"{name}: the file shrank from {before.size:,} to {stamp.size:,} bytes; was it edited?")
            lines, rest = self._lines(name)
            if rest and newest - stamp.changed_at > AT_REST:
                lines.append(rest)
            elif rest and stamp == before:
                problems.append(
                    f"{name}:{len(lines) + 1}: the last line still has no line end; it is read when it has one, or "
                    f"when a file newer by {AT_REST} lies beside it"
                )
            jobs, bad = self._parse(name, lines)
            frames.append(self._frame(jobs))
            problems += bad
        jobs = pl.concat(frames).filter(pl.col("printed_at") >= since)
        return JobBatch(jobs.unique("job_id", keep="last").sort("printed_at", "job_id"), cursor, problems)

    def _lines(self, name: str) -> tuple[list[str], str]:
        """The complete lines of a file, and the text after the last line end."""
        try:
            text = (self._path / name).read_bytes().decode(self._encoding, "surrogateescape")
        except OSError as error:
            raise TransientError(
                f"The job file {self._path / name} cannot be read: {error.strerror}",
                "let the user of this program read it; the next run tries again",
            ) from error
        except UnicodeDecodeError:
            raise ConfigError(
                f"The job file {self._path / name} is not written in {self._encoding}", "correct jobs.encoding"
            ) from None
        # Only a line feed ends a line: names of documents may hold the other characters Python would split at.
        *lines, rest = text.removeprefix("\ufeff").split("\n")
        return [line.removesuffix("\r") for line in lines], rest

    def _parse(self, name: str, lines: Sequence[str]) -> tuple[list[FileJob], list[str]]:
        """The jobs of a file, and the lines that are none, each with its place and the reason."""
        if not any(lines):
            return [], []
        try:
            start, job = self._layout.table(lines)
        except ValueError as error:
            return [], [f"{name}: {error}"]
        jobs: list[FileJob] = []
        problems: list[str] = []
        for number, line in enumerate(lines[start:], start + 1):
            if not line.strip():
                continue
            if _UNDECODABLE.search(line):
                problems.append(f"{name}:{number}: is not written in {self._encoding}; correct jobs.encoding")
                continue
            try:
                jobs.append(job(line))
            except ValueError as error:
                problems.append(f"{name}:{number}: {error}")
        return jobs, problems

    def _frame(self, jobs: Sequence[FileJob]) -> pl.DataFrame:
        schema = {name: dtype for name, dtype in JOB_COLUMNS.items() if name != "job_id"}
        frame = pl.DataFrame(
            [job[1:] for job in jobs], schema=schema | {"printed_at": pl.Datetime("us")}, orient="row"
        ).with_columns(utc(pl.col("printed_at"), self._timezone))
        return frame.insert_column(0, pl.Series("job_id", list(_job_ids(jobs, self._encoding)), dtype=pl.String))


def fields_at(positions: dict[str, int], fields: Sequence[str]) -> Callable[[str], str]:
    """A function from one of our names to its field, stripped; empty where the line has none."""

    def field(name: str) -> str:
        at = positions.get(name)
        return fields[at].strip() if at is not None and at < len(fields) else ""

    return field


def local_time(text: str) -> datetime:
    """`2026-11-20 3:04:05 PM` or `2026-11-20 15:04:05` as the wall-clock time it is.

    Raises:
        ValueError: it is neither, or no such time exists.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("the time is not written as 2026-11-20 15:04:05 or 2026-11-20 3:04:05 PM")
    date, hour, minute, second, half = found.groups()
    hour = int(hour)
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("there is no such time")
        hour = hour % 12 + (12 if half in "Pp" else 0)
    try:
        return datetime.fromisoformat(f"{date} {hour:02}:{minute}:{second or '00'}")
    except ValueError:
        raise ValueError("there is no such time") from None


def whole(name: str, text: str) -> int:
    """A count; 0 where the line has none.

    Raises:
        ValueError: it is something else. The text is not repeated: it may be a name that slipped in from beside.
    """
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ValueError(f"{name} is not a whole number")
    return int(text)


def cost(text: str) -> Decimal | None:
    """A cost in credits, a currency sign before or behind it allowed; None where the line has none.

    Raises:
        ValueError: it is no amount, or `1,500`, which is 1500 for one reader and 1.5 for another.
    """
    if not text:
        return None
    number = re.sub(r"^(-?)[^\d\s.,-]{1,4}\s*|\s*[^\d\s.,-]{1,4}$", r"\1", text)
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+\.\d+", number, re.ASCII):
        number = number.replace(",", "")
    elif re.fullmatch(r"-?\d+,\d{1,2}", number, re.ASCII):
        number = number.replace(",", ".")
    if not re.fullmatch(r"-?\d+(\.\d+)?", number, re.ASCII):
        raise ValueError("cost is not an amount, or can be read in two ways")
    return as_credits(number)


def flag(name: str, text: str, *, empty: bool = False) -> bool:
    """A yes or no, also in the words of the Print Logger (`DUPLEX`, `NOT DUPLEX`).

    Raises:
        ValueError: it is neither.
    """
    word = text.upper()
    if word in {"Y", "YES", "TRUE", "1", name.upper()}:
        return True
    if word in {"N", "NO", "FALSE", "0", f"NOT {name.upper()}"}:
        return False
    if word:
        raise ValueError(f"{name} is neither yes nor no")
    return empty


def _job_ids(jobs: Sequence[FileJob], encoding: str) -> Iterator[str]:
    """A digest of the bytes of each identity, so a corrected `jobs.encoding` does not name a job anew."""
    count: Counter[tuple[str, ...]] = Counter()
    for job in jobs:
        count[job.identity] += 1
        digest = hashlib.sha256(str(count[job.identity]).encode())
        for part in job.identity:
            text = part.encode(encoding, "surrogateescape")
            digest.update(b":%d:%b" % (len(text), text))
        yield base64.b32encode(digest.digest()).decode()[:JOB_LENGTH]


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
