"""How numbers and names are written."""

from __future__ import annotations

from math import nan

from textrnn import wording


def test_shares_and_differences_have_one_decimal_and_a_true_minus() -> None:
    assert [wording.percent(share) for share in (0.7949, 1, nan, None)] == ["79.5", "100.0", "", ""]
    assert [wording.points(share) for share in (0.026, -0.0042, -0.0001, nan, None)] == ["+2.6", "−0.4", "+0.0", "", ""]


def test_two_digits_have_an_exponent_only_where_no_reader_can_do_without() -> None:
    numbers = (219.6, 3.94, 0.451, 1, 0.0000123, nan)
    assert [wording.two_digits(value) for value in numbers] == ["220", "3.9", "0.45", "1", "1.2e-05", ""]


def test_small_p_values_are_bounded() -> None:
    assert [wording.p_value(value) for value in (0.0004, 0.021, nan)] == ["< 0.001", "0.021", ""]
    assert [wording.p_value(value, "p") for value in (0.0004, 0.021)] == ["p < 0.001", "p = 0.021"]


def test_an_estimate_without_an_interval_is_a_number() -> None:
    assert wording.estimate(0.776, 0.757, 0.795) == "77.6 (75.7 to 79.5)"
    assert wording.estimate(-0.01, -0.02, 0.0, wording.points) == "−1.0 (−2.0 to +0.0)"
    assert wording.estimate(0.776, nan, nan) == "77.6"


def test_counts_and_durations() -> None:
    assert [wording.count(number, "seed") for number in (1, 2, 1200)] == ["1 seed", "2 seeds", "1,200 seeds"]
    assert [wording.duration(seconds) for seconds in (42.4, 720)] == ["42 s", "12 min"]


def test_settings_are_written_as_in_yaml_with_three_digits() -> None:
    settings = (None, nan, True, False, "lstm", 16, 16.0, 0.0, 0.00312345, 0.000012)
    written = ["off", "off", "true", "false", "lstm", "16", "16", "0", "0.00312", "1.2e-05"]
    assert [wording.setting(value) for value in settings] == written


def test_names_are_code_whatever_backticks_they_hold() -> None:
    assert wording.listed(["lstm", "a``b"]) == "`lstm`, ``` a``b ```"


def test_text_of_strangers_is_on_one_line_and_marks_nothing_up() -> None:
    assert wording.escape("a|b\n *c*, it's") == r"a\|b \*c\*, it's"
