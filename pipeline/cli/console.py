"""What the command says: results as documents for programs, and the same as short sentences and tables for people.

What belongs here: the shape of `--json` documents and their text. What does not: exit codes and arguments (`main.py`).
Documents go to standard output; signs of life go to standard error, so that a pipe holds nothing but results.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.domain import tables
from pipeline.domain.money.reasons import RULES
from pipeline.domain.people import plan as user_plan
from pipeline.store import ownership
from pipeline.store.lines import moved_by
from pipeline.words import counted

if TYPE_CHECKING:
    from pipeline.dagster.outcomes import Outcome
    from pipeline.operations.explain import Story
    from pipeline.services.printing import Finding
    from pipeline.site import Site, Sites

Document = dict[str, Any]
Item = TypeVar("Item")

PIPE_WIDTH = 200
"""Columns where standard output is no terminal: wide enough that no reference or reason is cut."""

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}
CHARGES = ("sale", "credit", "waive", "undo_sale", "undo_credit", "undo_waive")
LEFT_OUT = "left_out_"


def _out() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)


def document(content: Mapping[str, Any]) -> None:
    """The one JSON document on standard output."""

    def plain(value: object) -> object:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        if isinstance(value, Decimal):
            return f"{value.normalize():f}"  # a text, so that no reader makes a float of it
        return value.isoformat() if isinstance(value, datetime) else str(value)

    sys.stdout.write(json.dumps(content, default=plain, ensure_ascii=False, indent=2) + "\n")


def busy(what: str) -> AbstractContextManager[object]:
    """A sign of life on standard error while something runs; a plain line where that is no terminal."""
    err = Console(stderr=True, highlight=False, markup=False)
    if err.is_terminal:
        return err.status(what)
    err.print(what, soft_wrap=True)
    return nullcontext()


def steps(
    items: Sequence[Item], name: Callable[[Item], str] = str
) -> Iterator[tuple[Item, AbstractContextManager[object]]]:
    """The items one after the other, each with a bar on standard error to hold while it is worked on, and no longer.

    Where standard error is no terminal each bar is a plain line: `[1/2] london ...`.
    """
    err = Console(stderr=True, highlight=False, markup=False)
    for number, item in enumerate(items, 1):
        if not err.is_terminal:
            yield item, busy(f"[{number}/{len(items)}] {name(item)} ...")
            continue
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        # Standard output is left alone: it may be a pipe that waits for the results.
        bar = Progress(*columns, TimeElapsedColumn(), console=err, transient=True, redirect_stdout=False)
        bar.add_task(name(item), total=len(items), completed=number - 1)
        yield item, bar


def lines(title: str, sentences: Sequence[str]) -> None:
    """A title and sentences below it."""
    out = _out()
    out.print(title, style="bold", soft_wrap=True)
    for sentence in sentences:
        out.print(f"  {sentence}", soft_wrap=True)


# --- runs ------------------------------------------------------------------------------------------------------------


def result(sites: Sites, outcome: Outcome) -> Document:
    """What a run of a site did, as a document; what became of charges is read from the ledger."""
    with sites.store.connect() as con:
        moved = moved_by(con, outcome.run_id)
    users = outcome.metadata.get("print_user_sync", {})
    decided, sent = outcome.metadata.get("print_charges", {}), outcome.metadata.get("nexudus_print_charges", {})
    accounts = outcome.metadata.get("print_accounts", {})
    return {
        "ok": outcome.ok,
        "stopped": outcome.stopped,
        "run_id": outcome.run_id,
        "dry_run": bool(users.get("dry_run") or sent.get("dry_run")),
        "accounts": {
            "print_users": accounts.get("users", 0),
            "left_out": {
                name.removeprefix(LEFT_OUT): count
                for name, count in accounts.items()
                if count and name.startswith(LEFT_OUT)
            },
        },
        "users": {name: users[name] for name in tables.OUTCOMES if users.get(name)},
        "charges": {
            "decided_cents": {kind: decided[f"{kind}_cents"] for kind in CHARGES if decided.get(f"{kind}_cents")},
            "entered": sent.get("entered", 0),
            "moved": moved.to_dicts(),
            "waiting_to_mature": decided.get("waiting_to_mature", 0),
            "unattributed_jobs": decided.get("unattributed_jobs", 0),
            "credits_kept_on_ledger": sent.get("credits_kept_on_ledger", 0),
        },
        "failures": [
            {"step": step, "kind": kind, "message": message} for step, (kind, message) in outcome.failures.items()
        ],
        "findings": outcome.findings,
    }


def results(sites: Mapping[str, Document]) -> None:
    """What runs did, in sentences."""
    for site, done in sites.items():
        state = "done" if done["ok"] else "stopped by a safety gate" if done["stopped"] else "failed"
        sentences = [] if done["dry_run"] else [_users(done["users"])]
        sentences.append(_charges(done["charges"]))
        if done["dry_run"]:
            sentences.append("Dry run: nothing was written to Nexudus or PaperCut.")
        lines(f"{site}: {state}", [*sentences, *_troubles(done)])


def _users(counts: Mapping[str, int]) -> str:
    if not counts:
        return "Print users: nothing to change."
    words = {"done": "changed", "failed": "failed", "unknown": "to be looked at again", "held": "held"}
    return "Print users: " + ", ".join(f"{number} {words[name]}" for name, number in counts.items()) + "."


def _charges(charges: Document) -> str:
    said = [
        f"{row['lines']} {row['kind'].replace('_', ' ')} {row['state']} ({row['cents']} cents)"
        for row in charges["moved"]
    ]
    sentence = f"Charges: {', '.join(said) or 'none'}."
    if charges["waiting_to_mature"]:
        sentence += f" {charges['waiting_to_mature']} jobs wait to mature."
    return sentence


def _troubles(done: Document) -> list[str]:
    failures = [f"Failed at {each['step']}: {each['message']}" for each in done["failures"]]
    return failures + [f"Finding: {finding}" for finding in done["findings"]]


# --- plans -----------------------------------------------------------------------------------------------------------


def planned(site: Site, outcome: Outcome) -> Document:
    """What a run of a site would do, as a document: the rows of the plan and of the charges, and the verdict."""
    document = result(site.sites, outcome)
    document.pop("users")
    if "user_sync_plan" not in outcome.metadata:
        return {**document, "verdict": {"safe": False, "blocked": {}}, "counts": {}, "changes": [], "lines": []}
    with site.store.connect() as con:
        owned = ownership.owned(con, site.key).height
        removed = ownership.removed_since(con, site.key, site.clock())
    changes = site.store.read("user_sync_plan", site.key)
    verdict = user_plan.verdict(changes, owned, removed)
    shown = [name for name in changes.columns if not name.endswith("digest") and name not in {"site", "email_key"}]
    return {
        **document,
        "verdict": {"safe": not verdict.blocked, "blocked": dict(verdict.blocked)},
        "counts": dict(verdict.counts),
        "changes": changes.select(shown).to_dicts(),
        "lines": site.store.read("print_charges", site.key).drop("site", "email_key").to_dicts(),
    }


def plans(sites: Mapping[str, Document]) -> None:
    """What runs would do: the verdict, then two tables."""
    out = _out()
    for site, shown in sites.items():
        blocked = list(shown["verdict"]["blocked"].values())
        counts = ", ".join(f"{number} {action}" for action, number in shown["counts"].items() if number)
        sentences = ["Nothing was written to Nexudus or PaperCut."]
        if shown["counts"]:
            sentences.append(f"Print users: {counts or 'nothing to change'}.")
            sentences.append(f"Charges: {len(shown['lines'])} lines.")
        verdict = "safe" if shown["verdict"]["safe"] else "would be stopped" if blocked else "no plan"
        lines(f"{site}: {verdict}", [*blocked, *sentences, *_troubles(shown)])
        if shown["changes"]:
            out.print(_table(shown["changes"], ("action", "username", "new_username", "coworker_id", "changes",
                                                "balance", "target", "reason")))  # fmt: skip
        if shown["lines"]:
            charges = [{**line, "why": line["reason"] or RULES[line["rule"]]} for line in shown["lines"]]
            out.print(
                _table(charges, ("ref", "kind", "state", "amount_cents", "job_id", "username", "coworker_id", "why"))
            )


# --- people ----------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table; a column without a value is left out."""
    if rows:
        _out().print(_table(rows, columns))


