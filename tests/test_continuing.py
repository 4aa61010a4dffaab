"""Going on from an earlier model: its weights and tokenisers, with new data, and nothing that would change its shape."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import dragoman
from dragoman.config import TrainOptions
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenization import UNK
from dragoman.errors import DataError, Interrupted, OptionError, StorageError
from dragoman.storage import ModelDirectory
from dragoman.training.continuing import unknown_share
from dragoman.training.events import Event, Note
from dragoman.training.trainer import Trainer

SHAPE = {"hidden_size": 12, "embedding_size": 8, "layers": 1, "dropout": 0.1, "normalization": "nfkc"}
RUN = {"batch_tokens": 60, "eval_every": 5, "device": "cpu", "threads": 1, "average_decay": 0.0}
STILL = {"optimizer": "sgd", "learning_rate": 1e-12, "warmup_steps": 0, "max_steps": 1}


def numbers(start: int) -> list[tuple[str, str]]:
    return [(f"turn {i} left", f"tourne {i} fois") for i in range(start, start + 60)]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "model"
    dragoman.train(numbers(100), out=path, options=TrainOptions(**SHAPE, **RUN, max_steps=8))  # type: ignore[arg-type]
    return path


def go_on(earlier: Path, out: Path, **more: object) -> list[Event]:
    seen: list[Event] = []
    run = TrainOptions(from_model=str(earlier), **{**RUN, **more})  # type: ignore[arg-type]
    dragoman.train(numbers(700), out=out, options=run, listener=seen.append)
    return seen


def test_training_starts_from_the_weights_and_keeps_tokenisers_shape_and_normalisation(
    earlier: Path, tmp_path: Path
) -> None:
    go_on(earlier, tmp_path / "m", **STILL, seed=9)
    before, after = load_file(earlier / "model.safetensors"), load_file(tmp_path / "m" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.allclose(value, after[name], atol=1e-7) for name, value in before.items())
    old, new = (json.loads((path / "config.json").read_text()) for path in (earlier, tmp_path / "m"))
    assert old["architecture"] == new["architecture"]
    assert new["normalization"] == "nfkc"
    assert new["data"]["fingerprint"] != old["data"]["fingerprint"]
    for file in old["tokenizer"]["files"]:
        assert (earlier / file).read_text() == (tmp_path / "m" / file).read_text()


def test_a_model_from_elsewhere_writes_nothing_outside_of_the_new_one(earlier: Path, tmp_path: Path) -> None:
    hostile = Path(shutil.copytree(earlier, tmp_path / "hostile"))
    config = json.loads((hostile / "config.json").read_text())
    config["tokenizer"]["target"]["name"] = "../written"
    (hostile / "config.json").write_text(json.dumps(config))
    with pytest.raises(StorageError, match=r"'\.\./written' is no name of a file"):
        go_on(hostile, tmp_path / "model", max_steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["hostile"]


def test_of_the_same_data_the_same_is_held_out_whatever_the_seed(earlier: Path, tmp_path: Path) -> None:
    """Else a model would be judged by what it was trained on before."""
    texts, warnings = {}, {}
    for name, more in {"same": {}, "asked": {"split_seed": 5, "test": ("7",)}}.items():
        options = TrainOptions(from_model=str(earlier), **{**RUN, **STILL, **more}, seed=9)  # type: ignore[arg-type]
        events: list[Event] = []
        dragoman.train(numbers(100), out=tmp_path / name, options=options, listener=events.append)
        texts[name] = held_out(tmp_path / name)
        warnings[name] = [event.text for event in events if isinstance(event, Note) and event.warning]
    assert texts["same"] == held_out(earlier) != texts["asked"]
    assert warnings["same"] == []
    learned = [
        sum(source not in held_out(earlier) for source in part)
        for part in (texts["asked"], held_out_for_test(tmp_path))
    ]
    assert warnings["asked"] == [
        f"{count} of {of} {name} sources are ones that {earlier} was trained on: scores on them are too high"
        for count, of, name in zip(learned, (len(texts["asked"]), 7), ("dev", "test"), strict=True)
    ]


def held_out_for_test(folder: Path) -> list[str]:
    return [source for source, _ in ModelDirectory.open(folder / "asked").read_test()]


def held_out(model: Path) -> list[str]:
    found: list[str] = json.loads((model / "training/data/texts.json").read_text(encoding="utf-8"))["dev"]["sources"]
    return found


def test_dropout_and_training_may_change(earlier: Path, tmp_path: Path) -> None:
    go_on(earlier, tmp_path / "m", **STILL, dropout=0.4)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["architecture"]["dropout"], config["recipe"]["optimizer"]) == (0.4, "sgd")
    assert config["run"]["steps"] == 1


def test_embeddings_of_the_earlier_model_may_stay_as_they_are(earlier: Path, tmp_path: Path) -> None:
    """Also without a file of vectors: they do not begin at random."""
    frozen = {"freeze_source_vectors": True, "freeze_target_vectors": True}  # here both sides are one table
    go_on(earlier, tmp_path / "m", **frozen, max_steps=2)
    before, after = load_file(earlier / "model.safetensors"), load_file(tmp_path / "m" / "model.safetensors")
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert {name for name in before if "embedding" in name} <= kept < set(before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden_size": 16}, r"`hidden_size` is 12 in the model at .*, but 16 was given: leave it out"),
        ({"layers": 2}, r"`layers` is 1 in the model at .*, but 2 was given"),
        ({"decoder_layers": 2}, r"`decoder_layers` is 1 in the model at .*, but 2 was given"),
        ({"preset": "textbook"}, r"`preset` is default in the model at .*, but textbook was given"),
        ({"normalization": "nfc"}, r"`normalization` is nfkc in the model at"),
        ({"vocab_size": 100}, r"`vocab_size` was given, but a model that goes on from .* keeps its tokenisers"),
        ({"target_tokenizer": "char"}, r"`target_tokenizer` was given"),
        ({"source": ("a", "b")}, r"`source` must name the 1 source column that the model at"),
    ],
)
def test_what_would_change_the_model_is_an_error_before_any_work(
    earlier: Path, tmp_path: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        go_on(earlier, tmp_path / "m", **given)
    assert list(tmp_path.iterdir()) == []


def test_pairs_in_python_tell_their_columns(earlier: Path, tmp_path: Path) -> None:
    """Where `source` cannot name them: a model of two columns could not be trained on, and one of one read the second as its text."""
    inflected = [(f"turn{i}\tV;PST;{i % 3}", f"turn{i}ed") for i in range(60)]
    options = TrainOptions(**{**SHAPE, **RUN, "max_steps": 1})  # type: ignore[arg-type]
    dragoman.train(inflected, out=tmp_path / "two", options=options)
    onwards = TrainOptions(from_model=str(tmp_path / "two"), **RUN, max_steps=1)  # type: ignore[arg-type]
    assert dragoman.train(inflected, out=tmp_path / "again", options=onwards).source_columns == 2
    with pytest.raises(DataError, match=r"the sources of the train pairs have 1 column, but the model .* reads 2$"):
        dragoman.train(numbers(700), out=tmp_path / "m", options=onwards)
    onwards = onwards.model_copy(update={"from_model": str(earlier)})
    with pytest.raises(DataError, match=r"the sources of the train pairs have 2 columns, but the model .* reads 1$"):
        dragoman.train(inflected, out=tmp_path / "m", options=onwards)
    assert not (tmp_path / "m").exists()


def test_the_same_values_given_again_are_no_conflict(earlier: Path, tmp_path: Path) -> None:
    unset = {"vocab_size": None, "cell": None, "decoder_layers": None, "source_tokenizer": ()}
    go_on(earlier, tmp_path / "m", **STILL, layers=1, hidden_size=12, preset="default", **unset)


def test_a_stopped_run_resumes_without_the_earlier_model(earlier: Path, tmp_path: Path) -> None:
    go_on(earlier, tmp_path / "straight", max_steps=9)
    shutil.copytree(earlier, tmp_path / "copy")
    with pytest.MonkeyPatch.context() as patch:
        original = Trainer.fit

        def stopped(trainer: Trainer) -> object:
            trainer.interrupted = lambda: trainer.run.step >= 4
            return original(trainer)

        patch.setattr(Trainer, "fit", stopped)
        with pytest.raises(Interrupted):
            go_on(tmp_path / "copy", tmp_path / "broken", max_steps=9)
    shutil.rmtree(tmp_path / "copy")
    dragoman.resume(tmp_path / "broken", options=TrainOptions(threads=1))
    one, other = (load_file(tmp_path / name / "training/last.safetensors") for name in ("straight", "broken"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_model_whose_training_data_is_gone_can_be_gone_on_from(earlier: Path, tmp_path: Path) -> None:
    """What it was trained on is not known then, so that nothing is said of it."""
    shutil.copytree(earlier, tmp_path / "bare", ignore=shutil.ignore_patterns("training"))
    events = go_on(tmp_path / "bare", tmp_path / "m", **STILL)
    assert not [event for event in events if isinstance(event, Note) and event.warning]


def test_unknown_tokens_of_the_new_data_are_reported(earlier: Path, tmp_path: Path) -> None:
    run = TrainOptions(from_model=str(earlier), **{**RUN, **STILL})  # type: ignore[arg-type]
    seen: list[Event] = []
    greek = [(f"στρίψε {i}", f"αριστερά {i}") for i in range(60)]
    dragoman.train(greek, out=tmp_path / "m", options=run, listener=seen.append)
    notes = [event for event in seen if isinstance(event, Note) and "are unknown to it" in event.text]
    assert [note.warning for note in notes] == [True]
    assert not [note for note in go_on(earlier, tmp_path / "n", **STILL) if isinstance(note, Note) and note.warning]


def test_what_is_unknown_on_either_side_is_unknown() -> None:
    known, unknown = [5, 6], [UNK, UNK, UNK, 5]
    for rows in ([(known, unknown), (known, known)], [(unknown, known), (known, known)]):
        assert unknown_share(EncodedPairs.of(rows)) == 3 / 6


@pytest.mark.parametrize("count", [1, 2_000, 2_001, 6_000])
def test_unknown_tokens_are_counted_all_over_the_data(count: int) -> None:
    """Half of it may have another alphabet, and a sorted file begins with one of them."""
    rows = [([UNK] if i >= count / 2 else [5], [5]) for i in range(count)]
    assert unknown_share(EncodedPairs.of(rows)) == pytest.approx(0.5 if count > 1 else 0.0, abs=1e-3)


def test_the_flag_is_from(earlier: Path, tmp_path: Path) -> None:
    from dragoman.cli import main

    (tmp_path / "pairs.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in numbers(300)), encoding="utf-8")
    words = ["--from", str(earlier), "--max-steps", "1", "--threads", "1", "--device", "cpu"]
    assert main(["train", str(tmp_path / "pairs.tsv"), "--out", str(tmp_path / "m"), *words]) == 0
    assert json.loads((tmp_path / "m/config.json").read_text())["architecture"]["hidden_size"] == 12
