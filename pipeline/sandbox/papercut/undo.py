"""All or nothing: what one request changed in a site's memory, database and print files is kept together or not at all.

What belongs here: remembering how things were before a request, and putting them back. What does not: what requests
change. PaperCut's own methods run in a transaction, so a fault leaves no half of a change there either.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psycopg

from pipeline.sandbox.columns import OutOfRangeError

if TYPE_CHECKING:
    from pipeline.sandbox.database import Database, Mark
    from pipeline.sandbox.print_files import PrintFiles


class Undo:
    """How to put back what the request under way has changed; outside of a request nothing is remembered."""

    def __init__(self) -> None:
        self.open = False
        self._steps: list[Callable[[], object]] = []
        self._kept: set[int] = set()

    def add(self, step: Callable[[], object]) -> None:
        """Remember a step that takes a change back."""
        if self.open:
            self._steps.append(step)

    def keep(self, *things: dict[Any, Any] | set[Any]) -> None:
        """Remember the content of these before they change."""
        for thing in things:
            if self.open and id(thing) not in self._kept:
                self._kept.add(id(thing))
                self._steps.append(_restorer(thing))

    def begin(self) -> int:
        """A request, or a part of one, begins; the mark to which `back` returns."""
        self.open = True
        self._kept = set()  # a part has to remember for itself how things are now
        return len(self._steps)

    def back(self, mark: int) -> None:
        """Take changes back as far as a mark, the last one first."""
        steps, self._steps = self._steps[mark:], self._steps[:mark]
        for step in reversed(steps):
            step()

    def end(self) -> None:
        """The request is over."""
        self.open = False
        self._steps, self._kept = [], set()


def _restorer(thing: dict[Any, Any] | set[Any]) -> Callable[[], None]:
    before = thing.copy()

    def restore() -> None:
        thing.clear()
        thing.update(before)

    return restore


class Unit:
    """One request over a site as a `with` block, or a part of one as a block within.

    After an exception nothing of the block has happened; at the end of the outermost one everything is committed.
    """

    def __init__(self, undo: Undo, database: Database, files: PrintFiles) -> None:
        self._undo, self._database, self._files = undo, database, files
        self._marks: list[tuple[int, Mark, tuple[int, int]]] = []

    def __enter__(self) -> None:
        self._marks.append((self._undo.begin(), self._database.mark(), self._files.mark()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Commit, or take everything back.

        Raises:
            OutOfRangeError: the database cannot hold a value.
        """
        marks = self._marks.pop()
        try:
            if error is not None:
                self._back(*marks)
            elif not self._marks:
                self._commit(marks)
        finally:
            if not self._marks:
                self._undo.end()

    def _commit(self, marks: tuple[int, Mark, tuple[int, int]]) -> None:
        try:
            self._database.flush()
        except (OutOfRangeError, psycopg.Error) as refused:
            self._back(*marks)
            raise OutOfRangeError(str(refused).partition("\n")[0]) from refused
        self._files.flush()

    def _back(self, undo: int, database: Mark, files: tuple[int, int]) -> None:
        self._undo.back(undo)
        self._database.forget(database)
        self._files.forget(files)
