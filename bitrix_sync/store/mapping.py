"""Between frozen records and rows: a column is named as the field that it holds, and its type knows how to store it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

from sqlalchemy import ColumnElement, Connection, Delete, Row, Select, Update

from bitrix_sync.model.actions import Action, Kind, unpack

T = TypeVar("T")
CHUNK = 500


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in portions that fit into one ``IN``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def rows_with(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Iterable[Any]
) -> list[Row[Any]]:
    """Rows of the query in which the column has one of the values, however many these are."""
    return [row for part in chunks(list(values)) for row in connection.execute(query.where(column.in_(part)))]


def change_with(
    connection: Connection, statement: Update | Delete, column: ColumnElement[Any], values: Iterable[Any]
) -> int:
    """Changes, or deletes, the rows in which the column has one of the values; how many they were."""
    return sum(connection.execute(statement.where(column.in_(part))).rowcount for part in chunks(list(values)))


class Fields:
    """Names of a kind's fields, and their values in any object that has them."""

    known: ClassVar[dict[type, Fields]] = {}

    def __init__(self, kind: type) -> None:
        self.names = tuple(field.name for field in fields(kind))
        self.values = attrgetter(*self.names)

    @classmethod
    def of(cls, kind: type) -> Fields:
        """Worked out once for each kind."""
        if kind not in cls.known:
            cls.known[kind] = cls(kind)
        return cls.known[kind]


def from_row(kind: type[T], row: Row[Any]) -> T:
    """The record of that kind that stands in the row."""
    return kind(*Fields.of(kind).values(row))


def to_row(one: object, **more: Any) -> dict[str, Any]:
    """The row in which the record stands, with what it does not know itself."""
    of = Fields.of(type(one))
    return dict(zip(of.names, of.values(one), strict=True)) | more


def action_of(row: Any) -> Action:
    """What the operation in a row (``kind`` and ``payload``) does."""
    return unpack(Kind(row.kind), row.payload)
