"""A YAML text read into a tree (``tree.py``). Pure; raises nothing but ``Unreadable``, whatever the text.

Scanner and grammar are ruamel.yaml's. What a scalar means is decided here, by the core schema of YAML 1.2, so that
``on``, ``yes``, ``09:00`` and ``2026-12-31`` stay the text that was written. Keys are text always.

A file of a thousand rules has some 75,000 tokens; composed by ruamel.yaml it takes a second, mostly for looking ahead
before each token whether it is a key. Here all tokens are taken first, which needs no looking ahead, and the hottest of
the scanner's methods are shortened; limits of depth and size keep hostile texts cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.parser import Parser
from ruamel.yaml.reader import Reader, ReaderError
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import ScalarToken

from bitrix_sync.rules.tree import Node, Repeated

MAX_LENGTH = 1_000_000
"""Characters of a file: some five thousand rules."""
MAX_DEPTH = 40
MAX_NODES = 100_000
"""Values of a file, those repeated by aliases counted each time."""

MERGE = "<<"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?")
_PLAIN = re.compile(
    r"[^\s\0:#,?\[\]{}\ufeff\x85\u2028\u2029]+(?: [^\s\0:#,?\[\]{}\ufeff\x85\u2028\u2029]+)*(?=(:[ \n\r])|[,\]}])"
)
"""A plain scalar that certainly ends on its line: a key, or a value inside brackets."""


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
    source: _Source | None = None
    try:
        source = _Source(text)
        node = _Builder(_Parser(_Tokens(source.all()))).document()
    except MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        if fault.context_mark is not None and str(fault.problem) in _WHERE_IT_BEGAN:
            mark = fault.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Unreadable(line, column, *_worded(str(fault.problem or ""), text, line)) from None
    except ReaderError as fault:
        before = text[: fault.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        code = fault.character if isinstance(fault.character, int) else ord(str(fault.character)[:1] or "\0")
        raise Unreadable(
            line, column, f"A character that no text file may hold stands here (U+{code:04X}).", "Delete it."
        ) from None
    except Unreadable:
        raise
    except Exception:  # whatever else the parser stumbles over is the file's fault, and told as such
        line, column = (source.line + 1, source.column + 1) if source else (1, 1)
        raise Unreadable(line, column, "YAML cannot be read here.", _LOOK) from None
    return node


# --- ruamel's scanner and parser, in a hurry -------------------------------------------------------------------------


class _Mark:
    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line, self.column = line, column


class _Source(Reader, Scanner):
    """Reader and scanner of one text in one object; tells all tokens at once."""

    processing_version = (1, 2)
    comment_handling = False
    reader: Any = None

    def __init__(self, text: str) -> None:
        self.reader = self
        Reader.__init__(self, None, loader=self)
        self.stream = text
        Scanner.__init__(self, loader=self)

    def all(self) -> list[Any]:
        """Every token of the text. Since none is taken before the end, ruamel need not look ahead for keys."""
        while not self.done:
            self.fetch_more_tokens()
            if len(self.flow_context) + len(self.indents) > MAX_DEPTH:
                raise Unreadable(self.line + 1, self.column, f"More than {MAX_DEPTH} levels are nested.", _LOOK)
        return list(self.tokens)

    def get_mark(self) -> _Mark:
        return _Mark(self.line, self.column)

    def peek(self, index: int = 0) -> str:
        return self.buffer[self.pointer + index]

    def prefix(self, length: int = 1) -> str:
        return self.buffer[self.pointer : self.pointer + length]

    def forward(self, length: int = 1) -> None:
        passed = self.buffer[self.pointer : self.pointer + length]
        if "\n" in passed or "\r" in passed or "\ufeff" in passed:
            Reader.forward(self, length)
            return
        self.pointer += length
        self.index += length
        self.column += length

    def fetch_directive(self) -> None:
        raise Unreadable(self.line + 1, 1, "A YAML directive stands here.", "Delete the line that begins with `%`.")

    def stale_possible_simple_keys(self) -> None:
        if self.possible_simple_keys:
            Scanner.stale_possible_simple_keys(self)

    def scan_plain(self) -> Any:
        found = _PLAIN.match(self.buffer, self.pointer)
        if found is None or (found[1] is None and not self.flow_context):
            return Scanner.scan_plain(self)
        start = self.get_mark()
        self.forward(found.end() - found.start())
        self.allow_simple_key = False
        return ScalarToken(found[0], True, start, self.get_mark())


class _Tokens:
    """All tokens, to the parser as if scanned one by one."""

    def __init__(self, tokens: list[Any]) -> None:
        self.tokens, self.at = tokens, 0

    def check_token(self, *choices: type) -> bool:
        return self.at < len(self.tokens) and isinstance(self.tokens[self.at], choices)

    def peek_token(self) -> Any:
        return self.tokens[self.at]

    def get_token(self) -> Any:
        self.at += 1
        return self.tokens[self.at - 1]


class _Plainly:
    """Tells the parser to leave comments alone."""

    comment_handling = None


class _Parser(Parser):
    scanner: Any = None
    resolver: Any = _Source  # knows the version

    def __init__(self, tokens: _Tokens) -> None:
        self.scanner = tokens
        super().__init__(_Plainly())


class _Builder:
    """Events to nodes."""

    def __init__(self, parser: Any) -> None:
        self.next: Callable[[], Any] = parser.get_event
        self.anchors: dict[str, Node | None] = {}

    def document(self) -> Node:
        self.next()  # the stream's start
        if isinstance(self.next(), StreamEndEvent):
            raise Unreadable(1, 1, "The file is empty.", "`bitrix-sync init` writes one with the portal's own stages.")
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
            return self.alias(event.anchor, line, column)
        if event.ctag is not None:
            raise Unreadable(line, column, f"`{event.ctag}` is a YAML tag.", "Write the value alone, without it.")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, ScalarEvent):
            node = Node(scalar(event.value) if event.implicit[0] else event.value, line, column)
        elif isinstance(event, MappingStartEvent):
            node = self.mapping(line, column)
        else:
            assert isinstance(event, SequenceStartEvent)
            node = self.sequence(line, column)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def alias(self, name: str, line: int, column: int) -> Node:
        if name not in self.anchors:
            raise Unreadable(
                line,
                column,
                f"`*{name}` repeats nothing: there is no `&{name}` above it.",
                "If it is a text that begins with a star, put it in quotes.",
            )
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
        kids: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(event := self.next(), MappingEndEvent):
            key, mark = self.key(event), event.start_mark
            kid = self.node(self.next())
            self.weigh(node, kid)
            if key == MERGE and event.style is None:
                merged += kid.kids if isinstance(kid.kids, list) else [kid]
            elif key in kids:
                node.repeated.append(Repeated(key, mark.line + 1, mark.column + 1, node.keys[key][0]))
                node.flawed = True
            else:
                kids[key] = kid
                node.keys[key] = (mark.line + 1, mark.column + 1)
        for source in merged:
            if not isinstance(source.kids, dict):
                raise Unreadable(
                    source.line,
                    source.column,
                    "`<<` takes another mapping in, and this is none.",
                    "Write `<<: *name` of a mapping.",
                )
            for key, kid in source.kids.items():
                if key not in kids:
                    kids[key], node.keys[key] = kid, source.keys[key]
        node.kids = kids
        node.data = {key: kid.data for key, kid in kids.items()}
        return node

    def key(self, event: Any) -> str:
        if isinstance(event, ScalarEvent) and event.ctag is None and event.anchor is None:
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
_LOOK = "Look at the indentation, quotes, colons and brackets here and in the line before."
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("found character '\\t'", "A tab stands here.", "YAML indents with spaces: replace the tab by spaces."),
    (
        "that cannot start any token",
        "A text cannot begin with this character.",
        "Put the text in quotes.",
    ),
    (
        "mapping values are not allowed here",
        "A colon stands where no key can be.",
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
)


def _worded(problem: str, text: str, line: int) -> tuple[str, str]:
    lines = text.split("\n")
    here = lines[line - 1] if line <= len(lines) else ""
    if here[: len(here) - len(here.lstrip())].count("\t"):
        return _WORDS[0][1:]
    for sign, wrong, cure in _WORDS:
        if sign in problem:
            return wrong, cure
    return f"YAML cannot be read here: {problem or 'the text makes no sense'}.", _LOOK
