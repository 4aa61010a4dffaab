"""`dragoman demo`: train a bundled sample in about two minutes, score it, and translate what it never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import notice, show_messages, table
from dragoman.cli.progress import watcher
from dragoman.config import MachineOptions, SearchOptions, TrainOptions
from dragoman.errors import StorageError

if TYPE_CHECKING:
    from dragoman.translator import Translator


@dataclass(frozen=True)
class Demo:
    """One bundled sample and what to show with it."""

    sample: str
    """Name of the files in dragoman/samples."""
    out: str
    """Where the model goes, in the current directory."""
    about: str
    """What is being trained, for people."""
    sentences: tuple[str, ...]
    """What to translate; none of them is in the training part."""
    caution: str
    """What not to expect."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the defaults."""


_SMALL: Mapping[str, Any] = {"layers": 1}
"""A model that reads the data 1.6 times as often in two minutes as one of two layers."""

DEMOS: Mapping[str, Demo] = {
    "translator": Demo(
        sample="eng-fra",
        out="demo-translator",
        about="an English-French translator, from 24,000 short sentences made of common words (Tatoeba)",
        sentences=(
            "We need your help now.",
            "I don't know what he said.",
            "She wanted to go with me.",
            "You have to come with us.",
            "She is a good student.",
        ),
        values={
            "layers": 1,
            "batch_tokens": 500,
            "max_steps": 2500,
            "average_decay": 0.998,
            "eval_every": 500,
        },
        caution="The sentences are an easy slice: the score says that training works, not how well French is translated.",
    ),
    "chatbot": Demo(
        sample="korean-chatbot",
        out="demo-chatbot",
        about="a Korean chatbot, from 11,500 questions and answers (Youngsook Song)",
        sentences=("오늘 너무 피곤해요", "여행 가고 싶은데 돈이 없어", "친구랑 싸웠는데 어떡해", "배고픈데 뭐 먹지"),
        values=_SMALL,
        caution="An answer is one of many good ones, so a score against the one in the file says little here.",
    ),
    "korean": Demo(
        sample="eng-kor",
        out="demo-korean",
        about="an English-Korean translator, from only 5,300 sentences (Tatoeba): too few for more than frequent phrases",
        sentences=("I like music.", "Where do you live now?", "Tom is my friend.", "I don't know what to say."),
        values=_SMALL,
        caution="This sample is small. A useful translator needs a hundred times as many pairs.",
    ),
}
_MINUTES = 2.3
_QUICK: Mapping[str, Any] = {
    "max_steps": 20,
    "embedding_size": 32,
    "hidden_size": 32,
    "eval_every": 10,
    "vocab_size": 500,
}
_SHOWN = 3


@flags_of_models
def demo(
    name: Annotated[
        Literal["translator", "chatbot", "korean"], Parameter(help="Which sample to train.")
    ] = "translator",
    /,
    *,
    overwrite: Annotated[
        bool, Parameter(help="Train again; the model of an earlier demo is kept as OUT.old.", negative=())
    ] = False,
    quick: Annotated[
        bool, Parameter(help="Only test the installation: train a tiny model for seconds, and delete it.", negative=())
    ] = False,
    machine: MachineOptions,
) -> None:
    """Train a bundled sample in about two minutes and try it.

    The model is written to ./demo-translator, ./demo-chatbot or ./demo-korean; a finished one is used again.
    """
    show_messages()
    chosen = DEMOS[name]
    if quick:
        with tempfile.TemporaryDirectory(prefix="dragoman-demo-") as folder:
            _show(chosen, _train(chosen, Path(folder) / chosen.out, machine, quick=True, overwrite=False))
        notice("This was the quick demo: the model learned nothing. The real one is: dragoman demo")
        return
    out = Path(chosen.out)
    translator = None if overwrite else _finished(chosen, out, machine)
    _show(chosen, translator or _train(chosen, out, machine, quick=False, overwrite=overwrite))
    _what_next(chosen)


def _finished(chosen: Demo, out: Path, machine: MachineOptions) -> Translator | None:
    """The model of an earlier demo, if there is one."""
    if not out.exists():
        return None
    from dragoman import load
    from dragoman.storage import ModelDirectory

    config = ModelDirectory.open(out, weights=False).config
    if f"{chosen.sample}.tsv" not in config["data"]["read"]["name"] or "test" not in config["scores"]:
        raise StorageError(
            f"{out} is no finished demo; give --overwrite to train again (what is there is kept as {out}.old)"
        )
    notice(f"using the model in {out}; --overwrite trains it again")
    return load(out, device=machine.device, threads=machine.threads)


def _train(chosen: Demo, out: Path, machine: MachineOptions, *, quick: bool, overwrite: bool) -> Translator:
    """Train the sample into `out`, with the held-out file as test data."""
    import dragoman

    samples = files("dragoman") / "samples"
    with (
        as_file(samples / f"{chosen.sample}.tsv.gz") as pairs,
        as_file(samples / f"{chosen.sample}-test.tsv.gz") as test,
    ):
        values = {"max_minutes": _MINUTES, "dev": ("200",), "test": (str(test),), **chosen.values}
        if quick:
            values |= _QUICK
        options = TrainOptions(**(values | machine.model_dump(exclude_unset=True)))
        notice(f"training {chosen.about}")
        with watcher() as listener:
            return dragoman.train(
                pairs, out=out, options=options, overwrite=overwrite, listener=listener, command="dragoman demo"
            )


def _show(chosen: Demo, translator: Translator) -> None:
    """Print the score and the candidates."""
    scores = translator.config["scores"]["test"]
    signatures = scores.get("signatures", {})
    print(
        f"\nOn {scores['items']:,} sources that it never saw, with {scores['references']:,} right answers, {scores['search']}:"
    )
    metrics = [name for name in ("bleu", "chrf", "exact_match") if name in scores]
    print(table([(name, f"{scores[name]:.2f}", signatures.get(name, "")) for name in metrics], right=(1,)))
    print(chosen.caution)
    search = SearchOptions(num_hypotheses=_SHOWN, max_length=40)
    for translation in translator.translate(chosen.sentences, options=search):
        print(f"\n{translation.source}")
        print(table([("", f"{c.normalized_score:.3f}", c.text) for c in translation.candidates], right=(1,)))


def _what_next(chosen: Demo) -> None:
    """Print what to try now."""
    talk = "chat" if chosen.sample == "korean-chatbot" else "translate"
    print(f"""
What to try next:
  dragoman {talk} {chosen.out}
  dragoman inspect {chosen.out} "{chosen.sentences[0]}"
  dragoman info {chosen.out}
  dragoman train pairs.tsv --out model        your own two columns""")
