"""What of the documents is made from the program: the tables of keys in ``docs/*/rules.md``, those of the reports in
the READMEs, the JSON Schema.

``make docs`` writes them anew; a test holds that they are up to date. A table stands below ``<!-- keys: task -->``, for
the keys of a task. What a key means is its description where it is declared, in English; another language says it in
``KEYS`` of its file of words. A key that has no plain value where it is left out says what is so then: in English
behind "; default: ", else behind " | ".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from bitrix_sync.report import REPORTS
from bitrix_sync.rules.file import SECTIONS
from bitrix_sync.rules.forms import Timed
from bitrix_sync.rules.plain_keys import DEFAULTS
from bitrix_sync.rules.schema import json_schema
from bitrix_sync.words import texts
from bitrix_sync.words.language import KEYS

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "bitrix_sync/rules/rules.schema.json"
PAGES = {path.parent.name: path for path in sorted(ROOT.glob("docs/*/rules.md"))}
READMES = {"en": ROOT / "README.md", "ru": ROOT / "README.ru.md"}
ENGLISH = {"required": "required", "none": "none"}
LAST = {*DEFAULTS, *Timed.model_fields, "else"}
TABLE = re.compile(r"(<!-- keys: (\w+) -->\n\n\|[^\n]*\n\|[^\n]*\n)(?:\|[^\n]*\n)*")
REPORT_TABLE = re.compile(r"(<!-- reports -->\n\n\|[^\n]*\n\|[^\n]*\n)(?:\|[^\n]*\n)*")


def table(section: str, language: str) -> str:
    """The rows of a section's keys; those that every task or deadline can have stand in the end."""
    fields = {one.alias or name: one for kind in SECTIONS[section] for name, one in kind.model_fields.items()}
    keys = sorted(fields, key=lambda key: key in LAST)
    return "".join(row(section, key, fields[key], KEYS.get(language, {})) for key in keys)


def row(section: str, key: str, field: FieldInfo, said: Mapping[str, str]) -> str:
    """One key: what it means, and what is so without it."""
    meaning, _, without = (field.description or "").partition("; default: ")
    if (other := said.get(f"{section}.{key}")) is not None:
        meaning, _, without = other.partition(" | ")
    words = {**ENGLISH, **said}
    if field.is_required() and len(SECTIONS[section]) == 1:
        without = words["required"]
    elif not without:
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        plain = isinstance(default, str | int) and default != ""
        without = f"`{str(default).lower() if isinstance(default, bool) else default}`" if plain else words["none"]
    return f"| `{key}` | {meaning} | {without} |\n"


def reports(language: str) -> str:
    """The rows of the reports: what each shows, and its keys."""
    return "".join(
        f"| `{one.name}` | {texts.phrase(language, f'report.about.{one.name}')} | "
        f"{' '.join(f'`--{name}`' for name in one.takes) or '—'} | {', '.join(f'`{key}`' for key in one.keys)} |\n"
        for one in REPORTS.values()
    )


def pages() -> dict[Path, str]:
    """Every file that holds something made from the program, as it should be."""
    made = {SCHEMA: json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"}
    for language, path in PAGES.items():
        text = path.read_text(encoding="utf-8")
        made[path] = TABLE.sub(lambda found, language=language: found[1] + table(found[2], language), text)
    for language, path in READMES.items():
        text = path.read_text(encoding="utf-8")
        made[path] = REPORT_TABLE.sub(lambda found, language=language: found[1] + reports(language), text)
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
