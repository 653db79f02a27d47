"""The gate that reconciliation closes: an unexplained cent stops new charges of the site until they are resumed."""

from __future__ import annotations

from pathlib import Path

from pipeline import safety
from tests.harness import Harness, customer, running, world


def _charged(bridge: Harness) -> None:
    """One job of 30 cents, charged."""
    assert bridge.sync().ok
    bridge.print_job("c101@example.com", 30)
    bridge.advance(minutes=31)
    assert bridge.sync().ok
    assert len(bridge.sales()) == 1


def test_a_sale_that_is_gone_stops_new_charges_until_a_person_resumes_them(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)])) as bridge:
        _charged(bridge)
        bridge.delete("coworkerproducts", bridge.sales()[0]["Id"])
        bridge.advance(minutes=20)
        found = bridge.reconcile("2026-11-02")
        assert found.metadata["reconciliation"]["unexplained_cents"] == 30, "the missing sale must be found"
        assert any("nothing_is_unexplained" in finding for finding in found.findings), "the check must be red"

        bridge.print_job("c101@example.com", 20)
        bridge.advance(minutes=31)
        refused = bridge.sync()
        assert refused.stopped, refused.failures
        assert "printbridge resume london" in refused.failures["nexudus_print_charges"][1]
        assert bridge.sales() == [], "nothing may be charged while the books disagree"

        with bridge.bridge.warehouse.transaction() as con:
            safety.record(con, "london", "charges", state="resumed", reason="seen", at=bridge.bridge.clock())
        assert bridge.sync().ok
        assert [sale["Quantity"] for sale in bridge.sales()] == [20], "the waiting job is charged after the resumption"


def test_a_list_that_lags_behind_a_fresh_charge_does_not_stop_the_site(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)])) as bridge:
        assert bridge.sync().ok
        bridge.print_job("c101@example.com", 30)
        bridge.advance(minutes=31)
        bridge.switch(list_lag_seconds=300)
        assert bridge.sync().ok
        found = bridge.reconcile("2026-11-02")
        assert found.metadata["reconciliation"]["unexplained_cents"] == 30, "the list does not show the sale yet"
        with bridge.bridge.warehouse.connect() as con:
            assert safety.states(con, "london") == {}, "a charge younger than the settle time may be lagging"
        bridge.advance(minutes=20)
        assert bridge.reconcile("2026-11-02").metadata["reconciliation"]["unexplained_cents"] == 0
