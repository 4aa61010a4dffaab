"""The Python functions that make a model: `train` one from pairs, `resume` a training, `export` graphs.

>>> import dragoman
>>> translator = dragoman.train("pairs.tsv", out="model")
>>> translator.translate("Go home.").text
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dragoman.bundle import is_bundle
from dragoman.config import ThreadOptions, TrainOptions
from dragoman.errors import DragomanError, Interrupted, OptionError, StorageError, needs_extra
from dragoman.files import as_word, check_place, write_text
from dragoman.storage import CARD, ModelDirectory
from dragoman.training.events import Listener, Note, ignore
from dragoman.training.interrupt import terminated_as_interrupted
from dragoman.training.launch import launched
from dragoman.translation.loading import check_precision, load_model, training_session
from dragoman.translation.texts import Texts
from dragoman.translator import Translator, load

if TYPE_CHECKING:
    from dragoman.runtime.parity import Parity
    from dragoman.training.preparation import Pairs, Remaker


def train(
    pairs: Pairs,
    *,
    out: str | Path | None = None,
    options: TrainOptions | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    command: str | None = None,
    remake: Remaker | None = None,
) -> Translator:
    """Train a model on a file, on two aligned files, or on (source, target) pairs.

    Without `out` the model lives in memory (and a temporary folder) until `save_pretrained`. With `overwrite` a model
    that stands at `out` is kept as `OUT.old`. `listener` is called with the events of `dragoman.training.events`.
    `command` is what the model card says made the model. `remake` makes the pairs that are trained on from the training part's.

        >>> train("pairs.tsv", out="model", options=TrainOptions(preset="textbook", max_minutes=5))
    """
    options = TrainOptions.of(options)
    session = training_session()
    if out is None and launched().world > 1:
        raise OptionError("`out` is missing: several processes need a directory that all of them see")
    path = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="dragoman-")) / "model"
    try:
        session.start(pairs, path, options, overwrite=overwrite, listener=listener, command=command, remake=remake)
        translator = _finished(path, options, listener)
    except BaseException as error:  # what was interrupted, or found the disk full, is kept, to go on with
        if out is None and not (isinstance(error, StorageError | KeyboardInterrupt) and path.exists()):
            shutil.rmtree(path.parent, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(translator, shutil.rmtree, path.parent, ignore_errors=True)
    return translator


def resume(path: str | Path, *, options: TrainOptions | None = None, listener: Listener = ignore) -> Translator:
    """Go on with a training that was stopped, exactly as if it had not been.

    The stored options hold; `options` may only give other limits (`epochs`, `max_steps`, `max_minutes`, `patience`) and
    choose the machine. Any other that differs is an `OptionError`, and so is a limit below what the run has had already. A
    finished training stays as it is, unless a limit is raised.
    """
    options = TrainOptions.of(options)
    training_session().go_on(Path(path), options, listener=listener)
    return _finished(Path(path), options, listener)


def export(
    path: str | Path,
    *,
    precision: str = "auto",
    bundle: str | Path | None = None,
    threads: int | None = None,
) -> dict[str, Parity]:
    """Write a model's ONNX graphs into its directory, so that it translates without PyTorch.

    `precision` is float32, int8, float16, or auto for float32 and int8. They are held against PyTorch on sentences of the model's
    development data (random ones, if it has none any more); the result is returned by precision, and stands in the
    configuration and the model card. Graphs of other precisions stay if they are of the same weights. `bundle` names a file to
    write besides: all that translating needs, with the graphs of that precision (auto: of the default). Raises `StorageError`
    if the graphs differ from PyTorch.
    """
    with needs_extra("exporting"):
        from dragoman.runtime.export import STANDARD, add_shortlist_graphs, check_sample, export_graphs
        from dragoman.training.card import model_card
        from dragoman.training.machine import apart
    check_precision(precision)
    threads = ThreadOptions(threads=threads).threads  # or an error
    directory = ModelDirectory.open(path)
    directory.require_folder("exporting")
    if bundle is not None:
        check_place(Path(bundle))
        if Path(bundle).is_file() and not is_bundle(Path(bundle)):  # such as a part of the model
            raise StorageError(f"{bundle} exists and is no bundle, so it is left alone; choose another `bundle`")
    texts = Texts(directory.config, directory.read_text)
    weights = directory.weights_sum  # before they are read: a training may replace them meanwhile
    with apart():
        model = load_model(directory, device="cpu", threads=threads)
        sample = check_sample(
            directory, lambda some: texts.encode_sources(some).ids, texts.encode_targets, texts.target_tokenizer.decode
        )
        precisions = STANDARD if precision == "auto" else (precision,)
        found = export_graphs(directory, model, sample, weights=weights, precisions=precisions, threads=threads)
        if directory.has_shortlist:
            add_shortlist_graphs(directory, model)
    directory.update_config("onnx", directory.config["onnx"])
    write_text(directory.path / CARD, model_card(directory.config))
    if bundle is not None:
        directory.write_bundle(Path(bundle), precision=precision)
    return found


def _finished(path: Path, options: TrainOptions, listener: Listener) -> Translator:
    """Export what was trained, which must not spoil the training if it fails, and load it."""
    main = launched().main
    if main and not _has_its_graphs(path):
        try:
            with terminated_as_interrupted():
                for precision, parity in export(path, threads=options.threads).items():
                    listener(Note(f"ONNX graphs, {precision}: {parity}"))
        except KeyboardInterrupt:
            text = f"the model is trained, but has no ONNX graphs yet; make them with: dragoman train --resume {as_word(path)}"
            raise Interrupted(text) from None
        except (DragomanError, OSError) as error:  # such as a full disk
            listener(Note(f"the model has no ONNX graphs: {error}", warning=True))
    engine = "auto" if main else "torch"  # the main process is writing the graphs
    return load(path, engine=engine, device=options.device, threads=options.threads)


def _has_its_graphs(path: Path) -> bool:
    """Whether a training has come to its end here before, the export included, and has changed no weight since."""
    directory = ModelDirectory.open(path)
    with suppress(StorageError):  # a damaged list of graphs is made again
        return directory.has_graphs and "onnx" in directory.config and not directory.graphs_are_stale
    return False
