"""Reads YAML and JSON files that people and git merge: each mistake is one message with file, line and what to do."""

import io
import json
import re
import shlex
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from textrnn.errors import DAMAGE, TextrnnError, first_line, shown


class HalfMerged(TextrnnError):
    """A file still holds two versions that git could not merge."""


class _StrictLoader(yaml.SafeLoader):
    """`SafeLoader` that refuses duplicate keys, and reads `1e-3` as the number that DVC reads (YAML 1.2)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}"
            if not isinstance(key, Hashable):
                raise TextrnnError(
                    f"{where}: YAML reads a list or mapping where a name belongs: {shown(key)}. Put the name in "
                    "quotation marks, or fill the template in."
                )
            if key in seen:
                raise TextrnnError(
                    f"{where}: {shown(key)} occurs here a second time. Names are unique: rename or delete one."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


MARKER = re.compile(r"^(<{7}|>{7}|\|{7}) ", re.MULTILINE)  # what git writes into a file that it could not merge


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping at `path`. Raises `TextrnnError`: no file, no YAML, a key that repeats, or no mapping."""
    if not path.is_file():
        raise TextrnnError(
            f"{path}: no such file in {Path.cwd()}. Run this in the project's top folder, "
            "with params.yaml, catalog.yaml and dvc.yaml."
        )
    content = parse_yaml(read_text(path), str(path))
    if not isinstance(content, dict):
        raise TextrnnError(f"{path} must hold a mapping of keys to values. Received: {shown(content)}")
    return content


def parse_yaml(text: str, name: str, loader: Any = _StrictLoader) -> Any:
    """Returns the content of the YAML in `text`; `name` opens each message. Raises `TextrnnError`."""
    check_merged(text, name)
    stream = io.StringIO(text)
    stream.name = name  # for YAML's own messages
    try:
        return yaml.load(stream, loader)
    except yaml.YAMLError as error:
        raise TextrnnError(f"{name} is not valid YAML: {error}") from None
    except DAMAGE as error:  # such as 2024-13-40, which is no date, or lists that are nested too deep
        reason = first_line(error)[:200]
        raise TextrnnError(f"{name} is not valid YAML: {reason}. Correct it, or put the value in quotes.") from None


def parse_json(text: str, name: str, way_out: str) -> dict[str, Any]:
    """Returns the JSON object in `text`; `name` opens each message, `way_out` ends it. Raises `TextrnnError`."""
    check_merged(text, name)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TextrnnError(f"{name} is not valid JSON: {error}. {way_out}") from None
    if not isinstance(content, dict):
        raise TextrnnError(f"{name} must hold a JSON object. {way_out}")
    return content


def read_text(path: Path) -> str:
    """Returns the text in `path`. Raises `TextrnnError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextrnnError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8, or `git restore` it.") from None


def check_merged(text: str, name: str) -> None:
    """Raises `HalfMerged` where `text` still holds two versions that git could not merge."""
    if found := MARKER.search(text):
        line = text.count("\n", 0, found.start()) + 1
        file = shlex.quote(name)
        raise HalfMerged(
            f"{name}, line {line}: a merge left two versions there, with its markers ({found[1]}). Choose one side, "
            f"`git checkout --ours {file}` or `git checkout --theirs {file}`, or edit the file; then `textrnn repro`."
        )
