"""What all commands share: common options, exit codes, the configured bridge, and running sites one after the other.

What belongs here: what more than one module of commands needs. What does not: a command (`cli.py`, `cli_people.py`).

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 stopped by a safety gate.
"""

from __future__ import annotations

import getpass
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.outcomes import Outcome
    from pipeline.resources import Bridge

DONE, FAILED, BAD_USAGE, STOPPED = 0, 1, 2, 3

Document = dict[str, Any]

Site = Annotated[str | None, typer.Option("--site", help="Only this site; by default every site of bridge.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without this it is only shown.")]


@contextmanager
def configured_bridge() -> Generator[Bridge]:
    """The configured bridge, its connections given back at the end."""
    from pipeline.resources import Bridge
    from pipeline.settings import load_settings, prepared_home

    bridge = Bridge(load_settings(), prepared_home())
    try:
        yield bridge
    finally:
        bridge.close()


def sites_of(bridge: Bridge, site: str | None) -> list[str]:
    """The site that was named, once it is known to exist; else all."""
    if site is None:
        return list(bridge.settings.sites)
    bridge.settings.site(site)
    return [site]


def run_sites(bridge: Bridge, site: str | None, *, dry_run: bool) -> Generator[tuple[str, Outcome]]:
    """Run each site through Dagster, one after the other."""
    from pipeline import console
    from pipeline.definitions import build_defs
    from pipeline.outcomes import run_job

    names = sites_of(bridge, site)
    defs = build_defs(bridge.settings, bridge=bridge)
    for name, working in console.steps(names):
        with working:
            outcome = run_job(defs, "sync_site", name, tags=by_hand(name, dry_run=dry_run))
        yield name, outcome


def by_hand(site: str | None, *, dry_run: bool = False) -> dict[str, str]:
    """The tags of a run that somebody starts with a command."""
    from pipeline import runs

    return runs.tags(f"{runs.BY_HAND}: command of {operator_name()}", site, dry_run=dry_run)


def worst(sites: Mapping[str, Mapping[str, Any]]) -> int:
    """Failed if a site failed, else stopped if a safety gate stopped one, else done."""
    if all(site["ok"] for site in sites.values()):
        return DONE
    return STOPPED if all(site["ok"] or site["stopped"] for site in sites.values()) else FAILED


def operator_name() -> str:
    """Who types, for the histories."""
    return getpass.getuser()
