"""What installs the program elsewhere: the wheel, the image, the units of systemd; without a daemon of Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from bitrix_sync import __version__

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNITS = sorted((ROOT / "deploy").glob("bitrix-sync*.*"))
SOURCES = ("bitrix_sync", "webhooks")
KEYS = {
    *("profiles", "build", "image", "restart", "ports", "environment", "secrets", "volumes", "depends_on"),
    *("healthcheck", "read_only", "tmpfs", "cap_drop", "security_opt", "stop_grace_period", "network_mode"),
    *("command", "deploy"),
}
WITHOUT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
sys.modules |= dict.fromkeys(("bitrix_sandbox", "psycopg", "cryptography", "procrastinate"))
from bitrix_sync.cli import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "scheduler.py"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder, folder / "source"], check=True, stderr=subprocess.DEVNULL)
    [made] = folder.glob("*.whl")
    zipfile.ZipFile(made).extractall(folder / "here")
    return folder / "here"


def test_the_wheel_is_the_program_whole_and_nothing_else(wheel: Path) -> None:
    there = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    ours = {
        str(path.relative_to(ROOT))
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in there if ".dist-info/" not in name} == {*ours, "scheduler.py"}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--version", 0, __version__),
        ("schema", 0, '"$schema"'),
        ("init", 1, ".env"),
        ("check --offline", 1, "rules"),
        ("worker", 1, "pip install"),
    ],
)
def test_it_works_without_sandbox_and_extra(wheel: Path, workdir: Path, words: str, code: int, told: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, wheel, *words.split()], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, told in ran.stdout + ran.stderr) == (code, True), ran.stdout + ran.stderr


def test_the_image_is_pinned_and_works_for_no_administrator() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert {base for base in bases if base not in stages} == {"python:3.11-slim-bookworm"}
    assert DOCKERFILE.index("\nUSER 10001") < DOCKERFILE.index("\nENTRYPOINT")
    assert "--require-hashes" in DOCKERFILE
    assert "/healthz" in DOCKERFILE


def test_what_the_image_takes_is_there_and_not_kept_back() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    taken = [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    assert set(taken) == allowed
    assert [name for name in taken if not (ROOT / name).exists()] == []


def test_compose_names_only_what_there_is() -> None:
    stages = re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE)
    services = COMPOSE["services"]
    assert {"demo", "single"} <= {name for one in services.values() for name in one["profiles"]}
    for name, one in services.items():
        assert set(one) <= KEYS, name
        assert ("image" in one) != ("build" in one), name
        assert ":" in one.get("image", ":"), name
        assert one.get("build", {}).get("target", "service") in stages, name
        assert set(one.get("depends_on", ())) <= set(services), name
        assert set(one.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        for volume in one.get("volumes", ()):
            source = volume.split(":")[0]
            known = source in COMPOSE["volumes"] or source == "./standards" or (ROOT / source).is_file()
            assert known, volume
        if "build" in one:
            assert one["read_only"] is True, name
            assert one["cap_drop"] == ["ALL"], name


def test_scripts_of_the_folder_are_scripts() -> None:
    for script in (ROOT / "deploy").glob("*.sh"):
        subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/bitrix-sync/.venv/bin/bitrix-sync", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("/usr/bin/curl", "/bin/true"))
    ran = subprocess.run(
        ["systemd-analyze", "verify", *tmp_path.iterdir()], capture_output=True, text=True, check=False
    )
    assert [line for line in ran.stderr.splitlines() if str(tmp_path) in line] == []
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("language", ["en", "ru"])
def test_administrators_are_told_of_every_file(language: str) -> None:
    told = (ROOT / "docs" / language / "operation.md").read_text(encoding="utf-8")
    assert [unit.name for unit in UNITS if f"deploy/{unit.name}" not in told] == []
