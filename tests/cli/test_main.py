"""The command as an operator meets it: in a process of its own, against a real sandbox. Exit codes, output, effects."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.domain.money.references import reference
from pipeline.store.backup import kept
from tests.commands import PRINTBRIDGE, ROOT, printbridge
from tests.harness import Harness, running
from tests.worlds import credit, customer, world

ANN, BOB = "c101@example.com", "c102@example.com"


def people() -> dict[str, Any]:
    """Ann pays as she prints, Bob has 100 credits, a third has no way in."""
    return world([customer(101, PaperCutPayAsYouPrint=True), customer(102), customer(103)], [credit(401, 102, 100)])


# --- plan and run ----------------------------------------------------------------------------------------------------


def test_plan_shows_and_writes_nothing_and_run_does_it(folder: Path) -> None:
    with running(folder, people()) as harness:
        harness.forget_calls()
        planned = printbridge("plan", "--json").document["sites"]["london"]
        assert [(row["action"], row["username"], row["target"]) for row in planned["changes"]] == [
            ("create", ANN, "0"), ("create", BOB, "100"),
        ]  # fmt: skip
        assert (planned["verdict"], planned["lines"]) == ({"safe": True, "blocked": {}}, [])
        assert harness.writes() == {}

        assert printbridge("run", "--site", "london").out == (
            "london: done\n  Print users: 2 changed.\n  Charges: none.\n"
        )
        harness.print_job(ANN, 30)
        harness.print_job(BOB, 40)
        harness.advance(minutes=31)
        harness.forget_calls()
        shown = printbridge("plan").out
        assert "Nothing was written to Nexudus or PaperCut." in shown
        assert re.search(rf"{reference('london', '1', 'sale', 0)} +sale +priced +30 ", shown)
        assert harness.writes() == {}

        done = printbridge("run", "--json").document["sites"]["london"]
        assert (done["ok"], done["failures"]) == (True, [])
        assert done["charges"]["moved"] == [
            {"kind": "credit", "state": "confirmed", "lines": 1, "cents": 40},
            {"kind": "sale", "state": "confirmed", "lines": 1, "cents": 30},
        ]
        assert [sale["Quantity"] for sale in harness.sales()] == [30]


def test_a_site_that_fails_does_not_stop_the_next_one(folder: Path) -> None:
    everyone = [
        customer(101, PaperCutPayAsYouPrint=True), customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=2),
    ]  # fmt: skip
    with running(folder, world(everyone, sites=("london", "leeds"))) as harness:
        harness.fault("london", "api.getConfigValue", "status", times=99, code=404)
        said = printbridge("run", "--json", code=1).document["sites"]
        assert (said["london"]["ok"], said["london"]["stopped"], said["leeds"]["ok"]) == (False, False, True)
        assert "What to do:" in said["london"]["failures"][0]["message"]
        assert "c201@example.com" in harness.users("leeds")
        assert printbridge("run", "--site", "paris", code=2).err.startswith(
            "Config: There is no site 'paris' in bridge.toml. What to do: use one of: leeds, london"
        )


def test_a_safety_gate_ends_with_3_until_a_person_resumes(folder: Path) -> None:
    with running(
        folder, world([customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 113)])
    ) as harness:
        assert harness.run().ok
        for number in range(101, 110):
            harness.edit("coworkers", number, Active=False)
        stopped = printbridge("run", code=3).out
        assert stopped.startswith("london: stopped by a safety gate")
        assert "9 removals in this run, 75.0 % of the 12 print users that are ours; at most 5" in stopped
        assert len(harness.users()) == 13, "nobody may be removed"

        assert "Aborted" in printbridge("resume", "london", answer="n\n", code=1).err
        assert "nobody answered; where nobody can be asked add --yes" in printbridge("resume", "london", code=2).err
        assert "'nothing' is none of charges, remove, rename" in printbridge("resume", "london", "nothing", code=2).err
        resumed = printbridge("resume", "london", "remove", answer="y\n").out
        assert "Site london is stopped for remove: 9 removals" in resumed
        assert harness.run().ok
        assert len(harness.users()) == 4
        assert printbridge("resume", "london", "--yes").out == "Site london is not stopped.\n"


def test_a_run_that_never_begins_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run holds the site for too long: no step fails, because none was reached."""
    from pipeline.site import Sites
    from pipeline.store import locks

    with running(folder, people()) as harness:
        monkeypatch.setitem(Sites.hold.__kwdefaults__, "wait_seconds", 0.1)
        with locks.hold(harness.state_folder.locks, "london"):
            outcome = in_a_thread(harness.run)
        assert not outcome.ok
        assert outcome.failures["start"][0] == "TransientError"
        assert "Another run has held site london" in outcome.failures["start"][1]


