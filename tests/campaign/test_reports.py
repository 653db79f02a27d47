"""A site on ezeep, the short form: some points with some faults, and a short story with kills.

The long forms are `python -m tests.campaign ezeep-crashes ezeep-charging ezeep-overlap`.
"""

from __future__ import annotations

from pathlib import Path

from tests.campaign.crashes import FAULTS, pairs
from tests.campaign.oracle import examine
from tests.campaign.reports import reporting

SEED = 20261120
FEW = 5


def test_no_kill_beside_a_fault_charges_a_job_of_a_report_twice_or_loses_it(folder: Path) -> None:
    with reporting(folder) as reports:
        points = reports.points()
        assert len(points) >= 24, f"only {len(points)} points were counted: {points}"
        assert any("read_jobs" in point for point in points)
        chosen = pairs(points, SEED)
        batch = [next(pair for pair in chosen if pair[1] == fault) for fault in list(FAULTS)[:FEW]]
        finding = reports.broken(batch)
        assert not finding, f"seed {SEED}: {finding}; replay: python -m tests.campaign ezeep-crashes --seed {SEED}"
        assert reports.kills >= len(batch) // 2, f"only {reports.kills} of {len(batch)} kills happened"
        finding = reports.story(SEED, 2 * reports.cycle + 8, seconds=60, look=3)
        assert not finding, f"seed {SEED}: {finding}; replay: python -m tests.campaign ezeep-charging --seed {SEED}"
        assert reports.fired, "no fault met a call"
        state = reports.harness.state()
        sale = next(each for each in state["nexudus"]["coworkerproducts"] if not each.get("Deleted"))
        state["nexudus"]["coworkerproducts"].append(sale)
        assert examine(state, reports.granted).double, "the oracle sees a sale that is there twice"
        sale["Deleted"] = True
        assert examine(state, reports.granted).lost, "... and one that is not there"
