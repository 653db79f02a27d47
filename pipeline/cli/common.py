"""What all commands share: common options, exit codes, the configured sites, and running sites one after the other.

What belongs here: what more than one module of commands needs. What does not: a command (`main.py` and its neighbours).

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 stopped by a safety gate.
"""

from __future__ import annotations

import getpass
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.dagster.outcomes import Outcome
    from pipeline.site import Site, Sites

DONE, FAILED, BAD_USAGE, STOPPED = 0, 1, 2, 3

Document = dict[str, Any]

OneSite = Annotated[str | None, typer.Option("--site", help="Only this site; by default every site of bridge.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without this it is only shown.")]


@contextmanager
def configured() -> Generator[Sites]:
    """The configured sites, their connections given back at the end."""
    from pipeline.configuration import load_settings
    from pipeline.home import prepared_home
    from pipeline.site import Sites

    sites = Sites(load_settings(), prepared_home())
    try:
        yield sites
    finally:
        sites.close()


def chosen_of(sites: Sites, name: str | None) -> list[Site]:
    """The site that was named; else all.

    Raises:
        ConfigError: bridge.toml has no such site.
    """
    return list(sites) if name is None else [sites[name]]


def run_sites(sites: Sites, name: str | None, *, dry_run: bool) -> Generator[tuple[Site, Outcome]]:
    """Run each site through Dagster, one after the other."""
    from pipeline.cli import console
    from pipeline.dagster.outcomes import run_job
    from pipeline.definitions import build_defs

    defs = build_defs(sites.settings, sites=sites)
    for site, working in console.steps(chosen_of(sites, name), lambda each: each.name):
        with working:
            outcome = run_job(defs, "sync_site", site.name, tags=by_hand(site.name, dry_run=dry_run))
        yield site, outcome


def by_hand(site: str | None, *, dry_run: bool = False) -> dict[str, str]:
    """The tags of a run that somebody starts with a command."""
    from pipeline.dagster import runs

    return runs.tags(f"{runs.BY_HAND}: command of {operator_name()}", site, dry_run=dry_run)


def ask(question: str) -> None:
    """Go on only if a person says yes.

    Raises:
        typer.Abort: no.
        typer.BadParameter: nobody answers, as in a script.
    """
    try:
        agreed = typer.confirm(question)
    except typer.Abort:
        raise typer.BadParameter("nobody answered; where nobody can be asked add --yes") from None
    if not agreed:
        raise typer.Abort


def worst(sites: Mapping[str, Mapping[str, Any]]) -> int:
    """Failed if a site failed, else stopped if a safety gate stopped one, else done."""
    if all(site["ok"] for site in sites.values()):
        return DONE
    return STOPPED if all(site["ok"] or site["stopped"] for site in sites.values()) else FAILED


def operator_name() -> str:
    """Who types, for the histories."""
    return getpass.getuser()
