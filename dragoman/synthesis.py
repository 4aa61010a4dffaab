"""The Python functions that train on pairs which models make: distillation and back-translation.

>>> import dragoman
>>> student = dragoman.distill("teacher", "pairs.tsv", out="student")
>>> translator = dragoman.backtranslate("reverse-model", "french.txt", "pairs.tsv", out="model")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.config import MachineOptions, ReadOptions, SearchOptions, TrainOptions, splitting_of, whole
from dragoman.corpus.reading import check_named_tsv, format_before, format_of
from dragoman.errors import OptionError, StorageError, needs_extra
from dragoman.making import train
from dragoman.places import check_claim, locate
from dragoman.storage import ModelDirectory
from dragoman.training.events import Listener, ignore
from dragoman.training.launch import launched
from dragoman.translation.outputs import Translation
from dragoman.translator import Translator, load, models_of

with needs_extra("making pairs"):
    from dragoman.training.preparation import FILE_OPTIONS, files_of, reads_files, remake_only
    from dragoman.translation.synthetic import BackTranslation, Distillation, PairsFile

if TYPE_CHECKING:
    from dragoman.training.preparation import Pairs, Remaker

_MAKING = frozenset({*ReadOptions.model_fields, *MachineOptions.model_fields, "dev", "test", "seed", "split_seed"})
"""Options that matter where pairs are made and nothing is trained."""
_AS_THE_TEACHER = {*ReadOptions.model_fields, "dev", "test", "seed"} - {"format", "strict"}
"""Options of a student that are the teacher's unless they are given."""

_OF_A_FORMAT = frozenset({"separator", "header", "pattern"})
"""Of these, those that mean nothing, or something else, for a file of another format."""


def distill(
    teacher: str | Path,
    pairs: Pairs,
    *,
    out: str | Path | None = None,
    write: str | Path | None = None,
    options: TrainOptions | None = None,
    search: SearchOptions | None = None,
    ensemble: Iterable[str | Path] = (),
    reverse: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    command: str | None = None,
) -> Translator | None:
    """Train a student on what a teacher makes of the training part's sources (Kim and Rush 2016).

    `teacher` (and `ensemble`, `reverse`: see `load`) translates every different source once, by `search`; every output is a
    pair. They go to `write`, by default OUT.synthetic.tsv, which a stopped call goes on with. Dev and test are the true pairs.
    What `options` leave unset of the columns and the split is as in the teacher's training (separator, header and pattern
    only for a file of the same format). Without `out` nothing is trained, and nothing returned.
    """
    options, search = TrainOptions.of(options), SearchOptions.of(search, name="search")
    _check_used(out, options)
    ensemble = models_of(ensemble)
    model = load(teacher, device=options.device, threads=options.threads, ensemble=ensemble, reverse=reverse)
    stored = {name: value for name, value in model.config["options"].items() if name in _AS_THE_TEACHER}
    stored["split_seed"] = splitting_of(model.config["options"])
    given = {name: getattr(options, name) for name in options.model_fields_set}
    if not reads_files(pairs, TrainOptions(**{**stored, **given})):
        stored = {name: value for name, value in stored.items() if name not in FILE_OPTIONS}
    elif (files := files_of(pairs)) and (options.format or format_of(files) or "tsv") != format_before(model.config):
        stored = {name: value for name, value in stored.items() if name not in _OF_A_FORMAT}
    options = TrainOptions(**{**stored, **given})
    models = [teacher, *ensemble]
    file = _pairs_file(out, write, models, reverse, search, inputs=files_of(pairs), overwrite=overwrite)
    remake = Distillation(_translates(model, search), file)
    return _train_on(remake, pairs, out, options, overwrite=overwrite, listener=listener, command=command)


