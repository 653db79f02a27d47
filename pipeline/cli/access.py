"""The command `access`: printing flags of many customers at once.

What belongs here: its arguments and the order of its steps. What does not: the steps (`pipeline.operations.access`),
how results look (`console.py`). Everything heavy is imported inside the command that needs it, as in `main.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import DONE, FAILED, Apply, AsJson, Document, configured, operator_name

if TYPE_CHECKING:
    from pipeline.operations.access import Change, Choice
    from pipeline.site import Sites

access = typer.Typer(help="Printing flags of customers in Nexudus, for many at once.", no_args_is_help=True)

Emails = Annotated[
    Path | None,
    typer.Option("--emails", metavar="FILE", help="Customers with the e-mails of this file, one to a line."),
]
Plan = Annotated[str | None, typer.Option("--plan", metavar="NAME", help="Customers on this plan.")]
Team = Annotated[str | None, typer.Option("--team", metavar="NAME", help="Customers of this team.")]
Members = Annotated[bool, typer.Option("--members", help="Members: customers with a plan.")]
Contacts = Annotated[bool, typer.Option("--contacts", help="Contacts: customers without a plan.")]
Everyone = Annotated[bool, typer.Option("--all", help="Every customer; alone, or with --site.")]
Home = Annotated[str | None, typer.Option("--site", help="Only customers whose home location is that of this site.")]
Pay = Annotated[bool, typer.Option("--pay", help="The flag Unrestricted user in PaperCut.")]
Free = Annotated[bool, typer.Option("--free", help="The flag Free unlimited printing.")]


@access.command("list")
def access_list(
    emails: Emails = None, plan: Plan = None, team: Team = None, *, members: Members = False,
    contacts: Contacts = False, everyone: Everyone = False, site: Home = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show who has which printing flag, or counts as if, by a default; without a choice, everybody who does."""
    from pipeline.cli import console
    from pipeline.operations import access
    from pipeline.words import counted

    with configured() as sites:
        choice = _choice(sites, emails, plan, team, members=members, contacts=contacts, everyone=everyone, site=site)
        with console.busy("customers ..."):
            found, unknown = access.chosen(access.customers(sites), choice)
    if choice == _home(sites, site) and not everyone:
        found = found.filter(found["pay"] | found["free"] | found["default_pay"] | found["default_free"])
    rows = [_person(row) for row in found.to_dicts()]
    if as_json:
        console.document({"customers": rows, "not_found": unknown})
        return
    console.table(rows, ("customer", "email", "kind", "status", "pay", "free"))
    console.lines(counted(len(rows), "customer"), _not_found(unknown))


def _setting(*, value: bool) -> Callable[..., None]:
    """The command that gives the chosen customers a flag, or takes it from them."""

    def command(
        emails: Emails = None, plan: Plan = None, team: Team = None, *, members: Members = False,
        contacts: Contacts = False, everyone: Everyone = False, site: Home = None,
        pay: Pay = False, free: Free = False, apply: Apply = False, as_json: AsJson = False,
    ) -> None:  # fmt: skip
        with configured() as sites:
            choice = _choice(
                sites, emails, plan, team, members=members, contacts=contacts, everyone=everyone, site=site
            )
            _need_a_choice(sites, choice, site, everyone=everyone)
            _set(sites, choice, _flags(pay=pay, free=free, value=value), apply=apply, as_json=as_json)

    return command


SHOWS_FIRST = "Shows what would change; --apply does it and writes an undo file."
access.command("grant", help=f"Give customers a printing flag. {SHOWS_FIRST}")(_setting(value=True))
access.command("revoke", help=f"Take a printing flag from customers. {SHOWS_FIRST}")(_setting(value=False))


@access.command("undo")
def access_undo(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An undo file, below access/ in the state folder.")],
    *,
    apply: Apply = False,
    as_json: AsJson = False,
) -> None:
    """Put back the flags that an undo file remembers. Shows what would change; --apply does it."""
    from pipeline.cli import console
    from pipeline.operations import access

    former = access.read_undo(file)
    with configured() as sites:
        with console.busy("customers ..."):
            everyone = access.customers(sites)
        planned = access.still_due(everyone, former)
        done: Document = {"chosen": len(former), "not_found": [], "remarks": []}
        _carried_out(sites, {row["coworker_id"]: row for row in everyone.to_dicts()}, planned, done,
                     apply=apply, as_json=as_json)  # fmt: skip


def choice_of(emails: Path | None, plan: str | None, team: str | None) -> Choice:
    """The customers of a file of e-mails, a plan or a team; everybody where none is given."""
    from pipeline.operations.access import Choice, addresses

    return Choice(emails=addresses(emails) if emails else None, plan=plan, team=team)


