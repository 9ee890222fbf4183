"""How pydantic's findings read, on a schema of two levels."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import model_validator

from textrnn.config.validation import Name, Strict, validate
from textrnn.errors import TextrnnError


class Wheel(Strict):
    spokes: int
    weight: float = 1.0


class Bicycle(Strict):
    name: Name
    front: Wheel
    spares: dict[Name, Wheel]

    @model_validator(mode="after")
    def _front_is_light(self) -> Self:
        if self.front.weight > 9:
            raise ValueError(f"front.weight: {self.front.weight} is too much for a front wheel: take 9 or less")
        return self


def make(**changes: Any) -> dict[str, Any]:
    return {"name": "roadster", "front": {"spokes": 32}, "spares": {}, **changes}


def test_what_is_valid_comes_back_immutable() -> None:
    bicycle = validate(Bicycle, make(spares={"old-one": {"spokes": 28, "weight": 2}}), "shop.yaml")
    assert bicycle.spares["old-one"] == Wheel(spokes=28, weight=2.0)
    with pytest.raises(ValueError, match="frozen"):
        bicycle.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frnt": 1}, "shop.yaml: frnt: unknown key. Did you mean 'front'?"),
        ({"zzz": 1}, "shop.yaml: zzz: unknown key. Known keys: front, name, spares."),
        (
            {"front": {"spokes": 1, "wieght": 2}},
            "shop.yaml: front.wieght: unknown key. Did you mean 'weight'?",
        ),
        (
            {"spares": {"a": {"spoke": 1, "spokes": 2}}},
            "shop.yaml: spares.a.spoke: unknown key. Did you mean 'spokes'?",
        ),
        ({"front": {}}, "shop.yaml: front.spokes: required, but missing. Add it."),
        (
            {"front": {"spokes": "32"}},
            "shop.yaml: front.spokes: Input should be a valid integer. Received: '32'",
        ),
        (
            {"front": {"spokes": True}},
            "shop.yaml: front.spokes: Input should be a valid integer. Received: True",
        ),
        (
            {"front": {"spokes": 1, "weight": float("inf")}},
            "shop.yaml: front.weight: Input should be a finite number. Received: inf",
        ),
        (
            {"spares": {"Old.One": {"spokes": 1}}},
            "shop.yaml: spares.Old.One: a name has lower-case letters, digits, '_' and '-', "
            "and starts with a letter or digit. Received: 'Old.One'",
        ),
        (
            {"front": {"spokes": 1, "weight": 10}},
            "shop.yaml: front.weight: 10.0 is too much for a front wheel: take 9 or less.",
        ),
    ],
)
def test_messages(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TextrnnError) as error:
        validate(Bicycle, make(**changes), "shop.yaml")
    assert str(error.value) == message


def test_a_part_of_a_file_is_reported_by_its_place() -> None:
    with pytest.raises(TextrnnError) as error:
        validate(Wheel, {"spoks": 1}, "shop.yaml: front")
    assert str(error.value).splitlines() == [
        "shop.yaml: front.spokes: required, but missing. Add it.",
        "shop.yaml: front.spoks: unknown key. Did you mean 'spokes'?",
    ]


@pytest.mark.parametrize("name", ["lstm", "glove-50d", "2nd_try", "a" * 64])
def test_good_names(name: str) -> None:
    assert validate(Bicycle, make(name=name), "shop.yaml").name == name


@pytest.mark.parametrize("name", ["", "LSTM", "a.b", "-a", "a/b", "a b", "ä", "a" * 65, "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(TextrnnError, match=r"^shop\.yaml: name: .*Received: "):
        validate(Bicycle, make(name=name), "shop.yaml")
