"""What all option models share: they are frozen, grouped for the help, and explain impossible values in one line."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from numbers import Real
from os import PathLike, fspath
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from dragoman.errors import OptionError, nearest


def option(name: str, **limits: Any) -> Any:
    """A pydantic field that also says in which group of the help it stands."""
    return Field(json_schema_extra={"group": name}, **limits)


TokenizerMethod = Literal["word", "char", "bpe", "unigram", "symbols", "features"]
"""How a text is split into tokens."""
Case = Literal["keep", "lower", "upper", "sentence"]
"""What is done to the letters of a source: nothing, small ones, capitals, or what is shouted in sentences made small."""


class Options(BaseModel):
    """Base of all option models: frozen; unknown names and impossible values raise a one-line `OptionError`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,  # what a command does not use is not made ready
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Options]) -> Options:
        """Turn pydantic's report, five lines with a link, into our one line."""
        try:
            return handler(values)
        except ValidationError as error:
            raise OptionError(_sentence(error.errors(include_url=False)[0], cls.model_fields)) from None

    @classmethod
    def of(cls, given: Self | None, *, name: str = "options") -> Self:
        """`given`, or the defaults for None; anything else, such as a dictionary, is an `OptionError`."""
        if given is None:
            return cls.model_construct()  # there is nothing to check, and making the checks ready takes time
        if not isinstance(given, cls):
            raise OptionError(f"`{name}` must be {cls.__name__}(...), but is {given!r:.80}")
        return given

    @field_validator(
        "source", "source_tokenizer", "dev", "test", "require", "forbid", "ensemble", mode="before", check_fields=False
    )
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        """Let one value stand for a list of one, and a number or a path for its text: `dev=2000`, `source=["lemma", 2]`."""
        return tuple(map(_text, value if isinstance(value, list | tuple) else (value,)))

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is wanted: to pydantic they are 1 and 0, so that `layers = true` would be one layer."""
        kinds = get_args(hint := cls.model_fields[info.field_name or ""].annotation) or (hint,)
        if isinstance(value, bool) and bool not in kinds and not {int, float}.isdisjoint(kinds):
            raise PydanticCustomError("int_type" if int in kinds else "float_type", "no number")
        return value

    @field_validator(
        "target",
        "group_by",
        "source_vectors",
        "target_vectors",
        "from_model",
        "reverse",
        "choices",
        "phrase_table",
        mode="before",
        check_fields=False,
    )
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Let the number of a column or a path stand for its text: `target=2`."""
        return _text(value)


def whole(name: str, value: Any) -> int:
    """The argument `name` as a whole number of at least 1; one of NumPy's becomes Python's, which JSON can hold."""
    try:
        number = operator.index(value)
    except TypeError:
        raise OptionError(f"`{name}` must be a whole number, but is {value!r:.80}") from None
    if number < 1:
        raise OptionError(f"`{name}` must be at least 1, but is {number}")
    return number


def _text(value: Any) -> Any:
    if isinstance(value, PathLike):
        return fspath(value)
    return str(value) if isinstance(value, Real) and not isinstance(value, bool) else value


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
}


def _sentence(error: ErrorDetails, names: Iterable[str]) -> str:
    """Say what is wrong with which value, then what would be right: "`beam_size` must be at least 1, but is 0"."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    name = f"`{error['loc'][0]}`" if error["loc"] else "the options"
    shown = f'"{value}"' if isinstance(value, str) else f"{value!r:.80}"
    if kind == "extra_forbidden":
        return f"there is no option {name}; {nearest(str(error['loc'][0]), names)}"
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        hint = nearest(str(value), choices)
        return (
            f"{name} must be one of {', '.join(choices)}, but is {shown}{f'; {hint}' if 'did you mean' in hint else ''}"
        )
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        return f"{name} must be {words} {f'{bound:g}' if isinstance(bound, float) else bound}, but is {value}"
    if kind == "finite_number":
        return f"{name} must be a finite number, but is {value}"
    if kind == "string_too_short":
        return f"{name} must not be empty"
    if wanted := _KINDS.get(kind.split("_")[0]):
        return f"{name} must be {wanted}, but is {shown}"
    return f"{name}: {error['msg']}, but is {shown}"
