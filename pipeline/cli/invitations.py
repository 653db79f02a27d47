"""The commands `access sync` and `access invitations`: who is invited to ezeep, by hand and several at once.

What belongs here: their arguments and the order of their steps. What does not: the steps
(`pipeline.operations.invitations`), the choice of customers (`access.py`) and how results look (`console.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.access import Emails, Everyone, Plan, Team, access, choice_of
from pipeline.cli.common import DONE, FAILED, Apply, AsJson, Document, configured, operator_name, run_sites, worst

AtSite = Annotated[str, typer.Option("--site", help="The site, one whose print system invites people.")]
Resend = Annotated[bool, typer.Option("--resend", help="Let ezeep send them its e-mail again.")]


@access.command("sync")
def access_sync(
    site: AtSite, emails: Emails = None, plan: Plan = None, team: Team = None, *, everyone: Everyone = False,
    apply: Apply = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Invite customers who may print to ezeep, as *Update eZeep* in Nexudus did; shows them first."""
    from pipeline.cli import console
    from pipeline.operations import access, invitations

    if not (everyone or emails or plan or team):
        raise typer.BadParameter("say who: --emails, --plan, --team or --all")
    with configured() as sites:
        here = sites[site]
        ((_, looked),) = run_sites(sites, site, dry_run=True)
        if not looked.ok:
            failed = {site: console.result(sites, looked)}
            console.document({"site": site, "run": failed[site]}) if as_json else console.results(failed)
            raise typer.Exit(worst(failed))
        chosen, unknown = access.chosen(access.customers(sites), choice_of(emails, plan, team))
        waiting = invitations.waiting(here).join(chosen.select("coworker_id"), on="coworker_id", how="semi")
        done: Document = {
            "site": site, "dry_run": not apply, "chosen": chosen.height, "not_found": unknown,
            "invited": waiting.to_dicts(), "left_out": invitations.left_out(here, chosen), "ok": True,
        }  # fmt: skip
        if apply and waiting.height:
            invitations.ask(here, waiting["coworker_id"], operator_name())
            ((_, outcome),) = run_sites(sites, site, dry_run=False)
            done |= {"run": console.result(sites, outcome), "ok": outcome.ok}
    if as_json:
        console.document(done)
    else:
        console.table([{"customer": row["coworker_id"], **row} for row in done["invited"]],
                      ("customer", "email", "access"))  # fmt: skip
        console.lines(_summary(done), _sentences(done))
        if "run" in done:
            console.results({site: done["run"]})
    raise typer.Exit(DONE if done["ok"] else worst({site: done["run"]}))


@access.command("invitations")
def access_invitations(
    site: AtSite, emails: Emails = None, *, resend: Resend = False, apply: Apply = False, as_json: AsJson = False
) -> None:
    """Show who was invited to ezeep and has not logged in, so cannot print yet; --resend sends the e-mail again."""
    from pipeline.cli import console
    from pipeline.domain.names import user_name_of
    from pipeline.operations import invitations
    from pipeline.operations.access import addresses
    from pipeline.words import counted

    with configured() as sites:
        found = invitations.not_logged_in(sites[site])
        if emails:
            wanted = {user_name_of(each) for each in addresses(emails)}
            found = [each for each in found if each.invitation.email in wanted]
        results = invitations.resend(sites[site], found) if resend and apply else []
    outcomes = {each.invitation.id: outcome for each, outcome in results}
    rows = [
        {
            "customer": each.coworker_id, "email": each.invitation.email, "state": each.state,
            "until": f"{each.invitation.expires:%Y-%m-%d %H:%M} UTC" if each.invitation.expires else "",
            "sent again": outcomes[each.invitation.id].kind if each.invitation.id in outcomes else "",
        }
        for each in found
    ]  # fmt: skip
    bad = [outcome.detail for outcome in outcomes.values() if outcome.kind != "done"]
    if as_json:
        console.document({"site": site, "dry_run": not (resend and apply), "invitations": rows, "failed": bad})
    else:
        console.table(rows, ("customer", "email", "state", "until", "sent again"))
        said = [] if apply or not resend else ["Nothing was sent. The same command with --apply sends it again."]
        console.lines(f"invited and not logged in yet: {counted(len(rows), 'person', 'people')}", [*bad, *said])
    raise typer.Exit(FAILED if bad else DONE)


def _summary(done: Document) -> str:
    number = len(done["invited"])
    verb = "would be invited" if done["dry_run"] else "were asked for"
    return f"{number} of {done['chosen']} chosen customers {verb} at site {done['site']}"


def _sentences(done: Document) -> list[str]:
    from pipeline.operations.invitations import E_MAIL

    said = [f"{len(done['not_found'])} e-mails belong to no customer."] if done["not_found"] else []
    said += done["left_out"]
    if done["invited"]:
        said.append(E_MAIL)
    if done["dry_run"]:
        said.append("Nobody was invited. The same command with --apply does it.")
    return said
