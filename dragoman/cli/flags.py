"""From option models to flags and back; does not know any command.

A command names the models that it takes (`options: TrainOptions`); `flags_of_models` spreads each over one flag per field for
cyclopts, with the field's help, choices and default, and builds the model again from the flags that were given. Values
travel as text: the model, not the parser, says what is wrong with them.
"""

from __future__ import annotations

import functools
import inspect
import re
import tomllib
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Group, Parameter
from cyclopts.token import Token
from pydantic.fields import FieldInfo

from dragoman.cli.arguments import FLAGS, flag
from dragoman.cli.failures import called_elsewhere
from dragoman.config import Options
from dragoman.errors import DataError, OptionError, nearest

Command = TypeVar("Command", bound=Callable[..., None])
Model = TypeVar("Model", bound=Options)

_GROUPS = (
    "Data",
    "Tokenisation",
    "Embeddings",
    "Model",
    "Training",
    "Search",
    "Sampling",
    "Constraints",
    "Choosing",
    "Machine",
)
_LOOKS_LIKE_A_FLAG = re.compile(r"--[A-Za-z][\w-]*(=.*)?", re.DOTALL)
_METAVARS = {int: "INT", float: "NUMBER"}


def flags_of_models(command: Command) -> Command:
    """Replace every parameter of `command` that is an option model by one flag per field."""
    hints = typing.get_type_hints(command, include_extras=True)
    models = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Options)}
    parameters: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in models:
            for name, field in models[parameter.name].model_fields.items():
                # Of two models with one name, the first has the flag.
                parameters.setdefault(name, _parameter(name, field))
        else:
            parameters[parameter.name] = parameter.replace(annotation=_exact(hints[parameter.name]))

    @functools.wraps(command)
    def spread(*words: str, **given: Any) -> None:
        for name, model in models.items():
            fields = {key: given.pop(key) for key in list(given) if key in model.model_fields}
            values = {key: value for key, value in fields.items() if value is not None}
            given[name] = model(**values) if values else model.of(None)
        command(*words, **given)

    spread.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    spread.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    spread.__doc__ = "\n\n".join(" ".join(text.split()) for text in (inspect.getdoc(command) or "").split("\n\n"))
    return typing.cast(Command, spread)


def _exact(hint: Any) -> Any:
    """A command's own parameter, a whole number of which must be typed as one: cyclopts would round 1.5."""
    kind, *descriptions = typing.get_args(hint) or (hint,)
    return Annotated[int, Parameter.combine(*descriptions, Parameter(converter=_whole))] if kind is int else hint


def _whole(hint: type, tokens: Sequence[Token]) -> int:
    del hint
    return int(tokens[0].value)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """One keyword-only parameter for cyclopts, `None` when the flag is not given."""
    kinds = list(_kinds(field.annotation))
    many = tuple in kinds or any(typing.get_origin(kind) is tuple for kind in kinds)
    choices = [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]
    hint: Any = bool | None if bool in kinds else list[str] | None if many else str | None
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    group = str(extra.get("group", "Options"))
    notes = [f"Choices: {', '.join(choices)}."] if choices else []
    if field.default not in (None, ()) and field.default is not False:
        notes.append(f"Default: {shown(field.default)}.")
    words = re.sub(r"`([a-z_]+)`", lambda other: flag(other[1]), field.description or "")
    description = Parameter(
        name=flag(name),
        help=" ".join([words, *notes]),
        group=Group(group, sort_key=_GROUPS.index(group) + 1 if group in _GROUPS else len(_GROUPS) + 1),
        metavar=next((word for kind, word in _METAVARS.items() if kind in kinds), "TEXT"),
        negative=None if bool in kinds else (),
        json_list=False,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint, description]
    )


