"""Invitations where a print system has none: PaperCut's users are made with their PIN, and nobody is written to."""

from __future__ import annotations

from pathlib import Path

from pipeline.effects.users import resend_invitation
from pipeline.operations.invitations import not_logged_in, waiting
from pipeline.services.printing import Invitation
from tests.harness import running
from tests.worlds import customer, world


def test_a_site_on_papercut_invites_nobody(folder: Path) -> None:
    with running(folder, world([customer(1, PaperCutPayAsYouPrint=True)])) as harness:
        assert harness.sync().ok
        site = harness.sites["london"]
        assert (not_logged_in(site), waiting(site).height) == ([], 0)
        harness.forget_calls()
        outcome = resend_invitation(site, Invitation("1", "c1@example.com", "open", None))
        assert (outcome.kind, harness.writes()) == ("held", {})
