"""Settings as pydantic models: one readable message for each mistake, and what of the settings is not off."""

from datetime import date, datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from textrnn.errors import TextrnnError, shown

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
"""Names DVC stages, folders and MLflow runs alike: lower case, digits, `_`, `-`; no dots."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]

Model = TypeVar("Model", bound="Strict")


class Strict(BaseModel):
    """Base of all configuration: immutable, no unknown keys, no silent conversions, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def chosen(settings: Any) -> Any:
    """Returns validated `settings` as plain data, without what is off.

    A field is off if it has its default and that is 0, None, false or empty. So a new field that is off by default
    changes no plan, and a default that changes does change the plan of every stage that reads it.
    """
    if isinstance(settings, BaseModel):
        fields = sorted(type(settings).model_fields.items())  # mappings keep the order of the study
        values = {name: (getattr(settings, name), field.default) for name, field in fields}
        return {name: chosen(value) for name, (value, default) in values.items() if value or value != default}
    if isinstance(settings, dict):
        return {key: chosen(value) for key, value in settings.items()}
    return [chosen(each) for each in settings] if isinstance(settings, list) else settings


def validate(model: type[Model], content: Any, where: str) -> Model:
    """Returns `content` as a `model`; `where` (such as `params.yaml: train`) opens each message.

    Raises `TextrnnError`: lists every key that breaks a rule, not just the first.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        findings = [_finding(model, item, where) for item in error.errors()]
        raise TextrnnError("\n".join(findings)) from None


def _finding(model: type[BaseModel], item: Any, where: str) -> str:
    path = [str(part)[:100] for part in item["loc"] if part != "[key]"]
    key = ".".join([where.rpartition(": ")[2], *path]) if ": " in where else ".".join(path)
    prefix = where.partition(": ")[0]
    if item["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, path[:-1]))
        close = get_close_matches(path[-1], known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
        return f"{prefix}: {key}: unknown key. {hint}"
    if item["type"] == "missing":
        return f"{prefix}: {key}: required, but missing. Add it."
    if item["type"] == "value_error":
        # A rule over several keys: its message names what breaks it, where the whole section would hide it.
        return ": ".join(filter(None, [prefix, key, item["msg"].removeprefix("Value error, ")])) + "."
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float | date | None):
        kind = _YAML_KINDS.get(type(item["input"]), "nothing")
        return (
            f"{prefix}: {key}: YAML reads this as {kind} ({item['input']}), and text is "
            'wanted. Put it in quotation marks, such as "no", "007" or "2024-01-01".'
        )
    message = item["msg"]
    if item["type"] == "string_pattern_mismatch" and item["loc"][-1:] == ("[key]",):
        message = "a name has lower-case letters, digits, '_' and '-', and starts with a letter or digit"
    return f"{prefix}: {key}: {message}. Received: {shown(item['input'])}"


_YAML_KINDS = {int: "a number", float: "a number", bool: "a truth value", date: "a date", datetime: "a point in time"}


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the model that `path` leads to, `model` itself when the way is lost."""
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            continue
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return list(model.model_fields)
