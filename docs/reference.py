"""The reference of settings and commands, as Markdown, made of the models and the program that check what is given.

What is said of a setting is what the docstring of its model says: the sentences that name it in backquotes, and those
that follow in the paragraph and name no other setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from inspect import getdoc, isclass
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from typer.main import get_command

from textrnn.cli import commands as command_line
from textrnn.config.catalog import Catalog
from textrnn.config.params import Params
from textrnn.config.validation import Name, Strict

KEYS = {"space": "SETTING", "sources": "SPLIT"}
"""The placeholder for the keys of a mapping that are not names chosen by the user."""

NAME = TypeAdapter(Name).json_schema()
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
KINDS = {"integer": "whole number", "number": "number", "string": "text", "object": "mapping"}


def settings() -> str:
    """Returns every setting of both files: a section for each model, with type, range and default of its fields."""
    return "\n".join([*_section(Params, "params.yaml", ""), *_section(Catalog, "catalog.yaml", "")])


def documentation(model: type[Strict]) -> dict[str, str]:
    """Returns what docstrings say of each setting of a model, under its name, and of the model itself, under ``""``.

    A docstring's first sentence is about the model, whatever it names. Inherited settings are documented where they are
    declared.
    """
    found: dict[str, list[str]] = {name: [] for name in ("", *model.model_fields)}
    for declaring in [base for base in reversed(model.__mro__) if issubclass(base, Strict) and base is not Strict]:
        paragraphs = [_sentences(paragraph) for paragraph in (getdoc(declaring) or "").split("\n\n")]
        found[""] = paragraphs[0][:1]
        for paragraph in paragraphs:
            about = {""}
            for sentence in paragraph:
                codes = re.findall(r"`(\w+)[^`]*`", sentence)
                about = {code for code in codes if code in found} or about
                for name in about:
                    found[name] += [sentence] if sentence not in found[name] else []
    return {name: " ".join(sentences) for name, sentences in found.items()}


def _sentences(paragraph: str) -> list[str]:
    """Returns sentences, and parts of sentences between semicolons that begin with a name, with a full stop each."""
    parts = re.split(r"(?<=\.)\s+(?=[A-Z`\d])|(?<=;)\s+(?=`)", " ".join(paragraph.split()))
    return [re.sub(r";$", ".", part) for part in parts]


def type_of(schema: dict[str, Any]) -> str:
    """Returns in words which values the JSON schema of a setting allows."""
    if "anyOf" in schema:
        return "; or ".join(type_of(each) for each in schema["anyOf"])
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(f"`{value}`" for value in values)
    kind = schema.get("type")
    if kind == "null":
        return "`null`"
    if kind == "boolean":
        return "`true` or `false`"
    if kind == "array":
        least = schema.get("minItems")
        length = f" of {'' if least == schema.get('maxItems') else 'at least '}{least}" if least else ""
        return f"list{length}: {type_of(schema['items'])}"
    if all(schema.get(key) == value for key, value in NAME.items()):
        return "name"
    bounds = [f"{words} {schema[key]}" for key, words in BOUNDS.items() if key in schema]
    pattern = f" that matches `{schema['pattern']}`" if "pattern" in schema else ""
    return ", ".join([KINDS.get(kind or "", "any value"), *bounds]) + pattern


def _section(model: type[Strict], title: str, path: str) -> Iterator[str]:
    """Yields a model's section, then those of the models in it; `path` leads to it in the file."""
    said, schemas = documentation(model), model.model_json_schema(mode="validation")["properties"]
    yield f"({_label(title)})=\n{'###' if path else '##'} `{title}`\n\n{said['']}\n"
    inner = []
    for name, field in model.model_fields.items():
        kind, text = type_of(schemas[name]), said[name]
        if part := _model_in(field.annotation):
            place = f"{path}{name}{_key(name, schemas[name])}"
            inner.append((part, place))
            kind, text = "section", f"{documentation(part)['']} See [`{place}`](#{_label(place)})."
        yield _directive("confval", f"{path}{name}", f":type: {kind}\n:default: {_default(field)}\n\n{text}")
    for part, place in inner:
        yield from _section(part, place, f"{place}.")


def _model_in(annotation: Any) -> type[Strict] | None:
    """Returns the model of a section of settings, or None for an annotation of plain values."""
    if isclass(annotation) and issubclass(annotation, Strict):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _key(name: str, schema: dict[str, Any]) -> str:
    """Returns what follows a section's name on the way to one of its entries: nothing if it is a single one."""
    kinds = {each.get("type") for each in schema.get("anyOf", [schema])}
    return f".{KEYS.get(name, 'NAME')}" if "object" in kinds else "[]" if "array" in kinds else ""


def _label(title: str) -> str:
    return "settings-" + re.sub(r"\W+", "-", title).strip("-").lower()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, it is required"
    return "those of the section" if isinstance(field.default, Strict) else f"`{json.dumps(field.default)}`"


def commands() -> str:
    """Returns a section for each command of `textrnn`, with arguments and options."""
    return "\n".join(_command(get_command(command_line), "textrnn"))


def _command(command: Any, path: str) -> Iterator[str]:
    """Yields the section of a command of Click's, or those of the commands in a group."""
    for name, each in getattr(command, "commands", {}).items():
        yield from _command(each, f"{path} {name}")
    if hasattr(command, "commands"):
        return
    context = command.context_class(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f"### `{path}`\n\n{command.help}\n\n```text\n{usage}\n```\n"
    yield _directive("program", path, "")
    for names, text in filter(None, (parameter.get_help_record(context) for parameter in command.params)):
        yield _directive("option", names.replace(" / ", ", "), text)


def _directive(name: str, argument: str, content: str) -> str:
    return f"````{{{name}}} {argument}\n{content}\n````\n"


def targets(makefile: Path) -> str:
    """Returns a table of what `make` does, from the comments behind the targets."""
    found = re.findall(r"^([a-z-]+):.*?## (.+)$", makefile.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [f"| `make {name}` | {text} |" for name, text in found]
    return "\n".join(["| target | what it does |", "| --- | --- |", *rows])
