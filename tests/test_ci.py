"""The files around the code: what a fresh machine, a pipeline and an administrator start from."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from bitrix_sync import __version__

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normal(requirement: str) -> str:
    """The name of a package as the lock file has it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", requirement)[0]).lower()


def test_the_pipeline_is_one_script_that_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().splitlines()[0] == "#!/usr/bin/env bash"


@pytest.mark.parametrize("target", ["test", "lint", "demo", "chaos", "bench"])
def test_every_target_installs_what_it_needs_first(target: str) -> None:
    assert re.search(rf"^{target}: install(?: \$\(SANDBOX\))?$", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("requirement", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_every_dependency_is_locked(requirement: str) -> None:
    assert re.search(rf"^{re.escape(normal(requirement))}==", LOCK, re.MULTILINE)


def test_the_lock_names_versions_and_hashes_and_no_place_to_get_them_from() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK.partition("\n#\n")[2])
    assert [entry.split()[0] for entry in entries if re.match("[a-z]", entry) and "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?://|file://|--(?:extra-)?index-url|--find-links|--trusted-host|^\s+#.*/work/", LOCK) == []


def test_the_changelog_knows_this_version() -> None:
    newest = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert re.fullmatch(rf"(?:Unreleased: )?{re.escape(__version__)}(?: \(\d{{4}}-\d\d-\d\d\))?", newest)


def test_a_filled_env_file_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert ".env" in ignored
    assert ".env.*" not in ignored
    assert (ROOT / ".env.example").exists()
