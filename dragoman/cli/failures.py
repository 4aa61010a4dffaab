"""What a user sees when a command fails: one line and an exit code. Does not know what the commands do.

2    anything the user can put right: wrong options, unreadable or unusable files, a full disk, too little memory
130  interrupted: by Ctrl-C, SIGTERM, or SIGHUP of a terminal that is closed
141  whoever read our output went away (`| head`): not worth a word
1    our own bug, with its traceback
"""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Iterable
from contextlib import suppress

from cyclopts import exceptions as cyclopts
from cyclopts.token import Token

from dragoman.cli.arguments import FLAGS, as_flags
from dragoman.cli.output import one_line
from dragoman.errors import DragomanError, MissingExtraError, OptionError, nearest
from dragoman.files import NO_SPACE
from dragoman.training.launch import ALONE, Launch, launched

USER_ERROR = 2
INTERRUPTED = 130
READER_GONE = 141
ELSEWHERE = {
    "--attention-heads": "heads num-heads",
    "--average-decay": "ema",
    "--batch-tokens": "batch batch-size max-tokens",
    "--beam-size": "beam num-beams",
    "--cell": "rnn-type rnn",
    "--clip-norm": "grad-clip max-grad-norm",
    "--copy": "copy-attn",
    "--decoder-layers": "dec-layers",
    "--dev": "dev-file dev-size val valid valid-file validation",
    "--device": "cpu cuda gpu gpus ngpus",
    "--encoder-layers": "enc-layers",
    "--hidden-size": "dim hidden rnn-size",
    "--learning-rate": "lr",
    "--max-length": "max-len",
    "--max-minutes": "max-time time-limit",
    "--num-hypotheses": "n-best nbest",
    "--out": "output output-dir save-dir save-model",
    "--patience": "early-stopping",
    "--precision": "amp bf16 fp16 int8",
    "--preset": "arch model",
    "--resume": "checkpoint",
    "--scheduled-sampling": "teacher-forcing",
    "--separator": "delimiter sep",
    "--source": "src",
    "--source-vectors": "glove pretrained vectors word2vec",
    "--target": "tgt trg",
    "--weight-decay": "wd",
}
"""What options of ours are called in other toolkits."""
_SIZES = ("--batch-tokens", "--hidden-size", "--vocab-size", "--beam-size")
"""Options that memory grows with."""
_TRAIN_EXTRA = {"torch", "onnx", "pyarrow", "safetensors", "sacrebleu", "rapidfuzz", "matplotlib"}


def report(error: BaseException, *, command: str = "") -> int:
    """Print the line for `error` on stderr and return the exit code; raise it again if it is our bug."""
    if isinstance(error, KeyboardInterrupt):
        if not process().main:
            return INTERRUPTED
        _print(f"dragoman: {error if str(error) else 'interrupted'}")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    if isinstance(error, cyclopts.CycloptsError):
        return _say(_usage(error, command))
    if isinstance(error, DragomanError):
        return _say(as_flags(str(error)))
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in _TRAIN_EXTRA:
        return _say(str(MissingExtraError(f"dragoman {command}".strip())))
    if isinstance(error, OSError):
        return _say(_file_trouble(error))
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    ):
        return _say(f"there is not enough memory{_less_memory()}")
    raise error


def _less_memory() -> str:
    """What would need less memory, of the options that the command has."""
    *others, last = [name for name in _SIZES if name in FLAGS.get()] or [""]
    return f"; a smaller {' or '.join(filter(None, (', '.join(others), last)))} needs less" if last else ""


def _say(line: str) -> int:
    own = process()
    who = "" if own.main else f"process {own.rank}: "
    _print(f"dragoman: error: {who}{one_line(line)}")
    return USER_ERROR


def _print(line: str) -> None:
    with suppress(OSError):  # nobody reads stderr any more, or it is on a full disk: the exit code still tells
        print(line, file=sys.stderr)


def process() -> Launch:
    """Which process says it; the only one, if the environment does not tell, which is itself an error to be said."""
    try:
        return launched()
    except OptionError:
        return ALONE


def _file_trouble(error: OSError) -> str:
    if error.errno in NO_SPACE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}there is no space left on the disk"
    reason = error.strerror or str(error)
    return (
        f"{error.filename}: {reason[:1].lower()}{reason[1:]}" if error.filename else f"{reason[:1].lower()}{reason[1:]}"
    )


def _usage(error: cyclopts.CycloptsError, command: str) -> str:
    """Our line for what cyclopts found wrong with the arguments."""
    if isinstance(error, cyclopts.UnknownOptionError):
        name = (error.token.keyword or error.token.value).partition("=")[0]
        hint = _nearest_flag(name)
        text = " (-- stands before sentences that begin so)" if command == "translate" else ""
        return f"there is no option {name}; {hint}{text}"
    if isinstance(error, cyclopts.CoercionError) and error.token is not None:
        return _wrong_value(error, error.token)
    if isinstance(error, cyclopts.MissingArgumentError) and error.argument is not None:
        name = error.keyword or error.argument.name
        if name.startswith("--") and not error.argument.field_info.is_positional:
            return f"{name} needs a value" if error.argument.tokens or error.keyword else f"{name} is missing"
        return f"{name.lstrip('-').upper()} is missing; see dragoman {' '.join(error.command_chain or ())} --help"
    if isinstance(error, cyclopts.RepeatArgumentError):
        return f"{error.token.keyword} is given twice"
    if isinstance(error, cyclopts.UnusedCliTokensError):
        return f"there is no use for {', '.join(repr(word) for word in error.unused_tokens or ())} here"
    return str(error)


def _wrong_value(error: cyclopts.CoercionError, token: Token) -> str:
    """Our line for a value that is not of its argument's type."""
    name = token.keyword or (error.argument.name if error.argument else "a value").lstrip("-").upper()
    if choices := typing.get_args(error.target_type):
        hint = nearest(token.value, choices)
        more = f"; {hint}" if "did you mean" in hint else ""
        return f'{name} must be one of {", ".join(choices)}, but is "{token.value}"{more}'
    wanted = {int: "a whole number", float: "a number"}.get(error.target_type or str, "of another kind")
    return f'{name} must be {wanted}, but is "{token.value}"'


def called_elsewhere(name: str) -> str | None:
    """The flag of ours that other toolkits call `name`, with or without dashes before it."""
    name = name.lstrip("-").replace("_", "-")
    return next((ours for ours, others in ELSEWHERE.items() if name in others.split()), None)


def _nearest_flag(name: str) -> str:
    """The flag of this purpose or the nearest, or where to find them: their list would be too long for a line."""
    known = FLAGS.get()
    meant = called_elsewhere(name)
    if meant in known:
        return f'did you mean "{meant}"?'
    hint = nearest(name, known)
    return hint if "did you mean" in hint else "--help lists the options"


def unknown_command(name: str, commands: Iterable[str]) -> OptionError:
    """The error for a command that does not exist."""
    kind = "option" if name.startswith("-") else "command"
    return OptionError(f"there is no {kind} {name}; {nearest(name, commands)}")


def silence(stream: typing.TextIO) -> None:
    """Keep the interpreter from failing once more, with an exit code of its own, on what is left in the buffer of a closed or full stream."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):
        return
