"""Reads YAML strictly: a key that stands twice is an error, not the last one's win."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from textrnn.errors import TextrnnError


class _StrictLoader(yaml.SafeLoader):
    """`SafeLoader` that refuses duplicate keys, and reads `1e-3` as the number that DVC reads (YAML 1.2)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise TextrnnError(
                    f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}: "
                    f"{key!r} stands here a second time. Names are unique: rename or delete one."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping in the YAML file at `path`.

    Raises:
        TextrnnError: the file is missing, is not YAML, repeats a key, or is not a mapping.
    """
    if not path.is_file():
        raise TextrnnError(
            f"{path}: no such file in {Path.cwd()}. Run this in the project's top folder, "
            "where params.yaml, catalog.yaml and dvc.yaml lie."
        )
    try:
        with path.open(encoding="utf-8") as stream:
            content = yaml.load(stream, _StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TextrnnError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise TextrnnError(f"{path} must hold a mapping of keys to values. Received: {content!r}")
    return content
