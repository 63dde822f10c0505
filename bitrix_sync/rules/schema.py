"""The JSON Schema of rules.yaml, for editors: made from the models that judge the file, so the two cannot differ.

``rules.schema.json`` beside this module is the same, for editors that have no command to ask; a test keeps it so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bitrix_sync.rules.file import SECTIONS, File
from bitrix_sync.words.language import FALL_BACK, KEYS
from bitrix_sync.words.usage import fault_text

_LINK = re.compile(r"\[([^\]]*)\]\(#[^)]*\)")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    """Without nulls: a key that says nothing is left out. Without titles that repeat the key. Keys that do not fit
    their pattern are refused."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if inner.get("default", "") is None:
            del inner["default"]
        return inner

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        inner = super().dict_schema(schema)
        return {**inner, "additionalProperties": False} if "patternProperties" in inner else inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema(language: str = FALL_BACK) -> dict[str, Any]:
    """The schema of a whole file, in JSON Schema 2020-12; its hints in the language: of a key as its table says it."""
    schema = File.model_json_schema(by_alias=True, schema_generator=_Schema)
    said = {id(part): hint for part, hint in _of_keys(schema, KEYS.get(language, {}))}
    for part in _hinted(schema):
        part["description"] = fault_text(language, said.get(id(part)) or _LINK.sub(r"\1", part["description"]))
    return {"$schema": DIALECT, **schema, "title": fault_text(language, "rules.yaml of bitrix-sync")}


def _of_keys(schema: Any, said: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], str]]:
    """The parts of a schema that stand for keys of ``SECTIONS``, each with what the language says of the key."""
    for section, kinds in SECTIONS.items():
        for kind in kinds:
            shape = schema if kind is File else schema["$defs"][kind.__name__]
            for key, part in shape["properties"].items():
                if (meaning := said.get(f"{section}.{key}")) is not None:
                    yield part, _LINK.sub(r"\1", meaning.replace(" | ", "; default: "))


def _hinted(part: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that has a hint."""
    if isinstance(part, dict) and isinstance(part.get("description"), str):
        yield part
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _hinted(below)
