"""A YAML text read into a tree (``tree.py``). Pure; raises nothing but ``Unreadable``, whatever the text.

Scanner and grammar are libyaml's, taken event by event; what is wrong with a text is worded by PyYAML's own scanner,
which tells the place better, unless it is too far down to be waited for. What a scalar means is decided here, by the
core schema of YAML 1.2, so that ``on``, ``yes``, ``09:00`` and ``2026-12-31`` stay the text that was written. Keys are
text always.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from bitrix_sync.rules.punctuation import NO_DASH, Slip, slip
from bitrix_sync.rules.scalars import comparison
from bitrix_sync.rules.tree import Node, Repeated

MAX_LENGTH = 1_000_000
"""Characters of a file: some five thousand rules."""
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Values of a file, those repeated by aliases counted each time."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it, as its wheels are."""
WORDED = 50_000
"""Characters before a fault that are read once more to word it."""

MERGE = "<<"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?")
_NAME = re.compile(r"[^\s,\[\]{}]*")
_TIGHT_COMMENT = re.compile(r"[ \t]+#[^\s#]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):
    """The text is no YAML, or none that a rules file may be. ``line`` and ``column`` from 1."""

    def __init__(self, line: int, column: int, wrong: str, cure: str) -> None:
        super().__init__(wrong)
        self.line, self.column, self.wrong, self.cure = line, column, wrong, cure


def read(text: str) -> Node:
    """The tree of a text that holds one YAML document. Raises ``Unreadable``."""
    if len(text) > MAX_LENGTH:
        raise Unreadable(1, 1, f"The file is longer than {MAX_LENGTH} characters.", "Is it the right file?")
    text = text.replace("\r\n", "\n")
    if (odd := _UNPRINTABLE.search(text)) is not None:
        before = text[: odd.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        wrong = f"A character that no text file may hold stands here (U+{ord(odd[0]):04X})."
        raise Unreadable(line, column, wrong, "Delete it.")
    try:
        return _Builder(_LOADER(text), text.split("\n")).document()
    except MarkedYAMLError as fault:
        raise _unreadable(text, _worded_fault(text, fault)) from None
    except YAMLError:
        raise Unreadable(1, 1, "YAML cannot be read here.", _LOOK) from None


def _worded_fault(text: str, fault: MarkedYAMLError) -> MarkedYAMLError:
    """The fault as PyYAML's own scanner words it, if that stumbles too."""
    mark = fault.problem_mark or fault.context_mark
    if mark is None or mark.index > WORDED or _NESTED in str(fault.problem):
        return fault
    loader: Any = yaml.SafeLoader(text[: mark.index + WORDED])
    try:
        while loader.check_event():
            loader.get_event()
    except MarkedYAMLError as worded:
        return worded
    except YAMLError:
        pass
    return fault


def _unreadable(text: str, fault: MarkedYAMLError) -> Unreadable:
    mark = fault.problem_mark or fault.context_mark
    if fault.context_mark is not None and str(fault.problem) in _WHERE_IT_BEGAN:
        mark = fault.context_mark
    if mark is None:
        return Unreadable(1, 1, "YAML cannot be read here.", _LOOK)
    line, column = mark.line + 1, mark.column + 1
    begun = fault.context_mark
    if begun is not None and fault.context in ("while scanning an alias", "while scanning an anchor"):
        return Unreadable(begun.line + 1, begun.column + 1, *_misnamed(text[begun.index :]))
    if (found := _slip(fault, text, line)) is not None:
        return Unreadable(*found)
    return Unreadable(line, column, *_worded(str(fault.problem or ""), text, line, column))


def _missing_dash(fault: MarkedYAMLError, text: str) -> Slip | None:
    """The beginning of what should be an item of a list, and has no dash."""
    began, here = fault.context_mark, fault.problem_mark
    if began is None or here is None or text[here.index : here.index + 1].isspace():
        return None
    if fault.problem == "could not find expected ':'":
        return _below_a_dash(text.split("\n"), began)
    if began.column != here.column or "expected <block end>" not in str(fault.problem):
        return None
    mark = {(True, False): here, (False, True): began}.get(
        (fault.context == "while parsing a block collection", "found '-'" in str(fault.problem))
    )
    if mark is None or (mark is began and text[: mark.index].endswith("- ")):  # it is there: another one is too deep
        return None
    return Slip(mark.line + 1, mark.column + 1, *NO_DASH)


def _slip(fault: MarkedYAMLError, text: str, line: int) -> Slip | None:
    return _missing_dash(fault, text) or slip(text, line) or _open_bracket(fault)


def _open_bracket(fault: MarkedYAMLError) -> Slip | None:
    """A bracket that opened lines before, and is not closed as it must be."""
    began, here = fault.context_mark, fault.problem_mark
    if began is None or here is None or began.line == here.line or "expected ',' or" not in str(fault.problem):
        return None
    return Slip(began.line + 1, began.column + 1, *_OPEN_BRACKET)


def _below_a_dash(lines: list[str], began: Any) -> Slip | None:
    """A line that begins where the dash of the one before it stands."""
    before = lines[began.line - 1] if began.line else ""
    dash = before[: began.column].isspace() and before[began.column : began.column + 2] == "- "
    return Slip(began.line + 1, began.column + 1, *NO_DASH) if dash else None


def _misnamed(text: str) -> tuple[str, str]:
    """What is wrong with what begins with a star or an ampersand, and is no name that libyaml takes."""
    name = _NAME.match(text, 1)
    said = name[0] if name is not None else ""
    if said.strip(":"):
        return f"`{text[0]}{said[:60]}` is no name of a part of the file.", "Write it in Latin letters and digits."
    return _repeats_nothing(said) if text[0] == "*" else (f"`&{said}` names nothing.", _STAR.replace("star", "&"))


def _repeats_nothing(name: str) -> tuple[str, str]:
    return f"`*{name}` repeats nothing: there is no `&{name}` above it.", _STAR


class _Builder:
    """Events to nodes."""

    def __init__(self, parser: Any, lines: list[str]) -> None:
        self.lines = lines
        self.next: Callable[[], Any] = parser.get_event
        self.anchors: dict[str, Node | None] = {}
        self.depth = 0

    def document(self) -> Node:
        self.next()  # the stream's start
        first = self.next()
        if isinstance(first, StreamEndEvent):
            raise Unreadable(1, 1, "The file is empty.", "`bitrix-sync init` writes one with the portal's own stages.")
        directive = isinstance(first, DocumentStartEvent) and (first.version or first.tags)
        if directive:
            raise Unreadable(
                first.start_mark.line + 1, 1, "A YAML directive stands here.", "Delete the line that begins with `%`."
            )
        node = self.node(self.next())
        self.next()  # the document's end
        event = self.next()
        if not isinstance(event, StreamEndEvent):
            mark = event.start_mark
            raise Unreadable(mark.line + 1, mark.column + 1, "A second document begins here.", "Delete the line `---`.")
        return node

    def node(self, event: Any) -> Node:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, AliasEvent):
            return self.alias(str(event.anchor), line, column)
        if event.tag is not None:
            raise Unreadable(line, column, f"`{event.tag}` is a YAML tag.", "Write the value alone, without it.")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            node = self.scalar(event, line, column)
        else:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable(line, column, *_TOO_DEEP)
            assert isinstance(event, MappingStartEvent | SequenceStartEvent)
            node = (self.mapping if isinstance(event, MappingStartEvent) else self.sequence)(line, column)
            self.depth -= 1
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any, line: int, column: int) -> Node:
        if not event.implicit[0]:
            return Node(event.value, line, column)
        node, end = Node(scalar(event.value), line, column), event.end_mark
        node.cut = end.line < len(self.lines) and bool(_TIGHT_COMMENT.match(self.lines[end.line], end.column))
        return node

    def alias(self, name: str, line: int, column: int) -> Node:
        if name not in self.anchors:
            raise Unreadable(line, column, *_repeats_nothing(name))
        node = self.anchors[name]
        if node is None:
            raise Unreadable(line, column, f"`*{name}` stands inside of what it repeats.", "Write the value out.")
        return node

    def sequence(self, line: int, column: int) -> Node:
        node = Node([], line, column)
        kids: list[Node] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            kid = self.node(event)
            kids.append(kid)
            self.weigh(node, kid)
        node.kids = kids
        node.data = [kid.data for kid in kids]
        return node

    def mapping(self, line: int, column: int) -> Node:
        node = Node({}, line, column)
        node.kids = kids = {}
        merged: list[Node] = []
        while not isinstance(event := self.next(), MappingEndEvent):
            key, mark = self.key(event), event.start_mark
            kid = self.node(self.next())
            self.weigh(node, kid)
            if key == MERGE and event.style in (None, ""):
                merged += kid.kids if isinstance(kid.kids, list) else [kid]
            elif key in kids:
                node.repeated.append(Repeated(key, mark.line + 1, mark.column + 1, node.keys[key][0]))
                node.flawed = True
            else:
                kids[key] = kid
                node.keys[key] = (mark.line + 1, mark.column + 1)
        for source in merged:
            _merge(source, node.keys, kids)
        node.data = {key: kid.data for key, kid in kids.items()}
        return node

    def key(self, event: Any) -> str:
        if isinstance(event, ScalarEvent) and event.tag is None and event.anchor is None:
            return str(event.value)
        mark = event.start_mark
        raise Unreadable(
            mark.line + 1,
            mark.column + 1,
            "A key must be a plain text.",
            'A text with {{ }} or [ ] at its beginning needs quotes: "{{ deal.TITLE }}".',
        )

    def weigh(self, node: Node, kid: Node) -> None:
        node.weight += kid.weight
        node.flawed = node.flawed or kid.flawed
        if node.weight > MAX_NODES:
            raise Unreadable(node.line, node.column, f"There are more than {MAX_NODES} values below.", "Write fewer.")


