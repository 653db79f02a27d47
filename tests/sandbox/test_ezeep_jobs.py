"""The sandbox's ezeep: jobs, refunds, reports as files and on request, webhooks, and every fault on a real socket."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.sandbox.app import await_ready, prepare
from pipeline.sandbox.ezeep.jobs import HEADER
from tests.sandbox.test_ezeep import LATER, WORLD, Ezeep, running_ezeep
from tests.sandboxes import start

JOB: dict[str, Any] = {"username": "anna@example.com", "printer": "Front", "pages": 4, "color_pages": 0}


@pytest.fixture
def ezeep(tmp_path: Path) -> Iterator[Ezeep]:
    with running_ezeep(tmp_path) as ezeep:
        yield ezeep


def rows(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), delimiter=delimiter))


def reported(ezeep: Ezeep, **options: object) -> list[dict[str, str]]:
    path = ezeep.do("report", **options)["path"]
    return rows(Path(path).read_text("utf-8"), str(options.get("delimiter", ",")))


# Printing and refunds -----------------------------------------------------------------------------------------------


def test_who_has_not_logged_in_or_is_in_no_group_cannot_print(ezeep: Ezeep) -> None:
    assert "has not logged in yet" in ezeep.refused("print", JOB | {"username": "ben@example.com"})
    assert "is no user" in ezeep.refused("print", JOB | {"username": "nobody@example.com"})
    ezeep.do("accept", email="ben@example.com")
    assert "is in no group" in ezeep.refused("print", JOB | {"username": "ben@example.com"})
    assert ezeep.do("print", **JOB, force=True)["username"] == "Anna@example.com"
    assert ezeep.do("print", **JOB | {"username": "ben@example.com", "force": True})["job_id"]
    assert len(ezeep.state()["jobs"]) == 2


def test_several_jobs_are_printed_all_or_none(ezeep: Ezeep) -> None:
    good = {"site": "lisbon", **JOB}
    printed = ezeep.control("print", [good, good | {"color_pages": 4, "paper": "A3", "duplex": True}])
    assert len({job["job_id"] for job in printed}) == 2
    for wrong in (
        {"pages": 0}, {"pages": "4"}, {"pages": True}, {"color_pages": 5}, {"at": "soon"}, {"status": "lost"},
        {"at": "0001-01-01T00:00:00+14:00"}, {"username": "nobody@example.com"},
    ):  # fmt: skip
        answer = ezeep.client.post(f"{ezeep.ready['control_url']}/print", json=[good, good | wrong])
        assert answer.status_code == 400, wrong
    jobs = ezeep.state()["jobs"]
    assert [(job["paper"], job["duplex"], job["refunded"]) for job in jobs] == [
        ("A4", False, False), ("A3", True, False),
    ]  # fmt: skip


def test_a_report_has_a_row_for_each_job(ezeep: Ezeep) -> None:
    ezeep.do("print", **JOB, at="2026-11-09T10:00:00+01:00", document='a "b", c')
    ezeep.do("print", **JOB | {"color_pages": 2, "at": "2026-11-09T11:00:00", "status": "failed"})
    done = ezeep.do("report", name="november.csv")
    path = Path(done["path"])
    assert (path.parent, path.name, done["rows"]) == (Path(ezeep.site["reports_folder"]), "november.csv", 2)
    first, second = rows(path.read_text("utf-8"))
    assert tuple(first) == HEADER
    assert first == {
        "Date": "2026-11-09T09:00:00Z", "User": "Anna@example.com", "Printer": "Front", "Pages": "4", "Color": "no",
        "Duplex": "no", "Paper": "A4", "Copies": "1", "Document": 'a "b", c', "Status": "succeeded",
    }  # fmt: skip
    assert (second["Color"], second["Status"]) == ("yes", "failed")
    assert [row["User"] for row in reported(ezeep, blank_email=True, delimiter=";")] == ["", ""]
    assert len(reported(ezeep, start="2026-11-09T09:00:00", end="2026-11-09T11:00:00")) == 1
    for wrong in ({"name": "../out.csv"}, {"name": ".csv"}, {"name": "x" * 200}, {"delimiter": "|"}, {"start": "now"}):
        ezeep.refused("report", wrong)


def test_a_refund_is_a_row_less_or_a_negative_one(ezeep: Ezeep) -> None:
    numbers = [ezeep.do("print", **JOB)["job_id"] for _ in range(4)]
    assert ezeep.do("refund", job_id=numbers[0])["refunded"] is True
    assert ezeep.do("refund", job_id=numbers[1], pages=1)["refunded"] is False
    ezeep.do("refund", job_id=numbers[2], how="negative")
    ezeep.do("refund", job_id=numbers[3], how="negative", pages=3)
    assert sorted(int(row["Pages"]) for row in reported(ezeep)) == [-4, -3, 3, 4, 4]
    assert [job["refunded_pages"] for job in ezeep.state()["jobs"]] == [4, 1, 4, 3]
    for wrong in ({"job_id": numbers[0]}, {"job_id": numbers[3], "pages": 2}, {"job_id": "x"},
                  {"job_id": numbers[1], "how": "lost"}):  # fmt: skip
        ezeep.refused("refund", wrong)


def test_jobs_of_a_world_are_history_and_keep_its_users(tmp_path: Path) -> None:
    site = WORLD["sites"]["lisbon"] | {"jobs": [JOB | {"username": "ben@example.com", "at": "2026-11-01T00:00:00Z"}]}
    with running_ezeep(tmp_path, WORLD | {"sites": {"lisbon": site}}) as ezeep:
        assert [job["username"] for job in ezeep.state()["jobs"]] == ["ben@example.com"]
        url = f"{ezeep.ready['control_url']}/world"
        answer = ezeep.client.put(url, content=b'{"sites": {"lisbon": {"users": []}}}')
        assert (answer.status_code, "has print jobs" in answer.json()["error"]) == (400, True)


def test_a_world_is_replaced_wholly_or_not_at_all(ezeep: Ezeep) -> None:
    before = ezeep.state()
    users = [{"email": "new@example.com"}]
    for wrong in (
        {"sites": {"lisbon": {"users": [*users, *users]}}},
        {"sites": {"lisbon": {"users": users}}, "nexudus": {"products": [{"Price": "cheap"}]}},
    ):
        answer = ezeep.client.put(f"{ezeep.ready['control_url']}/world", json=wrong)
        assert (answer.status_code, ezeep.state()) == (400, before)
    ezeep.control("world", {"sites": {"lisbon": {"users": users}}}, method="PUT")
    assert [user["email"] for user in ezeep.state()["users"]] == ["new@example.com"]


# Reports on request -------------------------------------------------------------------------------------------------

ASKED = {"start": "2026-11-01", "end": "2026-12-01"}


def test_a_report_is_pending_then_downloaded(ezeep: Ezeep) -> None:
    ezeep.do("print", **JOB, at="2026-11-09T10:00:00Z", document="secret.pdf")
    ezeep.do("print", **JOB, at="2026-12-01T00:00:00Z")
    wanted = ASKED | {"user_email_blank": False, "csv_delimiter": ";", "timestamp_offset": 2}
    answer = ezeep.call("POST", "/reporting/reports", wanted)
    asked = answer.json()
    assert (answer.status_code, asked["status"], asked["format"], asked["file_name_obfuscated"]) == (
        202, "pending", "csv", True,
    )  # fmt: skip
    assert "x-sandbox-invention" not in answer.headers
    url = f"/reporting/reports/{asked['report_id']}"
    polled = [ezeep.call("GET", url).json() for _ in range(3)]
    assert [each["status"] for each in polled] == ["pending", "pending", "succeeded"]
    file = ezeep.client.get(polled[-1]["download_url"])
    assert file.headers["x-sandbox-invention"] == "download of a report and its columns"
    (row,) = rows(file.text, ";")
    assert (row["Date"], row["User"], row["Document"]) == ("2026-11-09T12:00:00+02:00", "Anna@example.com", "*" * 10)
    assert ezeep.client.get(polled[-1]["download_url"] + "x").status_code == 404
    assert ezeep.calls()["GET reports/download"] == 2


def test_a_report_blanks_addresses_unless_told_and_may_fail_or_be_late(ezeep: Ezeep) -> None:
    ezeep.do("print", **JOB)
    ezeep.switch(ezeep_report_polls=0)
    number = ezeep.call("POST", "/reporting/reports", ASKED).json()["report_id"]
    text = ezeep.client.get(ezeep.call("GET", f"/reporting/reports/{number}/").json()["download_url"]).text
    assert [row["User"] for row in rows(text)] == [""]
    ezeep.switch(ezeep_report_outcome="failed", ezeep_report_lag_seconds=600)
    assert reported(ezeep) == []
    number = ezeep.call("POST", "/reporting/reports", ASKED).json()["report_id"]
    failed = ezeep.call("GET", f"/reporting/reports/{number}").json()
    assert (failed["status"], "download_url" in failed) == ("failed", False)
    ezeep.control("clock", {"advance_seconds": 601})
    assert len(reported(ezeep)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"end": "2026-11-01"}, {"start": None}, {"start": "November"}, {"csv_delimiter": "|"},
        {"timestamp_offset": "2"}, {"timestamp_offset": 99}, {"user_email_blank": "no"},
    ],
)  # fmt: skip
def test_a_report_without_sense_is_refused(ezeep: Ezeep, wrong: dict[str, object]) -> None:
    answer = ezeep.call("POST", "/reporting/reports", ASKED | wrong)
    assert (answer.status_code, list(answer.json())) == (400, list(wrong))


# Webhooks -----------------------------------------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    """Takes events, or refuses them while `status` says so."""

    status = 200
    taken: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).taken.append((self.headers.get("Authorization", ""), body))
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the library
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    class Fresh(Receiver):
        taken: list[tuple[str, Any]] = []  # noqa: RUF012 - of this test only

    with HTTPServer(("127.0.0.1", 0), Fresh) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", Fresh
        server.shutdown()
        thread.join()


def wait_for(ezeep: Ezeep, delivered: int, failed: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        webhooks = ezeep.state()["webhooks"]
        if (webhooks["delivered"], len(webhooks["failed"])) == (delivered, failed):
            return
        assert time.monotonic() < deadline, webhooks
        time.sleep(0.02)


def test_an_endpoint_is_told_of_a_job_at_least_once(ezeep: Ezeep, receiver: tuple[str, type[Receiver]]) -> None:
    url, place = receiver
    endpoint = {"name": "bridge", "url": url, "topics": ["printjob_succeeded"], "authentication_scheme": "basic"}
    assert ezeep.call("POST", "/webhooks/endpoints", endpoint).json() == {"basic_username": ["This field is required."]}
    known = ezeep.call("POST", "/webhooks/endpoints", endpoint | {"basic_username": "u", "basic_password": "p"}).json()
    done = ezeep.do("print", **JOB)
    ezeep.do("print", **JOB | {"status": "failed"})
    wait_for(ezeep, 1, 0)
    ((authorization, body),) = place.taken
    assert authorization == "Basic dTpw"
    job = body["content"]["printjob"]
    assert (job["printjob_id"], job["user_email"], job["color"], job["total_printed_pages"]) == (
        done["job_id"], "Anna@example.com", False, 4,
    )  # fmt: skip
    assert set(job) == {
        "printjob_id", "filename", "status", "user_name", "user_id", "user_email", "printer_id", "printer_name",
        "created", "color", "duplex", "copies", "paper", "total_printed_pages", "co2_impact", "connector_id",
        "connector_name", "type",
    }  # fmt: skip
    place.status = 500
    ezeep.switch(ezeep_webhook_twice="on")
    ezeep.do("print", **JOB)
    wait_for(ezeep, 1, 1)
    place.status = 204
    assert ezeep.do("deliver") == {"retried": 1}
    wait_for(ezeep, 2, 0)
    one = f"/webhooks/endpoints/{known['endpoint_id']}"
    assert ezeep.call("GET", one).json() == known
    assert ezeep.call("GET", "/webhooks/endpoints/").json()["results"] == [known]
    assert [ezeep.call("DELETE", one).status_code for _ in range(2)] == [204, 404]


@pytest.mark.parametrize(
    "wrong",
    [{"url": "http://example.com"}, {"url": "https://["}, {"topics": ["all"]}, {"authentication_scheme": "digest"}],
)
def test_an_endpoint_without_sense_is_refused(ezeep: Ezeep, wrong: dict[str, object]) -> None:
    answer = ezeep.call("POST", "/webhooks/endpoints", {"name": "bridge", "url": "https://example.com"} | wrong)
    assert (answer.status_code, list(answer.json())) == (400, list(wrong))


# Faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "now", "later"),
    [
        ({"action": "drop_before"}, 0, 0),
        ({"action": "drop_after"}, 1, 1),
        ({"action": "truncate"}, 1, 1),
        ({"action": "late_commit", "seconds": 30}, 0, 1),
    ],
)
def test_faults_that_break_the_connection(ezeep: Ezeep, fault: dict[str, Any], now: int, later: int) -> None:
    ezeep.fault("POST user*", **fault)
    with pytest.raises(httpx.RemoteProtocolError):
        ezeep.invite("guest@example.com")

    def mails() -> int:
        return ezeep.state()["mails"].get("guest@example.com", 0)

    assert mails() == now
    ezeep.control("clock", {"advance_seconds": 31})
    assert mails() == later
    assert ezeep.call("GET", "/v1/users/").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "mails"),
    [
        ({"action": "status", "code": 503}, 503, 0),
        ({"action": "status", "code": 500, "effect": True}, 500, 1),
        ({"action": "html_200"}, 200, 1),
        ({"action": "was_successful_false"}, 200, 0),
        ({"action": "rejected"}, 400, 0),
        ({"action": "delay", "seconds": 0.1}, 201, 1),
        ({"action": "throttle", "style": "429_text"}, 429, 0),
        ({"action": "throttle", "style": "429_retry_after", "seconds": 2}, 429, 0),
    ],
)
def test_faults_that_answer(ezeep: Ezeep, fault: dict[str, Any], status: int, mails: int) -> None:
    ezeep.fault("POST userinvitations", **fault)
    answer = ezeep.invite("guest@example.com")
    assert answer.status_code == status
    assert ezeep.state()["mails"].get("guest@example.com", 0) == mails
    if fault["action"] in {"status", "rejected", "was_successful_false"}:
        assert answer.headers["x-sandbox-invention"] == "planned fault"


def test_lists_that_come_short(ezeep: Ezeep) -> None:
    ezeep.fault("GET users", "short_list")
    short = ezeep.call("GET", "/v1/users/").json()
    assert (len(short["results"]), short["count"]) == (1, 2)
    ezeep.fault("GET *", "empty_list", times=2)
    empty = ezeep.call("GET", "/v1/users/").json()
    assert (empty["results"], empty["count"], empty["next"]) == ([], 0, None)
    assert ezeep.call("GET", "/v1/users/none").status_code == 404, "what is no list stays"


# Beside PaperCut ----------------------------------------------------------------------------------------------------


def test_no_database_is_started_for_ezeep_alone(tmp_path: Path) -> None:
    unreachable = ["--database-server", "postgresql://nobody@127.0.0.1:1/none"]
    command = [sys.executable, "-m", "pipeline.sandbox.app", *prepare(WORLD, tmp_path), *unreachable]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert set(await_ready(tmp_path, lambda: process.poll() is None)["sites"]["lisbon"]) == {
            "ezeep_account_url", "ezeep_api_url", "client_id", "client_secret", "organization_id", "reports_folder",
        }  # fmt: skip
        process.terminate()


def test_both_print_systems_stand_side_by_side(tmp_path: Path) -> None:
    london = {"users": [{"username": "alice", "balance": 10}], "printers": [{"name": "front"}]}
    with start(WORLD | {"sites": {**WORLD["sites"], "london": london}}, tmp_path) as ready:
        ezeep = Ezeep(ready)
        with ezeep.client:
            sites = ezeep.control("state", method="GET")["sites"]
            assert (sites["lisbon"]["system"], sites["london"]["users"][0]["username"]) == ("ezeep", "alice")
            assert ezeep.control("papercut", {"site": "london", "action": "next_ids"}) is not None
            for deed in ("accept", "report", "deliver"):
                answer = ezeep.client.post(f"{ready['control_url']}/{deed}", json={"site": "london"})
                assert (answer.status_code, "not for the print system" in answer.text) == (400, True)
            called = ezeep.client.get(f"{ready['nexudus_url']}/sites/london/account/v1/users/")
            assert (called.status_code, "no site london with an ezeep" in called.text) == (404, True)
            ezeep.token = "none"
            assert ezeep.invite("x@example.com", LATER).status_code == 401
