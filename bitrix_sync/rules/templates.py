"""Titles, descriptions and check-list items: Jinja2 in a cage. Pure, and bounded in time and size by counting.

Source: the rules language, section Templates. A template may write values, choose (``if``), go through lists (``for``),
name things (``set``, ``with``) and use the filters below; it may call nothing. Everything that makes, compares or
searches text is counted against a budget before it is done, every round of a loop by all that stands in it, so neither
a hostile title nor a careless template can hang a pass. The limits are far above what a task needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.runtime import Context as JinjaContext
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from bitrix_sync.rules.context import Context, Record
from bitrix_sync.rules.filters import (
    FILTERS,
    RUN,
    Run,
    TemplateFault,
    bounded,
    kind_of,
    run_of,
    weighed_test,
    written,
)
from bitrix_sync.rules.suggest import foreign_letter, nearest
from bitrix_sync.words.texts import folded, shortened

MAX_SOURCE = 20_000
"""Characters of a template."""
MAX_OUTPUT = 60_000
"""Characters of a rendered text; a longer one is cut with an ellipsis."""

_RECORDS = {
    "deal": None,
    "company": None,
    "contact": None,
    "owner": ("id", "name"),
    "supervisor": ("id", "name"),
    "funnel": ("id", "name"),
    "stage": ("id", "name"),
    "deadline": ("year", "month", "day", "hour", "minute"),
}
"""The names that a template may use; and the keys of those that do not depend on the portal."""
_DATE_PARTS = frozenset({"year", "month", "day", "hour", "minute"})
_LOOP_PARTS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
_TESTS = (
    *("boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in", "integer"),
    *("le", "lt", "ne", "none", "number", "odd", "string", "true", "undefined"),
)


# --- the cage --------------------------------------------------------------------------------------------------------


class _Cage(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, closed further: plain data only, no calls, arithmetic on bounded numbers."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def call_binop(self, context: JinjaContext, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            run_of(context).charge(len(left) + len(right))
            return left + right
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)
            if isinstance(side, bool) or not isinstance(side, int | float):
                raise TemplateFault(f"{operator} is for numbers only: join texts with ~, read a number with |float")
        return bounded(self.binop_table[operator](bounded(left), bounded(right)))

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        match obj:
            case Undefined():
                return str(obj)
            case Record():
                return self._of_record(obj, argument)
            case list() | tuple() | str() if isinstance(argument, int):
                near = -len(obj) <= argument < len(obj)
                return obj[argument] if near else self.undefined("the list is shorter than that")
            case dict() if argument in obj:
                return obj[argument]
            case date() if argument in _DATE_PARTS and hasattr(obj, argument):
                return getattr(obj, argument)
            case LoopContext() if argument in _LOOP_PARTS:
                return getattr(obj, argument)
        return self.undefined(f"a {kind_of(obj)} has no {argument}")

    def _of_record(self, record: Record, key: Any) -> Any:
        if record.values is None:
            return ""
        if key in record.values:
            return record.values[key]
        return self.undefined(f"{record.kind} has no {key}{_near(str(key), record.values)}")

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise TemplateFault("nothing can be called in a template")


def _cage() -> _Cage:
    cage = _Cage(undefined=StrictUndefined, finalize=written, optimized=False, cache_size=0)
    cage.globals.clear()
    cage.filters = dict(FILTERS)
    cage.tests = {name: weighed_test(cage.tests[name]) for name in _TESTS}
    return cage


_CAGE = _cage()

_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.With, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr),
    *(nodes.Filter, nodes.Test, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.And, nodes.Or),
    *(nodes.Not, nodes.Neg, nodes.Pos),
)
_INSTEAD = {
    nodes.Call: "nothing can be called: use a filter, as in {{ deal.TITLE|upper }} or {{ deadline|date('%d.%m') }}",
    nodes.Pow: "** is not available",
    nodes.AssignBlock: "set with a block is not available: write {% set name = value %}",
    nodes.FilterBlock: "filter blocks are not available: put the filter behind the value, as in {{ deal.TITLE|upper }}",
}


class _Counting(NodeTransformer):
    """Puts the counting in: around what a loop goes through, with the weight of its body; around ``~``, what is
    compared or cut, and lists that the template writes. Filters and tests count by themselves."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        weight = sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _apply(" rounds", node.iter, nodes.Const(weight, lineno=node.lineno))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _apply(" weighed", node.expr)
        for operand in node.ops:
            operand.expr = _apply(" weighed", operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _apply(" weighed", node.node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _apply(" concat", nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _apply(" flat", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _apply(" flat", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _apply(" flat", node) if node.ctx == "load" else node


def _apply(name: str, node: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


# --- public ----------------------------------------------------------------------------------------------------------


def render(
    source: str, *, context: Context, limit: int | None = None, may_be_empty: bool = False, markup: bool = True
) -> str:
    """The rendered template. With ``limit`` it is a title: one line of at most so many characters, the rest cut with an
    ellipsis, and empty only if it ``may_be_empty`` (a check-list item that is to be left out). The portal reads BB code
    in whatever is no title, unless ``markup`` is False (a field of the task): values of the deal can bring none there,
    and stay as they are everywhere else.

    Raises TemplateFault.
    """
    read = _read(source)
    if read.template is None:
        raise TemplateFault("; ".join(read.problems))
    if markup and limit is None:
        context = context.harmless()
    values = {name: context.values[name] for name in read.roots}
    values[RUN] = Run(context.language)
    text = _output(read.template, source, values)
    if limit is None:
        return shortened(text.strip(), MAX_OUTPUT)
    title = shortened(folded(text), limit)
    if not title and not may_be_empty:
        raise TemplateFault("the text is empty when it is rendered: write something that is always there")
    return title


def _output(template: Template, source: str, values: dict[str, Any]) -> str:
    """What a template makes, up to a little more than MAX_OUTPUT characters."""
    pieces: list[str] = []
    length = 0
    try:
        for piece in template.root_render_func(template.new_context(values, shared=True)):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_OUTPUT:
                break
    except TemplateFault as fault:
        raise TemplateFault(f"{_place(template, source, fault)}{fault}") from None
    except Exception as fault:
        # A template can fail in as many ways as Python has errors; each is the rule's error and never the service's.
        raise TemplateFault(f"{_place(template, source, fault)}{_failed(fault)}") from None
    return "".join(pieces)


def check_template(source: str) -> list[str]:
    """Everything that is wrong with a template and can be told without a deal: syntax, what is not available, names and
    keys that do not exist. Empty: nothing."""
    return list(_read(source).problems)


def names_used(source: str) -> set[str]:
    """What the template reads: "deal.TITLE", "company.PHONE", "owner.name", and "deal" or "company" when they are used
    as a whole. Empty for one that cannot be read: what is wrong with it is told by ``check_template``."""
    return set(_read(source).names)


# --- reading a template ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """A template as it was read: what is wrong with it, what it reads, and the compiled one (None: it is wrong)."""

    problems: tuple[str, ...]
    names: frozenset[str] = frozenset()
    template: Template | None = None
    roots: frozenset[str] = frozenset()
    """What its names begin with."""


@lru_cache(maxsize=2048)
def _read(source: str) -> _Read:
    if len(source) > MAX_SOURCE:
        return _Read((f"the template is longer than {MAX_SOURCE} characters: make it shorter",))
    names: frozenset[str] = frozenset()
    try:
        tree = _CAGE.parse(source)
        parts = list(tree.find_all(nodes.Node))
        names = _names(parts)
        problems = tuple(dict.fromkeys(_at(source, line, problem) for line, problem in _problems(parts)))
        if problems:
            return _Read(problems, names)
        counting = _Counting().visit(tree).set_environment(_CAGE)
        roots = frozenset(name.partition(".")[0] for name in names)
        return _Read((), names, Template.from_code(_CAGE, _CAGE.compile(counting), {}), roots)
    except TemplateSyntaxError as fault:
        return _Read((_at(source, fault.lineno, fault.message or "cannot be read"),), names)
    except (TemplateError, SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as fault:
        return _Read((f"the template is too deep or cannot be read: {_said(fault)}",), names)


def _names(parts: list[nodes.Node]) -> frozenset[str]:
    names: set[str] = set()
    whole = {id(node): node.name for node in parts if isinstance(node, nodes.Name) and _given(node)}
    for node, key in _keys(parts):
        names.add(f"{node.name}.{key}")
        whole.pop(id(node), None)
    return frozenset(names | set(whole.values()))


def _given(name: nodes.Name) -> bool:
    return name.ctx == "load" and name.name in _RECORDS


def _problems(parts: list[nodes.Node]) -> Iterator[tuple[int, str]]:
    for node in parts:
        if problem := _problem(node):
            yield node.lineno, problem
    yield from _unknown_names(parts)
    for node, key in _keys(parts):
        keys = _RECORDS[node.name]
        if keys is not None and key not in keys:
            yield node.lineno, f"{node.name} has no {key}: it has {', '.join(keys)}"


def _problem(node: nodes.Node) -> str:
    """What is wrong with a part by itself; "" when nothing is."""
    if not isinstance(node, _ALLOWED):
        return _INSTEAD.get(type(node), f"{type(node).__name__.lower()} is not available in a template")
    match node:
        case nodes.Filter(name=name) if name not in _CAGE.filters:
            return f"there is no filter {name}{_near(name, _CAGE.filters)}"
        case nodes.Test(name=name) if name not in _CAGE.tests:
            return f"there is no test {name}{_near(name, _CAGE.tests)}"
        case nodes.Filter() | nodes.Test() if node.dyn_args or node.dyn_kwargs:
            return "*args and **kwargs are not available in a template"
        case nodes.For(recursive=True):
            return "recursive loops are not available"
        case nodes.Name(name=name) if node.ctx != "load" and name in _RECORDS:
            return f"{name} is given: choose another name"
    return ""


def _unknown_names(parts: list[nodes.Node]) -> Iterator[tuple[int, str]]:
    named = _named(parts)
    near: dict[str, str] = {}
    for node in parts:
        if isinstance(node, nodes.Name) and node.name not in named:
            if node.name not in near:
                near[node.name] = _near(node.name, named) or _as_field(node.name)
            yield node.lineno, f"{node.name} is unknown{near[node.name]}"


def _as_field(name: str) -> str:
    """What to write for an unknown name, which may be that of a field of the deal."""
    if name.isascii():
        return f". Write `{{{{ deal.{name} }}}}`." if name.isupper() else "; known are " + ", ".join(_RECORDS)
    return ". Write the code of the field: `{{ deal.TITLE }}`."


def _named(parts: list[nodes.Node]) -> set[str]:
    """The names that a template may read: those given, and those that it names itself."""
    named = {node.name for node in parts if isinstance(node, nodes.Name) and node.ctx != "load"} | {*_RECORDS}
    return named | {"loop"} if any(isinstance(node, nodes.For) for node in parts) else named


def _keys(parts: list[nodes.Node]) -> Iterator[tuple[nodes.Name, str]]:
    """Every ``name.key`` on a given name, then every ``name["key"]``."""
    for kind in (nodes.Getattr, nodes.Getitem):
        for node in parts:
            if isinstance(node, kind) and isinstance(node.node, nodes.Name) and node.node.name in _RECORDS:
                key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
                if isinstance(key, str):
                    yield node.node, key


def _near(word: str, known: Iterable[str]) -> str:
    near = nearest(word, (name for name in known if not name.startswith(" ")))
    if near and (letter := foreign_letter(word, near[0])):
        return f". {letter}"
    return f": did you mean {near[0]}?" if near else ""


def _at(source: str, line: int, problem: str) -> str:
    return f"line {line}: {problem}" if "\n" in source.strip() else problem


def _place(template: Template, source: str, fault: BaseException) -> str:
    """``line 3: `` where the source has several lines."""
    trace, line = fault.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_globals is template.root_render_func.__globals__:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {line}: " if line and "\n" in source.strip() else ""


def _failed(fault: Exception) -> str:
    """How rendering failed: in our words, where they are the fault's own, else by its kind."""
    if isinstance(fault, TypeError):
        return f"values that do not go together are compared or combined ({type(fault).__name__})"
    ours = isinstance(fault, ArithmeticError | UndefinedError | ValueError) and str(fault)
    return _said(fault) if ours else f"it cannot be rendered ({type(fault).__name__})"


def _said(fault: BaseException) -> str:
    return folded(str(fault))[:300] or type(fault).__name__
