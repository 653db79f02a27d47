"""bridge.toml: finding it, reading it, explaining what is wrong in it, and writing an example.

What belongs here: the file and the .env beside it. Every error names the file, the key and the remedy, and all of them
are reported at once. What does not: which keys there are and what they may be (`settings.py`).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
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
)


def config_path() -> Path:
    """The configuration file named by the environment."""
    return Path(os.environ.get("PRINTBRIDGE_CONFIG") or "bridge.toml")


def write_examples(path: Path) -> tuple[Path, Path]:
    """Write an example configuration to `path`, and a .env for its secrets beside it, readable by its owner only.

    Raises:
        ConfigError: one of the two files exists.
    """
    secrets = path.parent / ".env"
    for existing in (path, secrets):
        if existing.exists():
            raise ConfigError(f"{existing} exists and is not overwritten", "move it away first, or go on with it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_example("bridge.example.toml"), "utf-8")
    secrets.touch(mode=0o600)
    secrets.write_text(_example(".env.example"), "utf-8")
    return path, secrets


def _example(name: str) -> str:
    """The text of an example file: in a checkout beside the package, in an installed package inside it."""
    inside = Path(__file__).parent / name
    return (inside if inside.exists() else inside.parent.parent / name).read_text("utf-8")


def load_settings(path: Path | None = None) -> Settings:
    """Read and check the configuration; the .env file beside it is loaded first, never over what is already set.

    Args:
        path: the file; by default `PRINTBRIDGE_CONFIG`, else ./bridge.toml.

    Raises:
        ConfigError: the file is missing, is not TOML, has an unknown, missing or wrong key, or names a secret that is
            not in the environment. The message lists every problem.
    """
    path = path or config_path()
    load_dotenv(path.parent / ".env")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file {path}",
            "run `printbridge init` to write an example, or name the file in PRINTBRIDGE_CONFIG",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", "correct the line named here") from error
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_problems(error)), "correct these keys in the file") from None
    missing = [name for name in settings.secret_names() if not os.environ.get(name)]
    if missing:
        others = os.environ.keys() - settings.secret_names()
        near = {name: difflib.get_close_matches(name, others, n=1, cutoff=0.85) for name in missing}
        told = [f"{name} (did you mean {near[name][0]}?)" if near[name] else name for name in missing]
        raise ConfigError(
            f"{path} names environment variables that are not set: {', '.join(told)}",
            "set them in the environment or in the .env file beside bridge.toml",
        )
    return _with_absolute_paths(settings, path.parent.absolute())


def _problems(error: ValidationError) -> list[str]:
    """One sentence per problem, with the key as it stands in the file; never the value, it may be a secret."""
    sentences: list[str] = []
    for problem in error.errors(include_input=False, include_url=False):
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        key = ".".join(location)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(location[-1], _section(location).model_fields, n=1)
            sentences.append(f"unknown key {key}" + (f" (did you mean {near[0]}?)" if near else ""))
        elif problem["type"] == "string_pattern_mismatch" and location[:1] == ["sites"] and len(location) == 2:
            sentences.append(f"{key}: the name of a site is a small letter, then small letters, digits or _, 31 in all")
        elif problem["type"] == "missing":
            sentences.append(f"missing key {key}")
        else:
            sentences.append(f"{key or 'the file'}: {problem['msg'].removeprefix('Value error, ')}")
    return sentences


def _section(location: list[str]) -> type[BaseModel]:
    """The section of the file that a key stands in."""
    match location:
        case ["nexudus", _]:
            return NexudusSettings
        case ["alerts", _]:
            return AlertSettings
        case ["sites", _, _]:
            return SiteSettings
        case ["sites", _, name, *_] if name in _SECTIONS:
            return _SECTIONS[name]
        case _:
            return Settings


_SECTIONS: dict[str, type[BaseModel]] = {
    "papercut": PaperCutSettings, "ezeep": EzeepSettings, "prices": PriceSettings, "jobs": JobsSettings,
    "new_customers": NewCustomerSettings,
}  # fmt: skip
"""The sections of a site."""


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Paths in the file are relative to the file, whatever the working directory of the process that uses them."""
    changed: dict[str, Any] = {}
    for name, site in settings.sites.items():
        path, papercut = site.jobs.path, site.papercut
        if papercut and papercut.ca_file:
            papercut = papercut.model_copy(update={"ca_file": folder / papercut.ca_file})
        jobs = site.jobs.model_copy(update={"path": folder / path if path else None})
        changed[name] = site.model_copy(update={"papercut": papercut, "jobs": jobs})
    return settings.model_copy(update={"sites": changed})
