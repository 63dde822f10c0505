"""rules.yaml from text to rules: read, judged, bound; every problem at once, each with its place. Pure.

``load`` goes through the same steps whatever is wrong: the YAML (``yaml.py``), the shape (``validation.py``), the sense
(``consistency.py``), the portal's names (``bind.py``), what is worth knowing (``advice.py``). Each step judges what the
one before could read, so one run tells all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from bitrix_sync.model.facts import Directory
from bitrix_sync.rules import advice, validation
from bitrix_sync.rules.bind import bind
from bitrix_sync.rules.consistency import MAX_CODE, judge, too_much_code, warn_of_past
from bitrix_sync.rules.file import File, stages, templates
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.problem import Fault, Problem, Remarks
from bitrix_sync.rules.punctuation import COMMENT, CURLY_QUOTES, in_curly
from bitrix_sync.rules.suggest import sparing
from bitrix_sync.rules.tree import Node, crumbs, place, walk
from bitrix_sync.rules.yaml import Unreadable, read
from bitrix_sync.words.language import DEFAULT, named

MOST_SHOWN = 200
"""Problems of a file that are told one by one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of loading. ``rules``: None when there are errors, or no directory to bind to. ``errors`` and
    ``warnings`` in the order of the file. ``bindings``: what every name of the file means, to be given to the next
    ``load``; empty when there are no rules. ``language``: the file's, though it cannot be read."""

    rules: Rules | None
    errors: list[Problem]
    warnings: list[Problem]
    bindings: dict[str, str] = field(default_factory=dict)
    language: str = DEFAULT

    def refusals(self) -> list[str]:
        """The errors in the file's language."""
        return [problem.said(self.language) for problem in self.errors]

    def remarks(self) -> list[str]:
        """The warnings in the file's language."""
        return [problem.said(self.language) for problem in self.warnings]


def load(
    text: str,
    name: str = "rules.yaml",
    *,
    directory: Directory | None = None,
    bindings: Mapping[str, str] = MappingProxyType({}),
    now: datetime | None = None,
) -> Loaded:
    """Load the text of a rules file; ``name`` is what problems call it. Never raises for what the text says.

    ``directory``: what names can mean; None: only what needs no portal is judged, and there are no rules. ``bindings``:
    those of earlier loads; with them a name stays with its id after a rename, and what disappeared since disables the
    rules that need it instead of being an error. ``now``: days before it are past.
    """
    with sparing():
        return replace(_load(text, name, directory, bindings, now), language=named(text))


def _load(
    text: str, name: str, directory: Directory | None, bindings: Mapping[str, str], now: datetime | None
) -> Loaded:
    try:
        root = read(text)
    except Unreadable as fault:
        return Loaded(None, [Problem(name, fault.line, fault.column, "", fault.wrong, fault.cure)], [])
    shaped = validation.check(root)
    remarks = Remarks(faults=list(shaped.faults))
    if shaped.file is None:
        return Loaded(None, _problems(remarks.faults, root, name), [])
    if too_much_code(shaped.file):
        wrong = f"The templates of the file hold more than {MAX_CODE} characters in braces."
        remarks.fault(("funnels",), wrong, "Make them simpler, or fewer.", key=True)
        return Loaded(None, _problems(remarks.faults, root, name), [])
    _warn_of_texts(shaped.file, root, remarks)
    judge(shaped.file, root.data, remarks, offline=directory is None)
    warn_of_past(shaped.file, now, remarks)
    if directory is None:
        return Loaded(None, _problems(remarks.faults, root, name), _problems(remarks.warnings, root, name))
    bound = bind(shaped.file, directory, bindings, remarks, digest=hashlib.sha256(text.encode()).hexdigest()[:16])
    if bound.rules is not None and not remarks.faults:
        advice.remark(shaped.file, bound.rules, directory, remarks, bound=bound.bindings, paths=bound.paths)
    errors, warnings = (_problems(found, root, name) for found in (remarks.faults, remarks.warnings))
    if errors or bound.rules is None:
        return Loaded(None, errors, warnings)
    return Loaded(bound.rules, [], warnings, bound.bindings)


def _warn_of_texts(file: File, root: Node, remarks: Remarks) -> None:
    """Texts that end where a comment begins, which may have been meant to be text, and those in typographic quotes,
    which may have been meant to be none of it."""
    for placed in stages(file):
        for index, task in enumerate(placed.stage.tasks):
            for path, text in (*templates(task), *((("tags", at), tag) for at, tag in enumerate(task.tags))):
                where = (*placed.tasks_path, index, *path)
                if walk(root, where).cut:
                    remarks.warn(where, *COMMENT)
                if in_curly(text):
                    remarks.warn(where, *CURLY_QUOTES)


def _problems(faults: Iterable[Fault], root: Node, name: str) -> list[Problem]:
    """Faults with their places, in the file's order, each once; of thousands the first, and how many more there are."""
    found: dict[Problem, None] = {}
    for fault in faults:
        line, column = fault.at or place(root, fault.path, key=fault.key)
        found[Problem(name, line, column, crumbs(root, fault.path), fault.wrong, fault.cure, fault.grave)] = None
    problems = sorted(found, key=lambda problem: (problem.line, problem.column))
    if len(problems) <= MOST_SHOWN:
        return problems
    first, more = problems[:MOST_SHOWN], problems[MOST_SHOWN:]
    wrong = f"There are {len(more)} more like these from here on; they are not shown."
    cure, grave = "Correct the first ones, then look again.", any(problem.grave for problem in more)
    return [*first, Problem(name, more[0].line, more[0].column, "", wrong, cure, grave)]