def shown(value: Any) -> str:
    """A default as people type it: 1 for 1.0, yes for a switch that is on."""
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _kinds(hint: Any) -> Iterator[Any]:
    """The types that a field's annotation is made of: `tuple[Literal["a"], ...] | None` gives tuple and the literal."""
    if typing.get_origin(hint) is Literal or not typing.get_args(hint):
        yield hint
        return
    if typing.get_origin(hint) is tuple:
        yield tuple
    for part in typing.get_args(hint):
        yield from _kinds(part)


def arrange(words: Sequence[str], command: Callable[..., None]) -> list[str]:
    """Put options first, then `--`, then the rest, so that a sentence may begin with a hyphen.

    What follows `--` is never an option; before it, `--word` is one (known or mistyped) and `- yes`, `-x` and `--` in
    front of a blank are text.
    """
    takes_value = flags_of(command)
    options: list[str] = []
    texts: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")  # as in a file of options, --beam_size is --beam-size
        if word == "--":
            texts.extend(rest)
        elif word == "-h" and not texts:
            options.append("--help")
        elif not _LOOKS_LIKE_A_FLAG.fullmatch(word):
            texts.append(word)
        elif takes_value.get(name) and not equals and (following := next(rest, None)) is not None:
            options.append(f"{name}={following}")
        else:
            options.append(f"{name}{equals}{value}")
    return [*options, "--", *texts]


def flags_of(command: Callable[..., None]) -> dict[str, bool]:
    """Every flag of `command`, and whether a value follows it."""
    flags = {"--help": False}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            flags.update(_flags(parameter))
    return flags


def _flags(parameter: inspect.Parameter) -> dict[str, bool]:
    """What one keyword-only parameter is called on the command line, and whether a value follows it."""
    hint, description = typing.get_args(parameter.annotation)
    is_switch = bool in _kinds(hint)
    flags = dict.fromkeys(description.name or (flag(parameter.name),), not is_switch)
    if is_switch and description.negative != ():
        flags |= {f"--no-{name[2:]}": False for name in flags}
    return flags


def with_only(flags: Iterable[str], command: Callable[..., None]) -> Callable[..., None]:
    """`command` without the optional flags that are not among `flags`: cyclopts takes time for each flag that it is told of.

    It stays whole if one of `flags` is unknown or asks for help, so that cyclopts says what there is.
    """
    names = {each.partition("=")[0] for each in flags}
    if "--help" in names or not names <= flags_of(command).keys():
        return command

    @functools.wraps(command)
    def narrowed(*words: str, **given: Any) -> None:
        command(*words, **given)

    narrowed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            or parameter.default is inspect.Parameter.empty
            or not names.isdisjoint(_flags(parameter))
        ]
    )
    return narrowed


def with_file(options: Model, path: Path | None) -> Model:
    """`options`, with what they leave unset taken from the TOML file at `path`, whose keys are names of flags or of fields."""
    if path is None:
        return options
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not valid TOML: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: is not valid TOML: its values are nested too deeply") from None
    fields = type(options).model_fields
    typed = {flag(name).removeprefix("--").replace("-", "_"): name for name in fields}
    from_file: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        name = typed.get(name, name)
        if name not in fields:
            near = () if isinstance(value, dict) else typed  # a table is no option with another name
            raise OptionError(f"{path}: {_no_option(key, near)}")
        if name in from_file:
            raise OptionError(f"{path}: {key} is there twice, under two names: leave one out")
        from_file[name] = value
    try:
        type(options)(**from_file)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None
    given = {name: getattr(options, name) for name in options.model_fields_set}
    return type(options)(**{**from_file, **given})


def _no_option(key: str, known: Collection[str]) -> str:
    """What is wrong with a key of a file that is not among the names that are known there."""
    name = key.replace("-", "_")
    if flag(name) in FLAGS.get():
        return f"{key} cannot be given in the file; give {flag(name)} with the command"
    meant = (called_elsewhere(key) or "").removeprefix("--")
    hint = f'did you mean "{meant}"?' if meant.replace("-", "_") in known else nearest(name, known)
    return f"there is no option {key}; {hint if 'did you mean' in hint else '--help lists the options'}"
