"""Access in bulk: which customers get or lose a printing flag in Nexudus, and the file that takes it back.

What belongs here: choosing customers, what would change for them, the order in which it is done, the undo file. What
does not: the write itself (`pipeline.effects.flags`), and who becomes a print user because of it
(`pipeline.domain.people.accounts`; the next run decides).

The two flags are those of Settings > Bulk edit > Options > Printing in Nexudus (`rules.md` 2.2, U11). A default for new
customers acts without a flag (docs/adr/0008); who takes the flag from such a customer ends the default for them.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import polars as pl

from pipeline.domain import names
from pipeline.domain.people.accounts import by_default
from pipeline.effects.effect import CONNECTIONS, Outcome, pipelined
from pipeline.effects.flags import set_flags
from pipeline.errors import ConfigError
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import moment
from pipeline.site import Sites
from pipeline.store import defaults, memory
from pipeline.store.sql import Connection

FLAGS = {"pay": "PaperCutPayAsYouPrint", "free": "PaperCutFreePrinting"}
"""Our word for a flag and its field in Nexudus."""

TITLES = {"pay": "Unrestricted user in PaperCut", "free": "Free unlimited printing"}
"""What the screens call it."""

CHUNK = 40
"""Customers between two looks at whether to go on; the very first goes alone."""

LOCK = "_access"
"""The name of the lock; no site can have it."""


@dataclass(frozen=True)
class Choice:
    """Which customers: every part that is given narrows it; archived accounts are never among them.

    Attributes:
        emails: these addresses, compared as accounts are (`names.email_key`).
        plan: the name of a plan, as one of the customer's plans.
        team: the name of a team, as one of the customer's teams.
        kind: only members (with an active plan) or only contacts.
        business_id: only this home location.
    """

    emails: tuple[str, ...] | None = None
    plan: str | None = None
    team: str | None = None
    kind: Literal["members", "contacts"] | None = None
    business_id: int | None = None


class Change(NamedTuple):
    """What is to be set for one customer.

    Attributes:
        coworker_id: the customer.
        flags: field of Nexudus to value.
        defaults: our word for a flag to whether its default for new customers applies.
    """

    coworker_id: int
    flags: Mapping[str, bool]
    defaults: Mapping[str, bool] = {}


class Result(NamedTuple):
    """What became of one change.

    The outcome is done, skipped (nothing to do any more), failed (certainly not done), unknown (no clear answer and the
    flag is not there yet) or altered (done, but another field changed as well).
    """

    coworker_id: int
    outcome: Literal["done", "skipped", "failed", "unknown", "altered"]
    detail: str = ""


OUTCOMES: dict[str, Literal["done", "skipped", "failed", "unknown", "altered"]] = {
    "done": "done", "skipped": "skipped", "unknown": "unknown", "altered": "altered", "refused": "failed",
    "undone": "failed",
}  # fmt: skip
"""How the outcome of an effect stands in a `Result`."""

UNTOUCHED = frozenset({"skipped", "refused", "undone", "not tried"})
"""Outcomes after which a customer is as before."""


def customers(sites: Sites) -> pl.DataFrame:
    """Every customer account of the Nexudus account that is not archived, read now.

    Returns:
        NexudusCustomers with plans and teams (lists of names), and for each of `FLAGS` default_ (a default for new
        customers stands for the flag at some site) and ended_ (a person ended it); by coworker_id.

    Raises:
        PrintbridgeError: the list could not be read completely.
    """
    read = sites.nexudus.records("coworkers", needs=(*records.CUSTOMER_FIELDS, "TariffName", "TeamNames"))
    frame = records.read_customers(read, sites.digest, moment, sites.clock()).frame
    rows = [
        (
            each.get("Id"),
            _names(each, "TariffName", "CoworkerContractTariffNames"),
            _names(each, "TeamName", "TeamNames"),
        )
        for each in read
    ]
    schema = {"coworker_id": pl.Int64, "plans": pl.List(pl.String), "teams": pl.List(pl.String)}
    named = pl.DataFrame(rows, schema=schema, orient="row").unique("coworker_id")
    with sites.store.connect() as con:
        ended = defaults.ended(con)
    return (
        frame.join(named, on="coworker_id", how="left")
        .filter(~pl.col("archived"))
        .with_columns(
            *(_default(sites, flag, ended).alias(f"default_{flag}") for flag in FLAGS),
            *(
                pl.col("coworker_id").is_in(ended.filter(flag=flag)["coworker_id"].to_list()).alias(f"ended_{flag}")
                for flag in FLAGS
            ),
        )
        .sort("coworker_id")
    )


def _default(sites: Sites, flag: str, ended: pl.DataFrame) -> pl.Expr:
    """Whether a default stands for the flag of a customer, at any of the sites that look at the customer."""
    answers = [pl.lit(value=False)]
    for site in sites:
        looks = pl.col("business_id").eq_missing(site.rules.business_id) | (site.rules.customers == "all")
        answers.append(looks & by_default(flag, site.rules, ended))
    return pl.any_horizontal(answers)


def _names(record: Mapping[str, Any], one: str, several: str) -> list[str]:
    """A name, and the names of a comma list; the whole list too, because a name may hold a comma."""
    found = [str(record.get(one) or ""), *str(record.get(several) or "").split(","), str(record.get(several) or "")]
    return sorted({name.strip() for name in found} - {""})


def chosen(everyone: pl.DataFrame, choice: Choice) -> tuple[pl.DataFrame, list[str]]:
    """The customers of a choice, and the addresses of it that no customer has.

    Raises:
        ConfigError: no customer has a plan or team of that name.
    """
    found, unknown = everyone, list[str]()
    if choice.emails is not None:
        wanted = pl.DataFrame({"email": choice.emails}, schema={"email": pl.String}).with_columns(
            email_key=names.email_key("email")
        )
        unknown = wanted.join(everyone, on="email_key", how="anti")["email"].to_list()
        found = found.join(wanted, on="email_key", how="semi")
    for what, name in (("plans", choice.plan), ("teams", choice.team)):
        if name is not None:
            found = found.filter(pl.col(what).list.contains(_known(everyone, what, name)))
    if choice.kind:
        found = found.filter(pl.col("member") == (choice.kind == "members"))
    if choice.business_id is not None:
        found = found.filter(pl.col("business_id") == choice.business_id)
    return found.sort("coworker_id"), unknown


def _known(everyone: pl.DataFrame, what: str, name: str) -> str:
    """A name as Nexudus writes it, whatever its case."""
    names = everyone[what].explode().drop_nulls().unique().sort().to_list()
    for known in names:
        if known.casefold() == name.strip().casefold():
            return known
    near = difflib.get_close_matches(name, names, n=3) or names[:10]
    raise ConfigError(
        f"No customer has {name!r} among their {what}", f"use one of: {', '.join(near)}" if near else f"none has {what}"
    )


def changes(found: pl.DataFrame, wanted: Mapping[str, bool]) -> list[Change]:
    """What is to be set so that every one of some customers has the wanted flags (`pay`, `free`), or has them no more.

    Who shall not have a flag any more does not get it by default either.
    """
    needed = [
        Change(
            row["coworker_id"],
            {FLAGS[flag]: value for flag, value in wanted.items() if row[flag] != value},
            {flag: False for flag, value in wanted.items() if not value and row[f"default_{flag}"]},
        )
        for row in found.iter_rows(named=True)
    ]
    return [change for change in needed if change.flags or change.defaults]


def remarks(found: pl.DataFrame, sites: Sites, wanted: Mapping[str, bool]) -> list[str]:
    """Whom a granted flag does not make a print user, and which sites do not look at it."""
    reasons = {
        "is suspended": ~pl.col("active"),
        "has no e-mail": pl.col("email_key").is_null(),
        "has a + in the e-mail": pl.col("email_key").str.contains("+", literal=True),
        "has no PIN": pl.col("pin_digest").is_null(),
    }
    said: list[str] = []
    for reason, applies in reasons.items() if any(wanted.values()) else ():
        ids = found.filter(applies)["coworker_id"].to_list()
        if ids:
            shown = ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
            said.append(f"{len(ids)} chosen customers get no print user until this is put right: {reason} ({shown}).")
    blind = [site for site in sites if "pay" in wanted and not site.rules.takes_money]
    return said + [f"Site {site.name} ({site.rules.pricing_model}) does not look at {TITLES['pay']}." for site in blind]


def still_due(everyone: pl.DataFrame, planned: Sequence[Change]) -> list[Change]:
    """Of some changes, those that the customers do not have already."""
    rows = {row["coworker_id"]: row for row in everyone.to_dicts()}
    words = {field: flag for flag, field in FLAGS.items()}
    due = [
        Change(
            each.coworker_id,
            {field: value for field, value in each.flags.items() if rows[each.coworker_id][words[field]] != value},
            {flag: on for flag, on in each.defaults.items() if rows[each.coworker_id][f"ended_{flag}"] == on},
        )
        for each in planned
        if each.coworker_id in rows
    ]
    return [change for change in due if change.flags or change.defaults]


def carry_out(
    sites: Sites, planned: Sequence[Change], undo: Path, tell: Callable[[Result], None], operator: str = "command"
) -> list[Result]:
    """Set the flags, the first customer alone and then several at a time, with the undo file written before.

    The file names every customer that may be changed; at the end only those that were, or may have been. It is readable
    by its owner only and holds ids and former flags, nothing else.

    Args:
        sites: every site; the flags are those of the account.
        planned: what is to be set.
        undo: the undo file, from `undo_path`.
        tell: hears of each result as it comes.
        operator: who asks, for the record of ended defaults.

    Returns:
        The results, in the order of `planned`; after an error that ends the calls the rest is not among them.

    Raises:
        ConfigError: bridge.toml says dry_run.
        TransientError: another `access` command is at work.
    """
    if sites.settings.mode == "dry_run":
        raise ConfigError('mode is "dry_run" in bridge.toml, so nothing is written', 'set mode = "apply"')
    results: list[Result] = []
    touched: set[int] = set()

    def turn(answered: list[tuple[Change, Outcome]], begun: Sequence[Change]) -> None:
        touched.update(change.coworker_id for change in begun)
        decided = [
            (change.coworker_id, flag, applies)
            for change, outcome in answered
            if outcome.kind in {"done", "altered"}
            for flag, applies in change.defaults.items()
        ]
        if decided:
            sites.store.commit(lambda con: _record(con, sites, decided, operator))
        for change, outcome in answered:
            if outcome.kind in UNTOUCHED:
                touched.discard(change.coworker_id)
            if outcome.kind != "not tried":
                results.append(Result(change.coworker_id, OUTCOMES[outcome.kind], outcome.detail))
                tell(results[-1])

    with sites.hold(LOCK, wait_seconds=5):
        _store(undo, planned)
        try:
            pipelined(
                planned, lambda change: _set(sites, change), turn, chunk=CHUNK, connections=CONNECTIONS,
                first_alone=True,
            )  # fmt: skip
        finally:
            _store(undo, [change for change in planned if change.coworker_id in touched])
    return results


def _record(con: Connection, sites: Sites, decided: list[tuple[int, str, bool]], operator: str) -> None:
    """Keep which defaults apply from now on; Nexudus shows no change, so the next look is told to ask for a run."""
    at = sites.clock()
    defaults.record(con, decided, operator=operator, at=at)
    for site in sites:
        memory.note(con, site.key, memory.WAKE, at.isoformat(), at)


def _set(sites: Sites, change: Change) -> Outcome:
    """Set the flags of one customer; a default is ours, and needs no call."""
    return set_flags(sites.nexudus, change.coworker_id, change.flags) if change.flags else Outcome("done")


def undo_path(sites: Sites) -> Path:
    """Where the undo file of a change that begins now lies: below `access/` in the state folder, under a new name."""
    stem = sites.home.path / "access" / f"{sites.clock():%Y%m%dT%H%M%S}"
    names = (stem.with_name(f"{stem.name}{suffix}.json") for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in names if not path.exists())


def _store(path: Path, done: Iterable[Change]) -> None:
    """Write the undo file anew, or take it away when there is nothing to undo; never half a file."""
    former = [
        {
            "id": each.coworker_id,
            **{flag: not value for flag, value in each.flags.items()},
            **({"defaults": {flag: not on for flag, on in each.defaults.items()}} if each.defaults else {}),
        }
        for each in done
    ]
    if not former:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"former_flags": former}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def read_undo(path: Path) -> list[Change]:
    """The changes that put back what an undo file remembers.

    Raises:
        ConfigError: not an undo file.
    """
    try:
        former = cast("list[dict[str, Any]]", json.loads(path.read_bytes())["former_flags"])
        read = [
            Change(
                int(row["id"]),
                {flag: row[flag] for flag in FLAGS.values() if isinstance(row.get(flag), bool)},
                {flag: on for flag, on in row.get("defaults", {}).items() if flag in FLAGS and isinstance(on, bool)},
            )
            for row in former
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not an undo file of `printbridge access`", "name a file below access/ in the state folder"
        ) from error
    return [change for change in read if change.flags or change.defaults]


def addresses(path: Path) -> tuple[str, ...]:
    """The e-mails of a file, one to a line; empty lines and lines that begin with # do not count.

    Raises:
        ConfigError: it cannot be read, or holds no address.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "name a text file with one e-mail to a line") from error
    found = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not found or any("@" not in line or " " in line for line in found):
        raise ConfigError(f"{path} does not hold one e-mail to a line", "leave names and other columns out of it")
    return found
