"""Titles, descriptions and check-list items: Jinja2 in a cage. Pure, and bounded in time and size by counting.

Source: the rules language, section Templates. A template may write values, choose (``if``), go through lists (``for``),
name things (``set``, ``with``) and use the filters below; it may call nothing. Everything that makes text is counted
against a budget before it is made, every round of a loop too, so neither a hostile title nor a careless template can
hang a pass. The limits are far above what a task needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.runtime import Context as JinjaContext
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from bitrix_sync.rules.context import Context, Record, build_context
from bitrix_sync.rules.filters import FILTERS, RUN, Run, TemplateFault, bounded, kind_of, run_of, written
from bitrix_sync.texts import folded, shortened

__all__ = ["Context", "TemplateFault", "build_context", "check_template", "names_used", "render"]

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
        if isinstance(obj, Undefined):
            return str(obj)
        if isinstance(obj, Record):
            return self._of_record(obj, argument)
        if isinstance(obj, list | tuple | str) and isinstance(argument, int):
            return (
                obj[argument] if -len(obj) <= argument < len(obj) else self.undefined("the list is shorter than that")
            )
        if isinstance(obj, dict) and argument in obj:
            return obj[argument]
        parts = _DATE_PARTS if isinstance(obj, date) else _LOOP_PARTS if isinstance(obj, LoopContext) else ()
        if argument in parts and hasattr(obj, argument):
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
    cage.tests = {name: cage.tests[name] for name in _TESTS}
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
    """Puts the counting in: around what a loop goes through, around ``~``, around lists that the template writes."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _apply(" rounds", node.iter)
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


def _apply(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


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
    template = _compiled(source)
    if markup and limit is None:
        context = context.harmless()
    run = Run(context.language)
    pieces: list[str] = []
    length = 0
    try:
        for piece in template.root_render_func(template.new_context({**context.values, RUN: run})):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_OUTPUT:
                break
    except TemplateFault as fault:
        raise TemplateFault(f"{_place(template, source, fault)}{fault}") from None
    except Exception as fault:
        # A template can fail in as many ways as Python has errors; each is the rule's error and never the service's.
        raise TemplateFault(f"{_place(template, source, fault)}{_said(fault)}") from None
    text = "".join(pieces)
    if limit is None:
        return shortened(text.strip(), MAX_OUTPUT)
    title = shortened(folded(text), limit)
    if not title and not may_be_empty:
        raise TemplateFault("the text is empty when it is rendered: write something that is always there")
    return title


def check_template(source: str) -> list[str]:
    """Everything that is wrong with a template and can be told without a deal: syntax, what is not available, names and
    keys that do not exist. Empty: nothing."""
    problems, _ = _parsed(source)
    if not problems:
        try:
            _compiled(source)
        except TemplateFault as fault:
            problems = [str(fault)]
    return problems


def names_used(source: str) -> set[str]:
    """What the template reads: "deal.TITLE", "company.PHONE", "owner.name", and "deal" or "company" when they are used
    as a whole. Empty for one that cannot be read: what is wrong with it is told by ``check_template``."""
    _, tree = _parsed(source)
    if tree is None:
        return set()
    names: set[str] = set()
    whole = {id(node): node.name for node in tree.find_all(nodes.Name) if node.ctx == "load" and node.name in _RECORDS}
    for node, key in _keys(tree):
        names.add(f"{node.name}.{key}")
        whole.pop(id(node), None)
    return names | set(whole.values())


# --- reading a template ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=2048)
def _compiled(source: str) -> Template:
    problems, tree = _parsed(source)
    if tree is None or problems:
        raise TemplateFault("; ".join(problems))
    try:
        counting = _Counting().visit(tree).set_environment(_CAGE)
        return Template.from_code(_CAGE, _CAGE.compile(counting), {})
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise TemplateFault(f"the template is too deep or cannot be read: {_said(fault)}") from None


def _parsed(source: str) -> tuple[list[str], nodes.Template | None]:
    """What is wrong with the template, and its tree (None when it cannot be read at all)."""
    if len(source) > MAX_SOURCE:
        return [f"the template is longer than {MAX_SOURCE} characters: make it shorter"], None
    try:
        tree = _CAGE.parse(source)
        problems = [_at(source, line, problem) for line, problem in _problems(tree)]
    except TemplateSyntaxError as fault:
        return [_at(source, fault.lineno, fault.message or "cannot be read")], None
    except (ValueError, OverflowError, RecursionError, MemoryError) as fault:
        return [f"the template is too deep or cannot be read: {_said(fault)}"], None
    return list(dict.fromkeys(problems)), tree


def _problems(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            yield node.lineno, _INSTEAD.get(type(node), f"{type(node).__name__.lower()} is not available in a template")
        elif isinstance(node, nodes.Filter) and node.name not in _CAGE.filters:
            yield node.lineno, f"there is no filter {node.name}{_near(node.name, _CAGE.filters)}"
        elif isinstance(node, nodes.Test) and node.name not in _CAGE.tests:
            yield node.lineno, f"there is no test {node.name}{_near(node.name, _CAGE.tests)}"
        elif isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
            yield node.lineno, "*args and **kwargs are not available in a template"
        elif isinstance(node, nodes.For) and node.recursive:
            yield node.lineno, "recursive loops are not available"
        elif isinstance(node, nodes.Name) and node.ctx != "load" and node.name in _RECORDS:
            yield node.lineno, f"{node.name} is given: choose another name"
    named = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"} | {*_RECORDS}
    named |= {"loop"} if any(tree.find_all(nodes.For)) else set()
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name not in named:
            yield (
                node.lineno,
                f"{node.name} is unknown{_near(node.name, named) or '; known are ' + ', '.join(_RECORDS)}",
            )
    for node, key in _keys(tree):
        keys = _RECORDS[node.name]
        if keys is not None and key not in keys:
            yield node.lineno, f"{node.name} has no {key}: it has {', '.join(keys)}"


def _keys(tree: nodes.Template) -> Iterator[tuple[nodes.Name, str]]:
    """Every ``name.key`` and ``name["key"]`` on a given name."""
    for node in tree.find_all(nodes.Getattr):
        if isinstance(node.node, nodes.Name) and node.node.name in _RECORDS:
            yield node.node, node.attr
    for item in tree.find_all(nodes.Getitem):
        key = item.arg.value if isinstance(item.arg, nodes.Const) else None
        if isinstance(item.node, nodes.Name) and item.node.name in _RECORDS and isinstance(key, str):
            yield item.node, key


def _near(word: str, known: Any) -> str:
    near = get_close_matches(word[:100], [name for name in known if not name.startswith(" ")], 1)
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


def _said(fault: BaseException) -> str:
    return folded(str(fault))[:300] or type(fault).__name__