def _choice(
    sites: Sites, emails: Path | None, plan: str | None, team: str | None, *,
    members: bool, contacts: bool, everyone: bool, site: str | None,
) -> Choice:  # fmt: skip
    from pipeline.operations.access import Choice, addresses

    if members and contacts:
        raise typer.BadParameter("every customer is one or the other; use --all", param_hint="--members, --contacts")
    if everyone and (emails or plan or team or members or contacts):
        raise typer.BadParameter("--all goes with --site and with nothing else", param_hint="--all")
    return Choice(
        emails=addresses(emails) if emails else None, plan=plan, team=team,
        kind="members" if members else "contacts" if contacts else None,
        business_id=sites.settings.site(site).business_id if site else None,
    )  # fmt: skip


def _home(sites: Sites, site: str | None) -> Choice:
    """The choice that names nobody but, perhaps, a home location."""
    from pipeline.operations.access import Choice

    return Choice(business_id=sites.settings.site(site).business_id if site else None)


def _need_a_choice(sites: Sites, choice: Choice, site: str | None, *, everyone: bool) -> None:
    if choice == _home(sites, site) and not everyone:
        raise typer.BadParameter("say who: --emails, --plan, --team, --members, --contacts or --all")


def _flags(*, pay: bool, free: bool, value: bool) -> dict[str, bool]:
    if not pay and not free:
        raise typer.BadParameter("say which flag: --pay, --free or both", param_hint="--pay, --free")
    return {name: value for name, wanted in (("pay", pay), ("free", free)) if wanted}


def _set(sites: Sites, choice: Choice, wanted: Mapping[str, bool], *, apply: bool, as_json: bool) -> None:
    from pipeline.cli import console
    from pipeline.operations import access

    with console.busy("customers ..."):
        found, unknown = access.chosen(access.customers(sites), choice)
    done: Document = {
        "chosen": found.height, "not_found": unknown, "remarks": access.remarks(found, sites, wanted),
    }  # fmt: skip
    people = {row["coworker_id"]: row for row in found.to_dicts()}
    _carried_out(sites, people, access.changes(found, wanted), done, apply=apply, as_json=as_json)


def _carried_out(
    sites: Sites, people: Mapping[int, Document], planned: Sequence[Change], done: Document, *,
    apply: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show the changes, or make them; say what came of it."""
    from pipeline.cli import console
    from pipeline.operations import access

    words = {field: name for name, field in access.FLAGS.items()}
    rows = [
        {
            **_person(people[number]),
            "change": ", ".join(
                [
                    *(f"{words[f]} {'on' if on else 'off'}" for f, on in flags.items()),
                    *(f"{f} default {'on' if on else 'off'}" for f, on in defaults.items()),
                ]
            ),
        }
        for number, flags, defaults in planned
    ]
    done |= {"dry_run": not apply, "changes": rows, "results": [], "undo": None}
    if apply and planned:
        undo = access.undo_path(sites)
        with console.watching(len(planned), "customers") as tell:
            results = access.carry_out(sites, planned, undo, lambda _: tell(), operator_name())
        done["results"] = [
            {"customer": each.coworker_id, "outcome": each.outcome, "detail": each.detail} for each in results
        ]
        done["undo"] = str(undo) if undo.exists() else None
    bad = [each for each in done["results"] if each["outcome"] not in {"done", "skipped"}]
    if as_json:
        console.document(done)
    else:
        if not apply:
            console.table(rows, ("customer", "email", "kind", "status", "pay", "free", "change"))
        console.lines(_summary(done), _sentences(done))
    raise typer.Exit(FAILED if bad else DONE)


def _summary(done: Document) -> str:
    number, chosen = len(done["changes"]), done["chosen"]
    if done["dry_run"]:
        return f"{number} of {chosen} chosen customers would change"
    counts: dict[str, int] = {}
    for each in done["results"]:
        counts[each["outcome"]] = counts.get(each["outcome"], 0) + 1
    counts["not tried"] = number - len(done["results"])
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{number} of {chosen} chosen customers: {said or 'nothing to change'}"


def _sentences(done: Document) -> list[str]:
    said = [*_not_found(done["not_found"]), *done["remarks"]]
    said += [f"Customer {each['customer']}: {each['outcome']}. {each['detail']}" for each in done["results"]
             if each["outcome"] != "done"]  # fmt: skip
    if done["dry_run"]:
        said.append("Nothing was written to Nexudus. The same command with --apply does it.")
    if done["undo"]:
        said.append(f"Undo: `printbridge access undo {done['undo']} --apply`.")
        said.append("The next run makes or removes print users accordingly; `printbridge plan` shows it now.")
    return said


def _not_found(unknown: Sequence[str]) -> list[str]:
    shown = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
    return [f"{len(unknown)} e-mails belong to no customer: {shown}."] if unknown else []


def _person(row: Mapping[str, Any]) -> Document:
    return {
        "customer": row["coworker_id"], "email": row["email"], "kind": "member" if row["member"] else "contact",
        "status": "active" if row["active"] else "suspended",
        **{flag: "on" if row[flag] else "default" if row[f"default_{flag}"] else "" for flag in ("pay", "free")},
    }  # fmt: skip
