"""What the documents point to exists: files, headings, commands, targets, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, block_commands, prose
from tiny_project import PROJECT
from typer.main import get_command

from textrnn.cli import commands

STUDIES = [PROJECT / "params.yaml", *sorted((PROJECT / "studies").glob("*.yaml"))]


def links(document: Path) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)) if "://" not in target]


def anchors(document: Path) -> set[str]:
    """The ids that GitHub and GitLab give to headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(document: Path) -> list[list[str]]:
    """The words of each command in a block."""
    return [command.split() for command in block_commands(document)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_and_targets_exist(document: Path) -> None:
    known = get_command(commands).commands  # type: ignore[attr-defined]
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in command_lines(document):
        if words[:1] == ["textrnn"]:
            assert words[1] in known, words
            options = {option for each in known[words[1]].params for option in (*each.opts, *each.secondary_opts)}
            nested = getattr(known[words[1]], "commands", {})
            options |= {option for each in nested.values() for one in each.params for option in one.opts}
            assert {word for word in words if word.startswith("--")} <= options, words
        if words[:1] == ["make"]:
            assert words[1] in targets, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_runs_that_are_compared_belong_to_a_study(document: Path) -> None:
    names = set()
    for study in STUDIES:
        params = yaml.safe_load(study.read_text(encoding="utf-8"))
        names |= {*params["experiments"], *params.get("baselines", ())}
    for words in command_lines(document):
        if words[:2] == ["textrnn", "compare"]:
            assert {word for word in words[2:4] if not word.startswith("--")} <= names, words
        if words[:2] == ["dvc", "repro"]:
            assert {word.partition("@")[2] for word in words if "@" in word} <= names, words