@contextmanager
def watching(total: int, what: str) -> Generator[Callable[[], None]]:
    """A bar on standard error while something is counted; plain lines now and then where that is no terminal.

    Returns:
        What to call for each one that is done.
    """
    err = Console(stderr=True, highlight=False)
    with Progress(console=err, transient=True, disable=not err.is_terminal, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)

        def tell() -> None:
            bar.advance(task)
            done = int(bar.tasks[0].completed)
            if not err.is_terminal and (done % 100 == 0 or done == total):
                err.print(f"{done} of {total} {what}")

        yield tell


def adoption(site: str, done: Document) -> None:
    """Which users of a site match somebody, and what became of them."""
    found, results = done.get("users_found", []), done.get("results", [])
    able = sum(row["refusal"] is None for row in found)
    sentences = _troubles(done) if not done["ok"] and not results else []
    if "waiting" in done:
        table(found, ("username", "coworker_id", "matched", "becomes", "refusal"))
        sentences.append(f"{able} users can be taken over, {len(found) - able} cannot.")
        waiting = done["waiting"]
        sentences.append(
            f"They printed {waiting['jobs']} jobs ({waiting['credits']:g} credits) since charge_from"
            f" ({waiting['charge_from']:%Y-%m-%d %H:%M} UTC), which will be charged; nothing from before it ever is. If"
            " the old agent has charged them, set charge_from to the moment it was switched off, before you go on."
        )
    if results:
        taken = sum(each["outcome"] == "done" for each in results)
        sentences.append(f"{taken} users are ours now; `printbridge plan --site {site}` shows what changes for them.")
    sentences += [f"{each['username']}: {each['outcome']}. {each['detail']}" for each in results
                  if each["outcome"] != "done"]  # fmt: skip
    lines(site, sentences)