def in_a_thread(action: Callable[[], Any]) -> Any:
    """A lock is free for its own thread, so somebody else has to try."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).result()


# --- what an operator asks -------------------------------------------------------------------------------------------


def with_held_job(harness: Harness) -> str:
    """Ann and Bob print; one job of Ann is held for its cost. Its reference."""
    assert harness.run().ok
    for name, cost in ((ANN, 30), (BOB, 40), (ANN, "2.5"), ("staff", 5)):
        harness.print_job(name, cost)
    harness.advance(minutes=31)
    assert harness.run().ok
    return reference("london", "3", "sale", 0)


def test_held_charges_are_decided_by_name(folder: Path) -> None:
    with running(folder, people()) as harness:
        ref = with_held_job(harness)
        (line,) = printbridge("held", "list", "--json").document["held"]
        assert (line["ref"], line["job_id"], line["coworker_id"], line["amount_cents"]) == (ref, "3", 101, 3)
        assert "retry this line to charge 3 cents, or void it" in line["reason"]
        assert ref in printbridge("held", "list").out

        other = reference("london", "1", "sale", 0)
        refused = printbridge("held", "void", other, "--reason", "why not", code=3).err
        assert refused.startswith(f"Unsafe: Line {other} is confirmed, not held; nothing was changed.")
        assert "The ledger has no line PB-X" in printbridge("held", "retry", "PB-X", "--reason", "x", code=1).err
        (sold,) = harness.sales()
        wrong = printbridge("held", "confirm", ref, "--reason", "seen", "--sale", str(sold["Id"]), code=3).err
        assert "is 30 cents for customer 101, but line" in wrong

        assert printbridge("held", "retry", ref, "--reason", "the price was right").out == (
            f"Now priced: {ref} (3 cents). The next run sends it, or lets credits pay.\n"
        )
        assert harness.run().ok
        assert sorted(sale["Quantity"] for sale in harness.sales()) == [3, 30]
        with harness.sites.store.connect() as con:
            actor, detail = con.execute(
                "SELECT actor, detail FROM charge_event WHERE ref = ? AND n = 1", [ref]
            ).fetchone() or ("", "")
        taken_back = "a person let the job be decided again: the line that was held is taken back: the price was right"
        assert (bool(actor), detail) == (True, taken_back)
        said = printbridge("held", "list").out.splitlines()
        assert said[0] == "No charge waits for a person."
        assert said[-1].startswith("1 job of guests and unknown users, 5.00 credits: nobody is charged. Next:")


def test_explain_tells_the_way_of_people_and_jobs(folder: Path) -> None:
    with running(folder, people()) as harness:
        ref = with_held_job(harness)
        bob = printbridge("explain", "C102@Example.com").out
        assert "Customer 102 is the preferred one: prints with printing credits (100 valid credits" in bob
        assert f"Becomes the print user {BOB}, restricted to the balance." in bob
        third = printbridge("explain", "103").out
        assert "No print user: neither a printing flag nor valid credits" in third

        job = printbridge("explain", "1").out
        assert "Log row, revision 0: 2026-11-02 09:00" in job
        assert "sale of 30 cents for customer 101" in job
        assert re.search(r"sending, by dispatcher: POST coworkerproducts\n.*confirmed, by dispatcher: Nexudus cre", job)
        assert re.search(r"Nexudus has sale \d+ \(PB-\w+\): 30 x 0.01, not invoiced yet\.", job)
        assert ". The cost is no whole number of credits. It is held." in printbridge("explain", ref.lower()).out
        assert "its user was never ours. If a customer printed it: `printbridge held assign 4" in (
            printbridge("explain", "4").out
        )
        harness.edit("coworkers", 102, PaperCutFreePrinting=None)
        harness.add("coworkers", customer(109, Active="perhaps"))
        harness.advance(minutes=2)
        assert harness.run().ok
        odd = "The record of customer 102: PaperCutFreePrinting is null where yes or no belongs. What was read of it"
        assert odd in printbridge("explain", BOB).out
        assert "The record of customer 109: Active is " in printbridge("explain", "109").out
        unknown = printbridge("explain", "nobody@example.com", code=1)
        assert unknown.err.startswith("Missing: Nothing is known of 'nobody@example.com' at london. What to do: give")
        stories = printbridge("explain", "101", "--json").document["stories"]
        assert stories[0]["title"] == "101 at london"


def test_doctor_answers_in_one_document(folder: Path) -> None:
    with running(folder, people()) as harness:
        said = printbridge("doctor", "--json")
        assert said.document["ok"] is True
        assert {finding["status"] for finding in said.document["findings"]} == {"pass", "warn"}
        harness.edit("products", 51, Price=0.09)
        failed = printbridge("doctor", code=1).out
        assert re.search(
            r"fail +C12 +product 51 \(Printing\) is priced 0.09000, not 0.01\n +Inventory > Products", failed
        )
        assert failed.rstrip().endswith("1 fail")


def test_report_of_a_month(folder: Path) -> None:
    with running(folder, people()) as harness:
        with_held_job(harness)
        written = harness.state_folder.exports / "2026-11" / "london"
        said = printbridge("report", "2026-11", "--site", "london").out
        assert f"{written}/jobs.csv" in said
        assert ".html" not in said
        for words in (["2026-13"], ["2026-10"], ["2026-11", "--format", "pdf"]):
            assert "Invalid value" in printbridge("report", *words, code=2).err


# --- backup and recovery ---------------------------------------------------------------------------------------------


def test_a_backup_is_put_back_and_charges_nobody_twice(folder: Path) -> None:
    with running(folder, people()) as harness:
        assert harness.run().ok
        said = printbridge("backup").out
        made = Path(re.search(r"Wrote (\S+): \d+ tables, \d+ rows, read back and compared", said)[1])
        assert made.parent == harness.state_folder.backups
        assert all(path.stat().st_mode & 0o077 == 0 for path in (made, *made.iterdir()))
        harness.print_job(ANN, 30)
        harness.advance(minutes=31)
        assert harness.run().ok
        assert "What to do" in printbridge("backup", "--restore", str(folder), code=2).err
        assert "Next: run `printbridge recover`" in printbridge("backup", "--restore", str(made)).out
        assert "missing here, and entered as confirmed now: 1." in printbridge("recover").out
        assert harness.run().ok
        assert [sale["Quantity"] for sale in harness.sales()] == [30]


def test_only_the_right_backups_are_kept() -> None:
    names = [f"2026-{month:02}-{day:02}T{hour:02}{minute}00Z"
             for month in (9, 10) for day in range(1, 31) for hour in range(24) for minute in ("00", "30")]  # fmt: skip
    stay = sorted(kept(names))
    assert len(stay) == 48 + 35 - 2
    assert all(name.endswith("3000Z") for name in stay), "of each hour, and of each day, the newest"
    assert stay[0].startswith("2026-09-26T23")
    assert stay[-48:] == [name for name in names if name >= "2026-10-29" and name.endswith("3000Z")]


def test_a_lost_warehouse_is_recovered_and_charges_nobody_twice(folder: Path) -> None:
    with running(folder, people()) as harness:
        ref = with_held_job(harness)
        assert "entered as confirmed now: 0." in printbridge("recover").out, "a ledger that is whole gains nothing"
        assert [line["ref"] for line in printbridge("held", "list", "--json").document["held"]] == [ref]

        harness.state_folder.warehouse.unlink()
        harness.forget_calls()
        lost = printbridge("run", code=3).out
        assert "2 PaperCut users of site london carry our mark, but this warehouse never owned a user" in lost
        assert "`printbridge recover --site london`" in lost

        said = printbridge("recover", "--site", "london").out
        assert (
            "Nexudus holds 1 sale with our references (30 cents); missing here, and entered as confirmed now: 1."
            in said
        )
        assert "PaperCut users with our mark and the e-mail of their customer: 2; they are ours." in said
        assert "Not proved, because printing credits may have paid: 1 charge, now held." in said
        assert harness.writes() == {}, "recovery only reads the services"

        (line,) = printbridge("held", "list", "--json").document["held"]
        assert (line["kind"], line["credit_id"], line["job_id"]) == ("credit", 401, "2")
        assert "Site london is stopped for charges: recovered:" in harness.run().failures["nexudus_print_charges"][1]
        printbridge("held", "confirm", line["ref"], "--reason", "the credit shows it")
        printbridge("resume", "london", "--yes")
        assert harness.run().ok
        assert [sale["Quantity"] for sale in harness.sales()] == [30]
        assert harness.credits() == {401: 60}
        assert (harness.users()[BOB]["balance"], harness.users()[BOB]["restricted"]) == (60, True)


# --- what serves until it is stopped ---------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(answers: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not answers():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end, f"no answer after {seconds} s"
        time.sleep(0.2)


def test_the_sandbox_serves_until_it_is_told_to_stop(folder: Path) -> None:
    (folder / "world.json").write_text(json.dumps({"nexudus": {"coworkers": [customer(101)]}}), "utf-8")
    ready = folder / "ready.json"
    words = ["sandbox", "--world", str(folder / "world.json"), "--ready-file", str(ready)]
    process = subprocess.Popen([*PRINTBRIDGE, *words], env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        until(ready.exists, process)
        state = httpx.get(json.loads(ready.read_bytes())["control_url"] + "/state", trust_env=False).json()
        assert [each["Id"] for each in state["nexudus"]["coworkers"]] == [101]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    (folder / "world.json").write_text("{", "utf-8")
    assert "is not JSON" in printbridge(*words, code=2).err


def test_dev_serves_the_ui_from_any_folder_and_ends_whole(folder: Path) -> None:
    """Started as a script does with `&`, which has SIGINT ignored (`stack.md` 5)."""
    port = free_port()
    with running(folder, people()):
        ignoring = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv[1:] = {!r};"
        start = ignoring.format(["dev", "--port", str(port)]) + "from pipeline.cli.main import main; main()"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", start], cwd=folder, stdout=log, stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        try:
            until(lambda: answers(port), process)
            query = "{repositoriesOrError{... on RepositoryConnection{nodes{schedules{name}}}}}"
            reply = httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=30, trust_env=False)
            (repository,) = reply.json()["data"]["repositoriesOrError"]["nodes"]
            assert "look_and_sync" in {schedule["name"] for schedule in repository["schedules"]}
            assert f"Port {port} on 127.0.0.1 cannot be used" in printbridge("dev", "--port", str(port), code=2).err
            second = printbridge("dev", "--port", str(free_port()), code=2).err
            assert "Another `printbridge dev` is up on the state folder" in second, (
                "two services on one state folder would both charge"
            )
        finally:
            process.terminate()
            assert process.wait(40) == 0, (folder / "log").read_text("utf-8")
        assert not answers(port), "the web server outlived the command"


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/server_info", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
