"""The sandbox's ezeep: tokens, people, groups, and what everybody else sees of a mixed world."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.sandbox.app import DidNotStartError
from pipeline.sandbox.ezeep.switches import SWITCHES
from tests.sandboxes import start

SITE: dict[str, Any] = {
    "system": "ezeep",
    "business_id": 7,
    "groups": ["printbridge", "staff"],
    "printers": ["Front", "Back"],
    "users": [
        {"email": "Anna@example.com", "first_name": "Anna", "last_name": "Ash", "groups": ["staff"]},
        {"email": "ben@example.com", "is_verified": False},
    ],
}
WORLD: dict[str, Any] = {"clock": "2026-11-10T08:00:00Z", "sites": {"lisbon": SITE}}
LATER = "2026-12-10T08:00:00"


class Ezeep:
    """An organisation under test, with a client that has a token, and the control endpoint beside it."""

    def __init__(self, ready: dict[str, Any], name: str = "lisbon") -> None:
        self.ready, self.name = ready, name
        self.site = ready["sites"][name]
        self.client = httpx.Client(trust_env=False)
        self.token = ""

    def sign_in(self, **form: str) -> httpx.Response:
        basic = (self.site["client_id"], self.site["client_secret"])
        asked = {"grant_type": "client_credentials", "scope": "printing", **form}
        return self.client.post(f"{self.site['ezeep_account_url']}/oauth/access_token/", data=asked, auth=basic)

    def call(self, method: str, path: str, content: object = None, **query: str | int) -> httpx.Response:
        service = "ezeep_account_url" if path.startswith("/v1/") else "ezeep_api_url"
        url = path if "://" in path else self.site[service] + path
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.client.request(method, url, json=content, params=query or None, headers=headers)

    def control(self, path: str, content: object = None, method: str = "POST") -> Any:
        answer = self.client.request(method, f"{self.ready['control_url']}/{path}", json=content)
        assert answer.status_code == 200, f"/control/{path}: {answer.text}"
        return answer.json()

    def refused(self, path: str, content: dict[str, Any]) -> str:
        answer = self.client.post(f"{self.ready['control_url']}/{path}", json={"site": self.name, **content})
        assert answer.status_code == 400, answer.text
        return answer.json()["error"]

    def do(self, deed: str, **content: object) -> dict[str, Any]:
        return self.control(deed, {"site": self.name, **content})

    def switch(self, **values: object) -> None:
        self.control("switches", values)

    def fault(self, match: str, action: str, **more: object) -> None:
        self.control("faults", {"target": self.name, "match": match, "action": action, **more})

    def state(self) -> dict[str, Any]:
        return self.control("state", method="GET")["sites"][self.name]

    def calls(self) -> dict[str, int]:
        return self.control("state", method="GET")["calls"]["sites"][self.name]

    def user(self, email: str) -> dict[str, Any]:
        return next(user for user in self.state()["users"] if user["email"] == email)

    def invite(self, email: str, expires: str = LATER) -> httpx.Response:
        return self.call("POST", "/v1/userinvitations/", {"email": email, "expire_date": expires})


@contextmanager
def running_ezeep(folder: Path, world: dict[str, Any] = WORLD) -> Generator[Ezeep]:
    """A sandbox in a process of its own, signed in to its first site."""
    with start(world, folder) as ready:
        ezeep = Ezeep(ready)
        with ezeep.client:
            ezeep.token = ezeep.sign_in().json()["access_token"]
            ezeep.control("calls", method="DELETE")
            yield ezeep


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ezeep]:
    with running_ezeep(tmp_path_factory.mktemp("ezeep")) as ezeep:
        yield ezeep


@pytest.fixture
def ezeep(running: Ezeep) -> Ezeep:
    """The people of the world, no faults, every switch at its default, and a fresh token."""
    running.switch(**{name: values[0] for name, values in SWITCHES.items()})
    running.control("world", {"sites": {"lisbon": {"users": SITE["users"]}}}, method="PUT")
    running.token = running.sign_in().json()["access_token"]
    running.control("calls", method="DELETE")
    return running


# Tokens -------------------------------------------------------------------------------------------------------------


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_client_credentials_bring_a_token_that_names_the_organisation(ezeep: Ezeep) -> None:
    answer = ezeep.sign_in()
    given = answer.json()
    assert (answer.status_code, given["token_type"], given["expires_in"], given["scope"]) == (200, "Bearer", 3600, "")
    assert "refresh_token" not in given
    said = claims(given["access_token"])
    assert set(said) == {"iss", "exp", "iat", "scopes", "sub", "org"}
    assert (said["org"], said["exp"] - said["iat"]) == (ezeep.site["organization_id"], 3600)
    listed = ezeep.call("GET", "/v1/organizations/").json()["results"]
    assert listed == [{"id": ezeep.site["organization_id"], "name": "Lisbon"}]


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "none"}, 400, "invalid_grant"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"scope": "everything"}, 400, "invalid_scope"),
    ],
)
def test_a_token_is_refused(ezeep: Ezeep, form: dict[str, str], status: int, error: str) -> None:
    answer = ezeep.sign_in(**form)
    assert (answer.status_code, answer.json()) == (status, {"error": error})
    assert answer.headers["x-sandbox-invention"] == "body of an error"


def test_an_unknown_client_gets_no_token(ezeep: Ezeep) -> None:
    url, form = f"{ezeep.site['ezeep_account_url']}/oauth/access_token/", {"grant_type": "client_credentials"}
    assert ezeep.client.post(url, data=form).status_code == 401
    assert ezeep.client.post(url, data=form, auth=(ezeep.site["client_id"], "wrong")).status_code == 401
    basic = (ezeep.site["client_id"], ezeep.site["client_secret"])
    assert ezeep.client.post(url, json=form, auth=basic).status_code == 400, "a form is wanted"


def test_a_refresh_token_works_once_and_brings_the_next(ezeep: Ezeep) -> None:
    ezeep.switch(ezeep_refresh_token="with_client_credentials")
    first = ezeep.sign_in().json()["refresh_token"]
    second = ezeep.sign_in(grant_type="refresh_token", refresh_token=first).json()
    assert second["access_token"]
    assert second["refresh_token"] != first
    assert ezeep.sign_in(grant_type="refresh_token", refresh_token=first).status_code == 400
    assert ezeep.sign_in(grant_type="refresh_token", refresh_token=second["refresh_token"]).status_code == 200


def test_a_call_needs_a_token_that_is_not_over(ezeep: Ezeep) -> None:
    assert ezeep.call("GET", "/v1/users/").status_code == 200
    ezeep.token = ezeep.token[:-2]
    assert ezeep.call("GET", "/v1/users/").status_code == 401
    ezeep.token = ezeep.sign_in().json()["access_token"]
    ezeep.control("clock", {"advance_seconds": 3601})
    assert ezeep.call("GET", "/printing/v1/groups/").status_code == 401


def test_scopes_are_asked_for_when_the_switch_says_so(ezeep: Ezeep) -> None:
    assert ezeep.call("GET", "/webhooks/endpoints").status_code == 200
    ezeep.switch(ezeep_scopes="enforce")
    assert ezeep.call("GET", "/webhooks/endpoints").status_code == 403
    ezeep.token = ezeep.sign_in(scope="printing webhooks.readonly").json()["access_token"]
    assert ezeep.call("GET", "/webhooks/endpoints").status_code == 200
    assert ezeep.call("POST", "/webhooks/endpoints", {}).status_code == 403


# Users and invitations ----------------------------------------------------------------------------------------------


def test_an_invitation_makes_an_unverified_user_and_a_first_login_verifies(ezeep: Ezeep) -> None:
    answer = ezeep.invite("cleo@example.com")
    invitation = answer.json()
    assert answer.status_code == 201
    assert (invitation["invitation_status"], invitation["delivery_status"]) == ("OPEN", "SENT")
    assert invitation["expire_date"] == LATER + "Z"
    user = ezeep.call("GET", "/v1/users/").json()["results"][-1]
    assert (user["email"], user["is_verified"], user["id_profile"]) == ("cleo@example.com", False, None)
    assert user["user_invitations"] == [invitation]
    ezeep.do("accept", email="Cleo@example.com")
    user = ezeep.call("GET", f"/v1/users/{user['id']}").json()
    assert (user["is_verified"], user["user_invitations"][0]["invitation_status"]) == (True, "ACCEPTED")
    assert user["id_profile"]["preferred_username"] == "cleo@example.com"
    assert set(user) == {
        "id", "email", "first_name", "last_name", "display_name", "date_joined", "azure_profile", "id_profile",
        "user_invitations", "roles", "is_verified",
    }  # fmt: skip
    refused = ezeep.call("PATCH", f"/v1/userinvitations/{invitation['id']}/")
    assert refused.json() == {"invitation_status": ["The invitation was accepted."]}


def test_an_invitation_expires_and_is_open_again_when_it_is_resent(ezeep: Ezeep) -> None:
    now = ezeep.control("clock", method="GET")["now"][:19]
    number = ezeep.invite("dora@example.com", now).json()["id"]
    assert ezeep.user("dora@example.com")["invitations"][0]["invitation_status"] == "EXPIRED"
    assert "resend" in ezeep.refused("accept", {"email": "dora@example.com"})
    answer = ezeep.call("PATCH", f"/v1/userinvitations/{number}", {"expire_date": "2030-01-01T00:00:00"})
    assert answer.json() == {"id": number}
    assert "x-sandbox-invention" in answer.headers
    listed = ezeep.call("GET", "/v1/userinvitations/").json()["results"]
    assert {each["email"]: each["invitation_status"] for each in listed}["dora@example.com"] == "OPEN"
    assert ezeep.state()["mails"]["dora@example.com"] == 2
    assert ezeep.do("accept", email="dora@example.com")["is_verified"]


def test_an_address_that_is_in_use_cannot_be_invited(ezeep: Ezeep) -> None:
    answer = ezeep.invite("anna@example.com")
    assert (answer.status_code, list(answer.json())) == (400, ["email"])
    assert answer.headers["x-sandbox-invention"] == "refusal of a second invitation"
    ezeep.switch(ezeep_duplicate_invitation="refuse_409")
    assert ezeep.invite("anna@example.com").status_code == 409
    ezeep.switch(ezeep_duplicate_invitation="again")
    assert ezeep.invite("ben@example.com").status_code == 201
    assert len(ezeep.user("ben@example.com")["invitations"]) == 2
    ezeep.switch(foreign_account=["Eve@example.com"])
    foreign = ezeep.invite("eve@example.com")
    assert (foreign.status_code, "another ezeep account" in foreign.text) == (400, True)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"expire_date": LATER}, "email"),
        ({"email": "nobody", "expire_date": LATER}, "email"),
        ({"email": "a b@example.com", "expire_date": LATER}, "email"),
        ({"email": ["f@example.com"], "expire_date": LATER}, "email"),
        ({"email": "f@example.com"}, "expire_date"),
        ({"email": "f@example.com", "expire_date": "soon"}, "expire_date"),
        ({"email": "f@example.com", "expire_date": 5}, "expire_date"),
        (["f@example.com"], "non_field_errors"),
    ],
)
def test_an_invitation_without_sense_names_the_field(ezeep: Ezeep, content: object, field: str) -> None:
    answer = ezeep.call("POST", "/v1/users/userinvitations/", content)
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert len(ezeep.state()["users"]) == 2


def test_a_user_is_changed_deleted_and_invited_again_with_another_id(ezeep: Ezeep) -> None:
    number = ezeep.user("ben@example.com")["id"]
    changed = ezeep.call("PATCH", f"/v1/users/{number}/", {"first_name": "Ben", "last_name": "Bo", "roles": "admin"})
    assert (changed.json()["display_name"], changed.json()["roles"]) == ("Ben Bo", ["admin"])
    senseless: list[dict[str, object]] = [
        {"email": "ANNA@example.com"}, {"roles": ["king"]}, {"first_name": 5}, {"roles": []},
    ]  # fmt: skip
    for wrong in senseless:
        assert ezeep.call("PATCH", f"/v1/users/{number}/", wrong).status_code == 400
    assert ezeep.call("PATCH", f"/v1/users/{number}/", {"email": "ben.bo@example.com"}).status_code == 200
    gone = ezeep.call("DELETE", f"/v1/users/{number}/")
    assert (gone.status_code, gone.content, "x-sandbox-invention" in gone.headers) == (204, b"", True)
    assert ezeep.call("DELETE", f"/v1/users/{number}/").status_code == 404
    assert ezeep.call("GET", f"/printing/v1/users/{number}/").status_code == 404
    ezeep.invite("ben.bo@example.com")
    assert ezeep.user("ben.bo@example.com")["id"] != number


def test_lists_come_in_pages_that_lead_to_the_next(ezeep: Ezeep) -> None:
    for number in range(3):
        ezeep.invite(f"guest{number}@example.com")
    ezeep.switch(ezeep_page_size=2)
    found, pages, url = list[str](), 0, "/v1/users/"
    while url:
        page = ezeep.call("GET", url).json()
        assert page["count"] == 5
        found, pages, url = found + [user["email"] for user in page["results"]], pages + 1, page["next"]
    assert (pages, len(set(found))) == (3, 5)
    assert ezeep.call("GET", "/v1/users/", page=2, per_page=1).json()["previous"].endswith("page=1&per_page=1")
    assert ezeep.call("GET", "/v1/users/", page=9).status_code == 404
    assert ezeep.call("GET", "/printing/v1/users/", limit=1).json()["next"].endswith("limit=1&offset=1")


# Groups and printers ------------------------------------------------------------------------------------------------


def test_putting_a_user_replaces_all_groups(ezeep: Ezeep) -> None:
    number = ezeep.user("Anna@example.com")["id"]
    groups = {group["name"]: group["id"] for group in ezeep.call("GET", "/printing/v1/groups/").json()["results"]}
    assert ezeep.call("GET", f"/printing/v1/users/{number}").json()["groups"] == [{"group_id": groups["staff"]}]
    wanted = {"groups": [{"group_id": groups["printbridge"]}]}
    assert ezeep.call("PUT", f"/printing/v1/users/{number}/", wanted).json()["groups"] == wanted["groups"]
    assert ezeep.user("Anna@example.com")["groups"] == ["printbridge"]
    for wrong in ({}, {"groups": None}, {"groups": [{"group_id": "none"}]}, {"groups": ["staff"]}):
        assert ezeep.call("PUT", f"/printing/v1/users/{number}/", wrong).status_code == 400
    assert ezeep.user("Anna@example.com")["groups"] == ["printbridge"]
    ezeep.call("PUT", f"/printing/v1/users/{number}/", {"groups": []})
    assert ezeep.user("Anna@example.com")["groups"] == []


def test_people_who_have_not_logged_in_may_be_unknown_to_printing(ezeep: Ezeep) -> None:
    number = ezeep.user("ben@example.com")["id"]
    assert ezeep.call("PUT", f"/printing/v1/users/{number}/", {"groups": []}).status_code == 200
    ezeep.switch(ezeep_invited_in_printing="no")
    assert ezeep.call("PUT", f"/printing/v1/users/{number}/", {"groups": []}).status_code == 404
    assert ezeep.call("GET", "/printing/v1/users/").json()["count"] == 1


def test_groups_are_made_changed_and_deleted(ezeep: Ezeep) -> None:
    new = {"name": "night", "organization_id": ezeep.site["organization_id"], "description": "late"}
    made = ezeep.call("POST", "/printing/v1/groups/", new).json()
    assert (made["origin"], made["num_members"], made["num_printers"]) == ({"provider": "ezeep"}, 0, 2)
    url = f"/printing/v1/groups/{made['id']}/"
    assert ezeep.call("PATCH", url, {"name": "late", "myprinters_enabled": True}).json()["name"] == "late"
    for wrong in ({"name": "x" * 256}, {"name": ""}, {"organization_id": "other"}, {"local_printing_enabled": "yes"}):
        assert ezeep.call("POST", "/printing/v1/groups/", new | wrong).status_code == 400
    ezeep.switch(ezeep_group_names="unique")
    assert ezeep.call("POST", "/printing/v1/groups/", new | {"name": "late"}).status_code == 400
    number = ezeep.user("Anna@example.com")["id"]
    ezeep.call("PUT", f"/printing/v1/users/{number}/", {"groups": [{"group_id": made["id"]}]})
    assert ezeep.call("GET", url).json()["num_members"] == 1
    assigned = ezeep.call("GET", "/printing/v1/assignments", group=made["id"]).json()["results"]
    assert [each["printer_name"] for each in assigned][:2] == ["Front", "Back"]
    assert ezeep.call("DELETE", url).status_code == 204
    assert (ezeep.call("GET", url).status_code, ezeep.user("Anna@example.com")["groups"]) == (404, [])
    assert [each["name"] for each in ezeep.call("GET", "/printing/v1/printers/").json()["results"]][:1] == ["Front"]


# Paths, counts, other systems ---------------------------------------------------------------------------------------


def test_a_collection_wants_its_slash(ezeep: Ezeep) -> None:
    moved = ezeep.call("GET", "/v1/users")
    assert (moved.status_code, moved.headers["location"]) == (301, f"{ezeep.site['ezeep_account_url']}/v1/users/")
    ezeep.switch(ezeep_slash="serve")
    assert ezeep.call("GET", "/v1/users").status_code == 200


def test_what_is_not_served_is_said_so(ezeep: Ezeep) -> None:
    assert ezeep.call("GET", "/v1/scim/").status_code == 404
    assert ezeep.call("GET", "/v1/users/none").json() == {"detail": "Not found."}
    assert ezeep.call("PUT", "/v1/users/").status_code == 405
    headers = {"Authorization": f"Bearer {ezeep.token}"}
    broken = ezeep.client.post(f"{ezeep.site['ezeep_account_url']}/v1/userinvitations/", content=b"{", headers=headers)
    assert (broken.status_code, broken.json()) == (400, {"detail": "JSON parse error"})


def test_calls_are_counted_by_short_names(ezeep: Ezeep) -> None:
    number = ezeep.user("ben@example.com")["id"]
    ezeep.sign_in()
    ezeep.invite("guest@example.com")
    ezeep.call("POST", "/v1/users/userinvitations/", {})
    ezeep.call("GET", "/v1/users/")
    ezeep.call("GET", f"/v1/users/{number}/")
    ezeep.call("PUT", f"/printing/v1/users/{number}", {})
    ezeep.call("POST", "/reporting/reports", {})
    assert ezeep.calls() == {
        "POST access_token": 1, "POST userinvitations": 2, "GET users": 2, "PUT printing/users": 1, "POST reports": 1,
    }  # fmt: skip


def test_control_says_what_is_for_the_other_print_system(ezeep: Ezeep) -> None:
    for deed in ("papercut", "export"):
        assert f"/control/{deed} is not for the print system of site 'lisbon'" in ezeep.refused(deed, {})
    answer = ezeep.client.post(f"{ezeep.ready['nexudus_url']}/sites/lisbon/rpc/api/xmlrpc", content=b"")
    assert (answer.status_code, answer.text) == (404, "no site lisbon with a PaperCut server")
    for path in ("lisbon/other/v1/users/", "nowhere/account/v1/users/"):
        assert ezeep.client.get(f"{ezeep.ready['nexudus_url']}/sites/{path}").status_code == 404


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ({"system": "xerox"}, "papercut or ezeep, not 'xerox'"),
        ({"system": "ezeep", "users": [{"email": "a@example.com"}, {"email": "A@example.com"}]}, "address of his own"),
        ({"system": "ezeep", "organization_id": "none"}, "badly formed"),
    ],
)
def test_a_site_that_can_not_be_says_why(tmp_path: Path, site: dict[str, Any], reason: str) -> None:
    with pytest.raises(DidNotStartError, match=reason), start({"sites": {"lisbon": site}}, tmp_path):
        pass


def test_the_reports_are_found_from_wherever_the_ready_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running_ezeep(Path("here")) as ezeep:
        assert ezeep.site["reports_folder"] == str(tmp_path / "here" / "lisbon-reports")