# --- the rest --------------------------------------------------------------------------------------------------------


def reported(outcome: Outcome) -> Document:
    """What came of a report, as a document: the folder, every file in it, or why there are none."""
    made = {name: value for metadata in outcome.metadata.values() for name, value in metadata.items()}
    files = sorted(str(file) for file in Path(made["folder"]).iterdir()) if "folder" in made else []
    failures = [{"step": step, "kind": kind, "message": text} for step, (kind, text) in outcome.failures.items()]
    return {
        "ok": outcome.ok, "stopped": outcome.stopped, "run_id": outcome.run_id, "folder": made.get("folder"),
        "files": files, "failures": failures,
    }  # fmt: skip


def report(site: str, month: str, form: str, done: Document) -> None:
    """Where the files of a month in one format are, or why there are none."""
    files = [file for file in done["files"] if file.endswith(f".{form}")]
    failures = [f"Failed at {each['step']}: {each['message']}" for each in done["failures"]]
    lines(f"{site}, {month}: {counted(len(files), 'file')}", [*files, *failures])


def findings(found: Sequence[Finding]) -> None:
    """The findings of a look at the set-up, site by site, each with its remedy."""
    out = _out()
    for site in dict.fromkeys(finding.site for finding in found):
        out.print(f"{site}", style="bold")
        for finding in (each for each in found if each.site == site):
            out.print(f"  {finding.status}  ", style=STYLES[finding.status], end="")
            out.print(f"{finding.check:<9} {finding.seen}", soft_wrap=True)
            if finding.remedy and finding.status != "pass":
                out.print(f"                  {finding.remedy}", soft_wrap=True)
    counts = {status: sum(each.status == status for each in found) for status in STYLES}
    out.print(", ".join(f"{number} {status}" for status, number in counts.items()))


def held(rows: Sequence[Mapping[str, Any]]) -> None:
    """The charges that wait for a person."""
    out = _out()
    if not rows:
        out.print("No charge waits for a person.")
        return
    out.print(_table(rows, ("ref", "site", "job_id", "coworker_id", "kind", "amount_cents", "reason")))
    cents = sum(row["amount_cents"] for row in rows)
    out.print(
        f"{counted(len(rows), 'charge')}, {cents} cents."
        " Next: `printbridge held retry|void|confirm REF --reason TEXT`.",
        soft_wrap=True,
    )


def ownerless(rows: Sequence[Document]) -> None:
    """The jobs that nobody is charged for; nothing where there is none."""
    out = _out()
    if not rows:
        return
    out.print(_table(rows, ("job_id", "site", "printed_at", "username", "printer", "pages", "cost")))
    cost = sum(row["cost"] or 0 for row in rows)
    out.print(
        f"{counted(len(rows), 'job')} of guests and unknown users, {cost:.2f} credits: nobody is charged. Next:"
        " `printbridge held assign JOB --customer ID`, or `--waive --reason TEXT`.",
        soft_wrap=True,
    )


def returns(rows: Sequence[Document]) -> None:
    """The rows that take pages back of a print that is not sure; nothing where there is none."""
    if rows:
        out = _out()
        out.print(_table(rows, ("row_id", "site", "stamped_at", "username", "printer", "pages", "reason", "prints")))
        out.print("Next: `printbridge held return ROW JOB --reason TEXT`, or `--nothing` without JOB.", soft_wrap=True)


def stories(told: Sequence[Story]) -> None:
    """What is known of a person or a job."""
    for story in told:
        lines(story.title, story.sentences)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    for name in shown:
        table.add_column(name, overflow="fold", justify="right" if name in {"amount_cents", "balance"} else "left",
                         no_wrap=name in {"ref", "action", "kind"})  # fmt: skip
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in shown))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
    return text.replace("\n", " ")
