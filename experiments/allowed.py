"""What a field of an experiment may hold, and how a wrong value is put into one sentence.

Pydantic checks the values where they stand: strictly, so that "7", True and nan are no numbers.
Papermill hands over a list where a tuple is meant, which is taken for one.
"""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)

from utils.system.size import Size

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
Kind = TypeVar("Kind")


def between(least: float, most: float) -> Any:
    """The range of a number; what is larger is a slip: it overflows, or never ends."""
    return Field(ge=least, le=most)


def _size(value: Any) -> Size:
    try:
        return Size.parse(value)
    except ValueError as error:
        raise ValueError(f"is {error}.") from error


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError(f"is {value!r}; expected a name, a path, or None.")
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, AfterValidator(_not_blank)]
Sides = Annotated[Size, PlainValidator(_size)]
ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1_000_000)], ...], BeforeValidator(_tuple)
]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1), BeforeValidator(_tuple)
]


def worded(kind: type[Kind]) -> type[Kind]:
    """A pydantic dataclass whose refusals are ValueErrors in one sentence."""
    check: Callable[..., None] = kind.__init__

    def checked(self: Any, *values: Any, **fields: Any) -> None:
        try:
            check(self, *values, **fields)
        except ValidationError as error:
            raise ValueError(_sentence(error, kind)) from None

    kind.__init__ = checked  # type: ignore[method-assign]  # of the same arguments
    return kind


def _sentence(error: ValidationError, kind: type) -> str:
    """What was found, and what was expected, of the first field that is wrong."""
    first = error.errors(include_url=False)[0]
    name, *inside = first["loc"] or ("",)
    called = f"{name}{''.join(f'[{place!r}]' for place in inside)}"
    limits = first.get("ctx", {})
    if first["type"] == "missing":
        return f"{name} is missing."
    if first["type"] == "value_error":  # ours already
        return f"{called} {limits['error']}".lstrip()
    if first["type"] == "unexpected_keyword_argument":
        return f"no field is called {name!r}."
    words = {"greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}",
             "greater_than": "more than {gt:g}", "less_than": "less than {lt:g}",
             "too_short": "one number or more", "finite_number": "a finite number"}  # fmt: skip
    hint = get_type_hints(kind, include_extras=True)[str(name)]
    expected = words.get(first["type"], "").format(**limits) or _words(hint, bool(inside))
    return f"{called} is {first['input']!r}; expected {expected}."


def _words(hint: Any, inside: bool = False) -> str:
    """What a field's type means to a user; inside asks for an element of it."""
    if get_origin(hint) is Annotated:
        return _words(get_args(hint)[0], inside)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(part, inside) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return _words(get_args(hint)[0]) if inside else "list"
    return "None" if hint is NoneType else str(getattr(hint, "__name__", hint))
