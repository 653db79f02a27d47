"""bridge.toml and the environment: what loads, and every message an operator can meet, word for word."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.configuration import load_settings, write_examples
from pipeline.domain.rules import SiteRules
from pipeline.errors import ConfigError
from pipeline.home import prepared_home
from pipeline.settings import (
    AlertSettings,
    EzeepSettings,
    JobsSettings,
    NewCustomerSettings,
    NexudusSettings,
    PaperCutSettings,
    PriceSettings,
    Settings,
    SiteSettings,
    secret,
)

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "bridge.example.toml").read_text("utf-8")
SECRETS = ("NEXUDUS_EMAIL", "NEXUDUS_PASSWORD", "PAPERCUT_TOKEN_LONDON", "PAPERCUT_DB_LONDON")
OPTIONAL = ("EZEEP_CLIENT_ID_LISBON", "EZEEP_CLIENT_SECRET_LISBON", "ALERT_SMTP_PASSWORD", "ALERT_WEBHOOK")

LEAST = """\
[sites.london]
business_id = 1
timezone = "Europe/London"
pricing_model = "free_unlimited"
charge_from = 2026-11-01T00:00:00Z
[sites.london.papercut]
url = "https://papercut.example:9192/rpc/api/xmlrpc"
token_env = "PAPERCUT_TOKEN_LONDON"
[sites.london.jobs]
source = "database"
uri_env = "PAPERCUT_DB_LONDON"
"""
"""The shortest configuration that loads."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, *OPTIONAL):
        monkeypatch.setenv(name, "a value")


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "bridge.toml"
    path.write_text(text, "utf-8")
    return load_settings(path)


