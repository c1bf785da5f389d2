import re
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from ser.common.kinds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Share, of_kind, of_setting


@dataclass
class Window:
    size: PositiveInt
    overlap: Share


class Row(TypedDict):
    name: str
    window: NotRequired[Window]


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, 3),
        (Literal[8000, 16000], 8000, 8000),
        (tuple[float, ...], [1, 2, 3], [1.0, 2.0, 3.0]),
        (float, 3, 3.0),
        (bool, False, False),
        (Any, [None], [None]),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (tuple[int, float], [1, 2], [1, 2.0]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (int | Literal["auto"], "auto", "auto"),
        (PositiveInt | Literal["auto"], 1, 1),
        (str | None, None, None),
        (NonNegativeInt, 0, 0),
        (NonNegativeFloat, 0, 0.0),
        (PositiveFloat, 1e-300, 1e-300),
        (Share, 1, 1.0),
        (Share, 0, 0.0),
        (Row, {"name": "a", "other": 1}, {"name": "a", "other": 1}),
        (Row, {"name": "a", "window": {"size": 1, "overlap": 0}}, {"name": "a", "window": Window(1, 0.0)}),
    ],
)
def test_a_value_of_the_type(hint, value, expected):
    converted = of_kind(hint, value, "x")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, 3.0, "x = 3.0, expected a whole number"),
        (int, True, "x = True, expected a whole number"),
        (bool, 1, "x = 1, expected true or false"),
        (float, "3", "x = '3', expected a number"),
        (float, float("nan"), "x = nan, expected a finite number"),
        (float, 10**400, "expected a finite number"),
        (str, 3, "x = 3, expected text"),
        (list[int], [1, "2"], "x[1] = '2', expected a whole number"),
        (tuple[int, int], [1], "x = [1], expected a list of 2"),
        (tuple[int, int], [1, None], "x[1] = None, expected a whole number"),
        (dict[str, int], {"a": "b"}, "x.a = 'b', expected a whole number"),
        (Literal["a", "b"], "c", "x = 'c', expected one of a, b"),
        (Literal[1, 2], True, "x = True, expected one of 1, 2"),
        (tuple[float, ...], 3, "x = 3, expected a list"),
        (PositiveInt, 0, "x = 0, expected a whole number from 1"),
        (NonNegativeInt, -1, "x = -1, expected a whole number from 0"),
        (PositiveFloat, 0, "x = 0, expected a number above 0"),
        (NonNegativeFloat, -1e-9, "x = -1e-09, expected a number from 0"),
        (Share, 1.01, "x = 1.01, expected a number from 0 to 1"),
        (PositiveInt | Literal["auto"], "some", "x = 'some', expected a whole number or auto"),
        (PositiveInt | Literal["auto"], 0, "x = 0, expected a whole number from 1 or auto"),
        (Row, {"window": {}}, "x.name is missing"),
        (Row, {"name": "a", "window": {"size": 0, "overlap": 0}}, "x.window.size = 0, expected a whole number from 1"),
        (Window, {"size": 1, "overlap": 0, "hop": 1}, "x.hop is unknown"),
        (Window, [1, 0], "x = [1, 0], expected an object"),
    ],
)
def test_a_value_of_another_type(hint, value, message):
    with pytest.raises(ValueError, match=f"{re.escape(message)}$"):
        of_kind(hint, value, "x")


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [(PositiveInt, 3.0, 3), (list[int], [3.0, 4], [3, 4]), (Literal["auto"] | int, 3.0, 3), (float, 3.0, 3.0)],
)
def test_a_setting_may_be_a_whole_number_with_a_point(hint, value, expected):
    converted = of_setting(hint, value, "x")
    assert (converted, type(converted)) == (expected, type(expected))
    with pytest.raises(ValueError, match="x = 3.5, expected a whole number"):
        of_setting(int, 3.5, "x")


def test_an_unsupported_type_is_an_error_of_the_code():
    with pytest.raises(TypeError, match="is no type of a setting or record"):
        of_kind(set[str], ["a"], "x")
