"""Which values a field of an experiment may have, and one sentence for an invalid one.

Pydantic checks strictly: "7", True and nan are not numbers. A list, as papermill passes it, is
accepted as a tuple.
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
    WrapValidator,
)

from utils.system.fold import Fold
from utils.system.size import Size

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
Kind = TypeVar("Kind")


def between(least: float, most: float) -> Any:
    """The range of a number; larger ones are typing errors that overflow, or never end."""
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


def _or_balanced(value: Any, check: Callable[[Any], Any]) -> Any:
    if isinstance(value, str) and value != "balanced":
        raise ValueError(f"is {value!r}; expected a list of numbers, 'balanced', or None.")
    return value if isinstance(value, str) else check(value)


def _class(name: str) -> str:
    """A class's name, which is that of a column and part of a file's."""
    if not name.isidentifier() or name != name.lower():
        raise ValueError(f"is {name!r}; expected small letters, digits and underscores.")
    return name


Name = Annotated[str, AfterValidator(_not_blank)]
Sides = Annotated[Size, PlainValidator(_size)]
ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1_000_000)], ...], BeforeValidator(_tuple)
]
# "balanced": n / (C n_c), C classes of n_c of the n images that are trained on.
LabelWeights = Annotated[ClassWeights, WrapValidator(_or_balanced)]
Classes = Annotated[
    tuple[Annotated[str, AfterValidator(_class)], ...],
    Field(min_length=2, max_length=20),
    BeforeValidator(_tuple),
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_tuple)]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1), BeforeValidator(_tuple)
]


def worded(kind: type[Kind]) -> type[Kind]:
    """A pydantic dataclass whose errors are ValueErrors of one sentence."""
    check: Callable[..., None] = kind.__init__

    def checked(self: Any, *values: Any, **fields: Any) -> None:
        try:
            check(self, *values, **fields)
        except ValidationError as error:
            raise ValueError(_sentence(error, kind)) from None

    kind.__init__ = checked  # type: ignore[method-assign]  # of the same arguments
    return kind


def _sentence(error: ValidationError, kind: type) -> str:
    """The value of the first invalid field, and what was expected."""
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
             "too_short": "{min_length} or more", "too_long": "at most {max_length}",
             "finite_number": "a finite number"}  # fmt: skip
    hint = get_type_hints(kind, include_extras=True)[str(name)]
    expected = words.get(first["type"], "").format(**limits) or _words(hint, bool(inside))
    return f"{called} is {first['input']!r}; expected {expected}."


_PLAIN = {
    NoneType: "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def _words(hint: Any, inside: bool = False) -> str:
    """A field's type for a user; inside means an element of it."""
    if get_origin(hint) is Annotated:
        return _words(get_args(hint)[0], inside)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(part, inside) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return _words(get_args(hint)[0]) if inside else "a list"
    return _PLAIN.get(hint) or str(getattr(hint, "__name__", hint))


def _fold(text: str) -> str:
    try:
        return str(Fold.parse(text))
    except ValueError as error:
        raise ValueError(f"is {error}") from None


FoldName = Annotated[str, AfterValidator(_fold)]  # "2/5" or "series 2/5"
