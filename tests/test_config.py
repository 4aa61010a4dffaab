"""Options: impossible values and unknown names are one clear line, whatever pydantic has to say."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from dragoman.config import Options, SearchOptions, TrainOptions
from dragoman.errors import OptionError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be at least 1, but is 0"),
        ({"beam_size": "0"}, "`beam_size` must be at least 1, but is 0"),
        ({"beam_size": "five"}, '`beam_size` must be a whole number, but is "five"'),
        ({"beam_size": 2.5}, "`beam_size` must be a whole number, but is 2.5"),
        ({"length_penalty": 11}, "`length_penalty` must be at most 10, but is 11"),
        ({"beem_size": 3}, 'there is no option `beem_size`; did you mean "beam_size"?'),
    ],
)
def test_a_wrong_search_option_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        SearchOptions(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cell": "lsmt"}, '`cell` must be one of rnn_tanh, rnn_relu, gru, lstm, but is "lsmt"; did you mean "lstm"?'),
        ({"dropout": 1.0}, "`dropout` must be less than 1, but is 1.0"),
        ({"learning_rate": 0}, "`learning_rate` must be more than 0, but is 0"),
        ({"separator": ""}, "`separator` must not be empty"),
        ({"source_vectors": ""}, "`source_vectors` must not be empty"),
        ({"target_vectors": ""}, "`target_vectors` must not be empty"),
        ({"peek": "maybe"}, '`peek` must be true or false, but is "maybe"'),
        ({"seed": 2**31}, "`seed` must be less than 2147483648, but is 2147483648"),
        ({"layers": True}, "`layers` must be a whole number, but is True"),
        ({"dropout": False}, "`dropout` must be a number, but is False"),
        ({"max_minutes": True}, "`max_minutes` must be a number, but is True"),
    ],
)
def test_a_wrong_training_option_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        TrainOptions(**values)
    assert str(caught.value) == message


def test_one_value_stands_for_a_list_of_one() -> None:
    options = TrainOptions(dev=2000, source="lemma", source_tokenizer="char")  # type: ignore[arg-type]
    assert (options.dev, options.source, options.source_tokenizer) == (("2000",), ("lemma",), ("char",))


def test_a_column_number_and_a_path_stand_for_their_text() -> None:
    path = Path("some") / "file.txt"
    given: dict[str, Any] = {
        "source": 1,
        "target": 2,
        "group_by": 3,
        "dev": path,
        "source_vectors": path,
        "from_model": path,
    }
    options = TrainOptions(**given)
    assert {name: getattr(options, name) for name in given} == {
        "source": ("1",),
        "target": "2",
        "group_by": "3",
        "dev": (str(path),),
        "source_vectors": str(path),
        "from_model": str(path),
    }
    assert SearchOptions(choices=path).choices == str(path)  # type: ignore[arg-type]
    numbers: dict[str, Any] = {"source": np.int64(1), "target": np.int32(2), "dev": np.float32(0.5)}
    options = TrainOptions(**numbers, from_model=PurePosixPath("a/b"))  # type: ignore[arg-type]
    assert (options.source, options.target, options.dev, options.from_model) == (("1",), "2", ("0.5",), "a/b")
    with pytest.raises(OptionError, match="`target` must be text, but is True"):
        TrainOptions(target=True)  # type: ignore[arg-type]


def test_only_what_was_given_counts_as_set() -> None:
    assert TrainOptions(layers=2).model_fields_set == {"layers"}


def _models(of: type[Options] = Options) -> list[type[Options]]:
    return [each for model in of.__subclasses__() for each in (model, *_models(model))]


@pytest.mark.parametrize("model", _models(), ids=lambda model: str(model.__name__))
def test_defaults_are_what_a_check_of_them_gives(model: type[Options]) -> None:
    assert model.of(None) == model()
    assert model.of(None).model_fields_set == model().model_fields_set == set()