def refusal(folder: Path, text: str) -> str:
    """The message for a configuration, with the folder left out."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


# --- the example files -----------------------------------------------------------------------------------------------


def test_the_example_loads(tmp_path: Path) -> None:
    settings = loaded(tmp_path, EXAMPLE)
    london = settings.site("london")
    assert settings.secret_names() == list(SECRETS)
    assert london.charge_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert (london.business_id, london.charge_product_id, london.credit_ids) == (396822437, 454005557, [1415386335])


SECTIONS: list[type[BaseModel]] = [
    Settings, NexudusSettings, AlertSettings, SiteSettings, PaperCutSettings, JobsSettings, NewCustomerSettings,
    EzeepSettings, PriceSettings,
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_the_example_with_a_comment(section: type[BaseModel]) -> None:
    for key in section.model_fields:
        table = re.search(rf"^(?:# )?\[+(sites\.\w+\.)?{key}(\.|\])", EXAMPLE, re.MULTILINE)
        line = re.search(rf"^(# )?{key} = .*$", EXAMPLE, re.MULTILINE)
        assert table or line, f"bridge.example.toml lacks the key {key} of {section.__name__}"
        if line:
            assert line.group().count("#") > line.group().startswith("# "), f"say in a comment what {key} does"


def test_what_the_example_shows_is_the_default(tmp_path: Path) -> None:
    """An operator who deletes a line gets what the line said."""
    example, least = loaded(tmp_path, EXAMPLE), loaded(tmp_path, LEAST)
    for key in ("mode", "every", "complete_read_minutes", "keep_runs_days", "nexudus", "alerts"):
        assert getattr(example, key) == getattr(least, key), key
    chosen = {"business_id", "timezone", "pricing_model", "charge_from", "charge_product_id", "credit_ids"}
    for key in SiteSettings.model_fields.keys() - chosen:
        assert getattr(example.site("london"), key) == getattr(least.site("london"), key), key


def test_every_key_that_is_commented_out_loads_too(tmp_path: Path) -> None:
    text = re.sub(r"^# (\w+ = |\[)", r"\1", EXAMPLE, flags=re.MULTILINE)
    settings = loaded(tmp_path, text)
    assert settings.secret_names() == [*SECRETS, *OPTIONAL]
    london, lisbon = settings.site("london"), settings.site("lisbon")
    assert (lisbon.ezeep, lisbon.rules("lisbon").prices) != (None, ())
    assert london.new_customers.members_free_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert london.papercut
    assert london.papercut.ca_file == tmp_path / "papercut.pem"


def test_the_example_of_the_environment_names_every_secret() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    assert re.findall(r"^([A-Z_]+)=$", text, re.MULTILINE) == list(SECRETS)
    assert re.findall(r"^# ([A-Z_]+)=$", text, re.MULTILINE) == list(OPTIONAL)
    assert set(re.findall(r'_env = "([A-Z_]+)"', EXAMPLE)) == {*SECRETS, *OPTIONAL}


def test_init_writes_both_files_and_never_over_others(tmp_path: Path) -> None:
    config, secrets = write_examples(tmp_path / "new" / "bridge.toml")
    assert config.read_text("utf-8") == EXAMPLE
    assert tomllib.loads(EXAMPLE)["mode"] == "apply"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    config.unlink()
    with pytest.raises(ConfigError, match=re.escape(f"{secrets} exists and is not overwritten. What to do: move it")):
        write_examples(config)
    assert not config.exists(), "nothing may be written when one of the two is there"


# --- messages --------------------------------------------------------------------------------------------------------

KEYS = "What to do: correct these keys in the file"


def site(**changes: str) -> str:
    """LEAST with changed or added lines in [sites.london]; an empty value takes the line away."""
    text = LEAST
    for key, value in changes.items():
        line = f"{key} = {value}\n" if value else ""
        text, found = re.subn(rf"^{key} = .*\n", line, text, flags=re.MULTILINE)
        if not found:
            text = text.replace("[sites.london]\n", f"[sites.london]\n{line}")
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"modee = 'apply'\n{LEAST}", "unknown key modee (did you mean mode?)"),
        (site(removall='"delete"'), "unknown key sites.london.removall (did you mean removal?)"),
        (site(colour='"blue"'), "unknown key sites.london.colour"),
        (
            site(url='"https://p.example"\ntokn_env = "T"'),
            "unknown key sites.london.papercut.tokn_env (did you mean token_env?)",
        ),
        (site(url=""), "missing key sites.london.papercut.url"),
        (site(business_id="", timezone=""), "missing key sites.london.business_id; missing key sites.london.timezone"),
        (f"mode = 'dry'\n{LEAST}", "mode: Input should be 'apply' or 'dry_run'"),
        (
            site(charge_from="2026-11-01T00:00:00"),
            "sites.london.charge_from: the time needs a zone, for example 2026-11-01T00:00:00Z",
        ),
        (
            site(timezone='"London"'),
            "sites.london.timezone: 'London' is not a time zone name such as Europe/London",
        ),
        (
            site(url='"http://papercut.example:9191/rpc/api/xmlrpc"'),
            "sites.london.papercut.url: plain http is allowed only on this machine; use https",
        ),
        (site(url='"papercut.example"'), "sites.london.papercut.url: not an http or https address"),
        (
            site(url='"https://me:secret@papercut.example/"'),
            "sites.london.papercut.url: an address must not hold a user name or password",
        ),
        (
            site(pricing_model='"pay_per_print"'),
            "sites.london: pricing_model 'pay_per_print' needs charge_product_id, the Nexudus product priced 0.01",
        ),
        (
            site(pricing_model='"credits_only"'),
            "sites.london: pricing_model 'credits_only' needs credit_ids, the Nexudus printing credit",
        ),
        (
            site(uri_env=""),
            "sites.london.jobs: source 'database' needs uri_env, the variable that holds the SQLAlchemy address",
        ),
        (site(source='"csv"'), "sites.london.jobs: source 'csv' needs path, the folder of the files"),
        (site(settle_minutes="1"), "sites.london.settle_minutes: Input should be greater than or equal to 2"),
        (
            LEAST.replace("sites.london", "sites.London"),
            "sites.London: the name of a site is a small letter, then small letters, digits or _, 31 in all",
        ),
        ("mode = 'apply'\n", "missing key sites"),
        ("[sites]\n", "sites: Dictionary should have at least 1 item after validation, not 0"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == f"bridge.toml: {message}. {KEYS}"


def test_all_problems_are_told_at_once_and_no_value_is_shown(tmp_path: Path) -> None:
    text = site(timezone='"secret-zone"', removal='"secret-word"', max_charge="0")
    said = refusal(tmp_path, text)
    assert [key for key in ("timezone", "removal", "max_charge") if f"sites.london.{key}:" in said] == [
        "timezone", "removal", "max_charge",
    ]  # fmt: skip
    assert "secret-word" not in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "bridge.toml")
    assert str(caught.value) == (
        f"There is no configuration file {tmp_path}/bridge.toml. What to do: run `printbridge init` to write an"
        " example, or name the file in PRINTBRIDGE_CONFIG"
    )


@pytest.mark.parametrize("content", [b"mode = apply", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bridge.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path} is not valid TOML: ")):
        load_settings(path)


def test_a_secret_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXUDUS_PASSWORD")
    monkeypatch.setenv("PAPERCUT_DB_LONDON", "")
    assert refusal(tmp_path, LEAST) == (
        "bridge.toml names environment variables that are not set: NEXUDUS_PASSWORD, PAPERCUT_DB_LONDON. What to do:"
        " set them in the environment or in the .env file beside bridge.toml"
    )
    monkeypatch.setenv("PAPERCUT_DB_LODON", "postgresql://")
    assert "NEXUDUS_PASSWORD, PAPERCUT_DB_LONDON (did you mean PAPERCUT_DB_LODON?)" in refusal(tmp_path, LEAST)
    with pytest.raises(ConfigError) as caught:
        secret("NEXUDUS_PASSWORD")
    assert str(caught.value) == (
        "The environment variable NEXUDUS_PASSWORD is not set. What to do: set NEXUDUS_PASSWORD in the environment or"
        " in the .env file beside bridge.toml"
    )


def test_the_env_file_beside_the_configuration_fills_what_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXUDUS_PASSWORD")
    monkeypatch.setenv("NEXUDUS_EMAIL", "from the environment")
    (tmp_path / ".env").write_text("NEXUDUS_PASSWORD=from the file\nNEXUDUS_EMAIL=from the file\n", "utf-8")
    loaded(tmp_path, LEAST)
    assert (secret("NEXUDUS_PASSWORD"), secret("NEXUDUS_EMAIL")) == ("from the file", "from the environment")


def test_a_site_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, LEAST).site("leeds")
    assert str(caught.value) == "There is no site 'leeds' in bridge.toml. What to do: use one of: london"


# --- values ----------------------------------------------------------------------------------------------------------


def test_the_rules_of_a_site_are_its_settings(tmp_path: Path) -> None:
    changes = {"removal": '"disable"', "rounding": '"up"', "licence_users": "7", "credit_ids": "[3, 4]"}
    text = site(**changes) + "[sites.london.new_customers]\nmembers_pay_from = 2026-11-02T01:00:00+01:00\n"
    assert loaded(tmp_path, text).site("london").rules("london") == SiteRules(
        name="london", business_id=1, timezone="Europe/London", pricing_model="free_unlimited",
        charge_from=datetime(2026, 11, 1, tzinfo=UTC), credit_ids=(3, 4), removal="disable", rounding="up",
        licence_users=7, members_pay_from=datetime(2026, 11, 2, tzinfo=UTC),
    )  # fmt: skip


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = site(source='"csv"\npath = "logs"', uri_env="")
    assert loaded(tmp_path, text).site("london").jobs.path == tmp_path / "logs"


def test_plain_http_is_allowed_on_this_machine(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9191/rpc/api/xmlrpc"
    assert loaded(tmp_path, site(url=f'"{url}"')).site("london").papercut.url == url


def test_the_state_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRINTBRIDGE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    before = os.umask(0o022)
    try:
        state = prepared_home()
    finally:
        os.umask(before)
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.path / "dagster.yaml").stat().st_mode) == 0o600
    assert os.environ["DAGSTER_HOME"] == str(state.path)