def backtranslate(
    reverse_model: str | Path,
    texts: str | Path,
    pairs: Pairs,
    *,
    out: str | Path | None = None,
    write: str | Path | None = None,
    repeat: int = 1,
    options: TrainOptions | None = None,
    search: SearchOptions | None = None,
    ensemble: Iterable[str | Path] = (),
    reverse: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    command: str | None = None,
) -> Translator | None:
    """Train on true pairs, and on ones whose sources a model from target to source makes (Sennrich et al. 2016).

    `texts` is a file of lines in the target language; `ensemble` and `reverse` (here from source to target) are as for
    `load`. The made pairs go to `write`, by default OUT.synthetic.tsv, which a stopped call goes on with. Every true pair
    of the training part counts `repeat` times. Dev and test are true pairs; lines that are targets of theirs are left out,
    and so are made pairs that have a source of theirs. Without `out` nothing is trained, and nothing returned.
    """
    options, search = TrainOptions.of(options), SearchOptions.of(search, name="search")
    repeat = whole("repeat", repeat)
    _check_used(out, options, repeat=repeat)
    if len(options.source) > 1:
        raise OptionError("`source` names several columns, but a back-translation is one text")
    ensemble = models_of(ensemble)
    model = load(reverse_model, device=options.device, threads=options.threads, ensemble=ensemble, reverse=reverse)
    if model.source_columns > 1:
        raise OptionError(
            f"{reverse_model} must have one source column, which reads TEXTS, but has {model.source_columns}"
        )
    models = [reverse_model, *ensemble]
    file = _pairs_file(out, write, models, reverse, search, inputs=[texts, *files_of(pairs)], overwrite=overwrite)
    reading = ReadOptions(normalization=options.normalization, encoding=options.encoding)
    remake = BackTranslation(_translates(model, search), file, texts, reading, repeat=repeat)
    return _train_on(remake, pairs, out, options, overwrite=overwrite, listener=listener, command=command)


def _check_used(out: str | Path | None, options: TrainOptions, *, repeat: int = 1) -> None:
    """Raise `OptionError` for an option of training if nothing is trained."""
    if out is not None:
        return
    fields = TrainOptions.model_fields
    given = [name for name in fields if name not in _MAKING and getattr(options, name) != fields[name].default]
    for name in given + ["repeat"] * (repeat > 1):
        raise OptionError(
            f"`{name}` is for training, but without `out` nothing is trained: leave it out, or give `out`"
        )


def _pairs_file(
    out: str | Path | None,
    write: str | Path | None,
    models: Sequence[str | Path],
    reverse: str | Path | None,
    search: SearchOptions,
    *,
    inputs: Sequence[str | Path],
    overwrite: bool,
) -> PairsFile:
    """Where made pairs go; found wrong before any work is done."""
    if out is None and write is None:
        raise OptionError("`out` is missing, or `write` to make pairs and train nothing")
    if out is None and launched().world > 1:
        raise OptionError("`out` is missing: without it pairs are only made, which one process does alone")
    if out is not None:
        check_claim(Path(out), overwrite=overwrite)
    path = Path(write) if write is not None else Path(f"{out}.synthetic.tsv")
    if out is not None and path.resolve() == Path(out).resolve():
        raise OptionError(f"`write` and `out` must be different, but both are {path}")
    check_named_tsv(path)
    if path.exists() and any(Path(name).exists() and path.samefile(name) for name in inputs):
        raise StorageError(f"{path} is one of the files that are read; choose another `write`")
    maker = {"models": [_weights_sum(name) for name in models], "search": search.model_dump(mode="json")}
    if reverse is not None:
        maker["reverse"] = _weights_sum(reverse)
    return PairsFile(path, maker, overwrite=overwrite)


def _weights_sum(model: str | Path) -> str:
    return ModelDirectory.open(locate(model)).weights_sum


def _translates(model: Translator, search: SearchOptions) -> Callable[[list[str]], list[Translation]]:
    return lambda texts: model.translate(texts, options=search)


def _train_on(
    remake: Remaker,
    pairs: Pairs,
    out: str | Path | None,
    options: TrainOptions,
    *,
    overwrite: bool,
    listener: Listener,
    command: str | None,
) -> Translator | None:
    """Train on made pairs; without `out` only make them."""
    if out is None:
        remake_only(pairs, options, remake, listener)
        return None
    return train(
        pairs, out=out, options=options, overwrite=overwrite, listener=listener, command=command, remake=remake
    )
