"""The table of commands and the way from arguments to an exit code; knows nothing of what a command does."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, Group, Parameter

import dragoman
from dragoman.cli import failures
from dragoman.cli.arguments import FLAGS, WORDS
from dragoman.training.interrupt import terminated_as_interrupted

COMMANDS = {
    "train": "Train a model from a file of pairs.",
    "distill": "Train a student model on the outputs of a teacher model.",
    "backtranslate": "Train on your pairs and on target text that a reverse model translates back.",
    "translate": "Translate sentences, a file or standard input.",
    "evaluate": "Score a model on a file of pairs.",
    "compare": "Test whether one model is significantly better than another.",
    "gap": "Measure the teacher-forcing gap: what a model loses by reading its own outputs.",
    "calibrate": "Fit a model's confidence to how often it is right.",
    "score": "Compute how probable a model finds given pairs.",
    "inspect": "Look inside a model: context vector, candidates, attention, gradients through time.",
    "chat": "Chat with a model, line by line.",
    "info": "Show what a model is: sizes, options, data, scores.",
    "export": "Write a model's ONNX graphs, with which it translates without PyTorch.",
    "shortlist": "Make a lexical shortlist, with which a large vocabulary is searched faster.",
    "check": "Check a file of pairs for faults that spoil training.",
    "demo": "Train a bundled sample in about two minutes and try it.",
}
_EXAMPLES = """\
Examples:
  dragoman demo                              see it work in about two minutes
  dragoman train pairs.tsv --out model       two columns in, a model out
  dragoman translate model "Go home."        one sentence, or many
  dragoman translate model <in.txt >out.txt  line by line
  dragoman COMMAND --help                    every option of a command"""


def build(running: Callable[..., None] | None = None) -> App:
    """The application; of its commands only the module of the one that is `running` has been imported."""
    app = App(
        name="dragoman",
        help="From a file of pairs to a trained and measured sequence-to-sequence model.",
        help_epilogue=_EXAMPLES,
        help_format="plaintext",
        version=f"dragoman {dragoman.__version__}",
        group_parameters=Group("Options", sort_key=0),
        default_parameter=Parameter(show_default=False),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for position, (name, summary) in enumerate(COMMANDS.items()):
        if running is not None and name == running.__name__:
            app.command(running, name=name, help_epilogue="", sort_key=position)
        else:
            app.command(f"dragoman.cli.{name}:{name}", name=name, help=summary, sort_key=position)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong ends as one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _open_missing_streams()
        _use_utf8()
        WORDS.set(tuple(words))
        FLAGS.set(())
        # Of several processes only the main one has anything to put away; the others end at once.
        with terminated_as_interrupted() if failures.process().main else contextlib.nullcontext():
            running, tokens = _parts(words)
            build(running)(tokens)
            sys.stdout.flush()
    except SystemExit:  # how rich, which prints the help, leaves when its reader has gone away
        return failures.READER_GONE
    except (Exception, KeyboardInterrupt) as error:
        code = failures.report(error, command=words[0] if words else "")
        _flush()
        return code
    return 0


def command(name: str) -> Callable[..., None]:
    """The function behind a command."""
    function: Callable[..., None] = getattr(importlib.import_module(f"dragoman.cli.{name}"), name)
    return function


def _parts(words: list[str]) -> tuple[Callable[..., None] | None, list[str]]:
    """The function to run and what cyclopts is to parse; from here on messages know the flags of the command."""
    if not words or words[0] in ("--help", "-h", "--version"):
        return None, words[:1]
    if words[0] not in COMMANDS:
        raise failures.unknown_command(words[0], [*COMMANDS, "--help", "--version"])
    from dragoman.cli.flags import arrange, flags_of, with_only

    function = command(words[0])
    FLAGS.set(flags_of(function))
    tokens = arrange(words[1:], function)
    return with_only(tokens[: tokens.index("--")], function), [words[0], *tokens]


def _open_missing_streams() -> None:
    """What the shell has closed (`>&-`) is nothing to read, and nowhere to write."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115


def _use_utf8() -> None:
    """Text goes in and out as UTF-8, whatever the locale says; a byte that is none spoils its own line."""
    for stream, how in (
        (sys.stdin, {"errors": "surrogateescape", "newline": "\n"}),  # a CR alone ends no line
        (sys.stdout, {"errors": "backslashreplace"}),
        (sys.stderr, {"errors": "backslashreplace"}),
    ):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(io.UnsupportedOperation):  # a standard input that was read before
                reconfigure(encoding="utf-8", **how)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            failures.silence(stream)
