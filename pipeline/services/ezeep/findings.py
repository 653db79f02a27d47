"""What ezeep tells of its own set-up, and where that is put right: the questions of `printbridge doctor` about it.

What belongs here: asking ezeep, and judging its answers. What no interface tells is a warning that names the screen.
What does not: the questions about Nexudus, customers, job files and this machine (`pipeline.operations.doctor`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.domain.money.prices import of_pages
from pipeline.domain.rules import Price
from pipeline.services.ezeep.client import EzeepClient
from pipeline.services.printing import NOT_PROVEN, Finding, Question, Setup
from pipeline.words import counted, listed


def questions(
    client: EzeepClient, setup: Setup, *, organization_id: str, group: str, prices: Sequence[Price]
) -> list[Question]:
    """The questions about one organisation; the first is the door of the others."""

    def token() -> Iterator[Finding]:
        users = counted(len(client.users()), "user")
        yield Finding("token", "pass", f"ezeep at {client.host} accepts the client and lists {users}")

    def of_organisation() -> Iterator[Finding]:
        yield organisation({str(each.get("id")): str(each.get("name")) for each in client.organizations()},
                           organization_id)  # fmt: skip

    def of_group() -> Iterator[Finding]:
        yield members(sum(each.get("name") == group for each in client.groups()), group, setup.ours())

    return [
        ("token", token),
        ("organisation", of_organisation),
        ("group", of_group),
        ("prices", lambda: unpriced([str(each.get("name")) for each in client.printers()], prices)),
        ("ezeep", lambda: iter([unproven()])),
    ]


def organisation(found: dict[str, str], organization_id: str) -> Finding:
    """Whether the token acts on the organisation of bridge.toml, by the ids and names of those that it reaches."""
    if list(found) == [organization_id]:
        return Finding("organisation", "pass", f"the client acts on the organisation {found[organization_id]}")
    names = listed(list(found.values()), "organisation") if found else "no organisation"
    status = "warn" if organization_id in found else "fail"
    return Finding(
        "organisation", status, f"the client reaches {names}",
        "organization_id in [sites.*.ezeep] must be the only one that the client acts on: ask ezeep for a client of"
        " this organisation alone",
    )  # fmt: skip


def members(groups: int, group: str, ours: int) -> Finding:
    """Whether the group of the site is there once."""
    if groups == 1:
        return Finding("group", "pass", f"the group {group} is there; {ours} of its members are ours")
    if groups:
        return Finding("group", "fail", f"{groups} groups have the name {group}", "give it a name of its own in ezeep")
    return Finding(
        "group", "warn", f"there is no group {group} yet",
        "the first run that invites somebody makes it; make it in ezeep (Groups) now and give it its printers",
    )  # fmt: skip


def unpriced(printers: Sequence[str], prices: Sequence[Price]) -> Iterator[Finding]:
    """The printers of which a grey or a colour page on A4 has no price; what is printed there is held."""
    pages = pl.DataFrame(
        [(name, "A4", 1, colour, False) for name in printers for colour in (0, 1)], orient="row",
        schema={"printer": pl.String, "paper": pl.String, "pages": pl.Int64, "color_pages": pl.Int64,
                "duplex": pl.Boolean},
    )  # fmt: skip
    lacking = pages.filter(of_pages(tuple(prices)).is_null())["printer"].unique().sort().to_list()
    if lacking:
        yield Finding(
            "prices", "fail", f"a page on A4 has no price at {listed(lacking, 'printer')}",
            "add a price to [[sites.*.prices]] in bridge.toml; what is printed there is held until then",
        )  # fmt: skip
    else:
        yield Finding("prices", "pass", f"every page on A4 has a price at {counted(len(printers), 'printer')}")


def unproven() -> Finding:
    """What nobody has tried yet."""
    return Finding(
        "ezeep", "warn", "support for ezeep follows its documents and was never run against a live organisation",
        NOT_PROVEN + "invite one person, print one page, and compare what `printbridge explain` says with ezeep",
    )  # fmt: skip