def _merge(source: Node, keys: dict[str, tuple[int, int]], kids: dict[str, Node]) -> None:
    """Take another mapping in (``<<``): what stands here already goes before it."""
    if not isinstance(source.kids, dict):
        raise Unreadable(
            source.line,
            source.column,
            "`<<` takes another mapping in, and this is none.",
            "Write `<<: *name` of a mapping.",
        )
    for key, kid in source.kids.items():
        if key not in kids:
            kids[key], keys[key] = kid, source.keys[key]


def scalar(text: str) -> Any:
    """What an unquoted scalar means: null, true or false, a number, else the text itself."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


# --- words for an administrator --------------------------------------------------------------------------------------

_WHERE_IT_BEGAN = frozenset({"could not find expected ':'", "found unexpected end of stream"})
"""Faults whose cause is where the reading of the thing began, not where it failed."""
_STAR = "If it is a text that begins with a star, put it in quotes."
_LOOK = "Look at the indentation, quotes, colons and brackets here and in the line before."
_TOO_DEEP = (f"More than {MAX_DEPTH} levels are nested.", _LOOK)
_NESTED = "maximum nesting depth"
_COLON = "A colon stands where no key can be."
_VALUE = re.compile(r"\s*(?:- +)*[^\s:]+:\s+([^\s:'\"\[{(]+: .*?)\s*$")
"""A value that is a key and its value in turn."""
_OPEN_BRACKET = "This bracket is not closed, or a comma is missing after it.", "Write the closing bracket or the comma."
_NOT_SO = "A text cannot begin with this character.", "Put the text in quotes."
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("found character '\\t'", "A tab stands here.", "YAML indents with spaces: replace the tab by spaces."),
    ("that cannot start any token", *_NOT_SO),
    ("mapping keys are not allowed here", *_NOT_SO),
    ("expected chomping or indentation indicators", *_NOT_SO),
    ("expected a comment or a line break", *_NOT_SO),
    (
        "mapping values are not allowed here",
        _COLON,
        "Put a text that contains a colon and a space in quotes; check the indentation of the line.",
    ),
    ("could not find expected ':'", "A line without a colon.", "Write `key: value`, or quote a text of several lines."),
    ("but found '-'", "A list begins where none can be.", "Indent its dashes alike, and by spaces."),
    (
        "expected <block end>",
        "This line is indented differently from its neighbours, or a text in quotes goes on after them.",
        "Indent what belongs together by the same number of spaces.",
    ),
    ("expected ',' or", "A bracket is not closed before this.", "Write the missing comma or closing bracket."),
    ("found unexpected end of stream", "A quote is not closed.", "Write the closing quote."),
    ("found unknown escape character", "A backslash stands in a text in double quotes.", "Use single quotes."),
    ("expected escape sequence", "A backslash stands in a text in double quotes.", "Use single quotes."),
    ("sequence entries are not allowed here", "A dash stands where no list can be.", "Put the list on its own lines."),
    (_NESTED, *_TOO_DEEP),
)


def _worded(problem: str, text: str, line: int, column: int) -> tuple[str, str]:
    lines = text.split("\n")
    here = lines[line - 1] if line <= len(lines) else ""
    if here[: len(here) - len(here.lstrip())].count("\t"):
        return _WORDS[0][1:]
    if (found := _VALUE.match(here)) is not None and "mapping values" in problem:
        return _COLON, f'Write `{{{found[1]}}}` for a mapping, `"{found[1]}"` for a text.'
    sign = comparison(re.split(r"[,}\]]", here[column - 1 :], maxsplit=1)[0]) if "cannot start" in problem else None
    if sign is not None and not sign[0]:
        return _NOT_SO[0], f"Write `{sign[1]}` to compare, or put a text in quotes."
    for sign_, wrong, cure in _WORDS:
        if sign_ in problem:
            return wrong, cure
    return "YAML cannot be read here.", _LOOK
