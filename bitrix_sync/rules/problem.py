"""What is wrong with a rules file, and where: one line for an administrator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import PydanticCustomError

from bitrix_sync.words.usage import fault_text

Path = tuple[str | int, ...]
"""Where something stands in the file: keys and, in lists, indexes from 0."""
REFUSAL = "refusal"
"""Type of the errors that are complete: ``wrong`` and ``cure`` in their context."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at a path of the file: with the value there or, if ``key``, with its key. ``cure``: what to write
    instead. ``at``: line and column, where they are not those of the path. ``grave``: of a warning that nothing will
    come of what the file asks for."""

    path: Path
    wrong: str
    cure: str = ""
    key: bool = False
    at: tuple[int, int] | None = None
    grave: bool = False


@dataclass(slots=True)
class Remarks:
    """What has been found so far: faults refuse a file, warnings do not."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, wrong: str, cure: str = "", *, key: bool = False) -> None:
        """Something is wrong."""
        self.faults.append(Fault(path, wrong, cure, key))

    def warn(self, path: Path, wrong: str, cure: str = "", *, key: bool = False, grave: bool = False) -> None:
        """Something is worth knowing."""
        self.warnings.append(Fault(path, wrong, cure, key, grave=grave))


@dataclass(frozen=True, slots=True)
class Problem:
    """``rules.yaml:14:9: funnels > Продажи > Договор > contract > deadline: what is wrong. What to write instead.``

    ``line`` and ``column`` count from 1; ``path`` is the part before the text, already worded ("" for the file as a
    whole); ``cure`` may be "". ``grave``: see ``Fault``.
    """

    file: str
    line: int
    column: int
    path: str
    wrong: str
    cure: str = ""
    grave: bool = False

    def __str__(self) -> str:
        path = f"{self.path}:" if self.path else ""
        text = " ".join(part for part in (path, self.wrong, self.cure) if part)
        return f"{self.file}:{self.line}:{self.column}: {' '.join(text.split())}"

    def said(self, language: str) -> str:
        """The line in a language."""
        return str(replace(self, wrong=fault_text(language, self.wrong), cure=fault_text(language, self.cure)))


# --- words -----------------------------------------------------------------------------------------------------------


def refusal(wrong: str, cure: str = "") -> PydanticCustomError:
    """An error whose words are complete."""
    return PydanticCustomError(REFUSAL, "{wrong} {cure}", {"wrong": wrong, "cure": cure})


def show(value: Any) -> str:
    """A value of the file in a message: short, as it would be written."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"`{clipped(str(value))}`"


def clipped(text: str) -> str:
    """A text of the file in a message, not too long."""
    return text if len(text) <= 60 else text[:59] + "…"


def capitalized(value: Any) -> str:
    """A value at the beginning of a sentence."""
    text = show(value)
    return text[:1].upper() + text[1:]
