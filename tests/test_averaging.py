"""Laws of the mean over evaluations: it is the mean, it is what is scored and kept, and it does not touch training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training import checkpoint, options, reversed_words, same

import dragoman
from dragoman.config import TrainOptions
from dragoman.errors import OptionError
from dragoman.training.checkpoint import model_weights
from dragoman.training.recipe import DataSummary, choose
from dragoman.training.trainer import Trainer

Weights = dict[str, torch.Tensor]


def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Weights], list[Weights]]:
    """What every evaluation finds as weights, and what it is given to score."""
    found: list[Weights] = []
    scored: list[Weights] = []
    assess = Trainer._assess

    def copy(trainer: Trainer) -> Weights:
        return {name: value.detach().clone() for name, value in model_weights(trainer.model).items()}

    def watching(trainer: Trainer, clock: object) -> None:
        found.append(copy(trainer))
        evaluate = trainer.evaluate

        def scoring(model: object) -> object:
            scored.append(copy(trainer))
            return evaluate(model)  # type: ignore[arg-type]

        trainer.evaluate = scoring  # type: ignore[assignment]
        assess(trainer, clock)  # type: ignore[arg-type]
        trainer.evaluate = evaluate

    monkeypatch.setattr(Trainer, "_assess", watching)
    return found, scored


def test_what_is_scored_and_kept_is_the_mean_of_the_last_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, scored = watched(monkeypatch)
    run = options(max_steps=25, average_decay=None, average_checkpoints=3, metric="loss")
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=run)
    assert len(found) == 5
    for number, given in enumerate(scored):
        last = found[max(0, number - 2) : number + 1]
        for name, value in given.items():
            mean = sum(one[name].double() for one in last) / len(last)
            assert float((value - mean).abs().max()) < 1e-6
    assert not same(scored[-1], found[-1])
    assert any(same(load_file(tmp_path / "m/model.safetensors"), given) for given in scored)


def test_it_changes_nothing_of_the_training_itself(tmp_path: Path) -> None:
    for name, count in (("with", 3), ("without", 0)):
        run = options(max_steps=12, average_decay=0.0, average_checkpoints=count)
        dragoman.train(reversed_words(60), out=tmp_path / name, options=run)
    one, other = (
        {key: value for key, value in checkpoint(tmp_path / name).items() if not key.startswith("average/")}
        for name in ("with", "without")
    )
    assert same(one, other)
    copies = {key.split("/")[1] for key in checkpoint(tmp_path / "with") if key.startswith("average/")}
    assert copies == {"0", "1", "2"}


def test_it_stands_in_place_of_the_running_average() -> None:
    data = DataSummary(pairs=9000, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=9.0)
    assert choose(TrainOptions(), data)[0].average_decay > 0
    recipe, reasons = choose(TrainOptions(average_checkpoints=5), data)
    assert (recipe.average_checkpoints, recipe.average_decay) == (5, 0.0)
    assert "average_decay" not in {reason.name for reason in reasons}
    with pytest.raises(
        OptionError, match=r"`average_checkpoints` and `average_decay` exclude each other, but are 5 and 0\.9"
    ):
        choose(TrainOptions(average_checkpoints=5, average_decay=0.9), data)
