"""Named models: what each takes from its paper, and where it departs; does not know how values are used.

A preset fixes the architecture and what its paper says of training. Widths and the length of training are left to the
data, so that every preset trains on a laptop; the papers' own widths are in `departs`. A flag or the config file
overrides any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dragoman.errors import OptionError, nearest


@dataclass(frozen=True)
class Preset:
    """One named configuration."""

    summary: str
    """One line for people."""
    paper: str
    """Where it comes from."""
    departs: str
    """What is not as in the paper."""
    values: Mapping[str, Any]
    """Names and values of `TrainOptions`."""


_PLAIN: Mapping[str, Any] = {
    "bidirectional": False,
    "reverse_source": False,
    "attention": "none",
    "attention_inside": False,
    "input_feeding": False,
    "peek": False,
    "copying": False,
    "tie_embeddings": "none",
    "layer_norm": False,
    "residual": False,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "word_dropout": 0.0,
    "label_smoothing": 0.0,
    "average_decay": 0.0,
    "embedding_rate": 1.0,
    "concatenate": 0.0,
    "source_noise": 0.0,
    "other_names": 0.0,
    "recombine": 0.0,
}

PRESETS: Mapping[str, Preset] = {
    "default": Preset(
        summary="the one we stand behind: every value chosen from your data",
        paper="after Luong et al. (2015), Chen et al. (2018, RNMT+) and Sennrich and Zhang (2019)",
        departs="The first decoder layer attends for all positions at once, so that nothing is computed in a loop.",
        values={},
    ),
    "textbook": Preset(
        summary="encoder, context vector, decoder; one LSTM layer on each side, no attention",
        paper="the encoder-decoder of the textbooks, after Sutskever et al. (2014) with one layer",
        departs="Nothing: the bridge is the identity, and the dense layer reads the decoder's state.",
        values={**_PLAIN, "cell": "lstm", "layers": 1, "optimizer": "adam", "schedule": "constant", "warmup_steps": 0},
    ),
    "sutskever2014": Preset(
        summary="four LSTM layers and a source read backwards",
        paper="Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks",
        departs="Widths follow the data (the paper: 1000), the optimiser is Adam (the paper: SGD with a halving rate).",
        values={
            **_PLAIN,
            "cell": "lstm",
            "layers": 4,
            "reverse_source": True,
            "optimizer": "adam",
            "clip_norm": 5.0,
        },
    ),
    "cho2014": Preset(
        summary="one GRU layer whose decoder sees the context vector at every step",
        paper="Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder",
        departs=(
            "The GRU's reset gate acts after the matrix product, as in cuDNN; the bridge is the identity (the paper: a "
            "learned tanh layer); the softmax reads the state alone (the paper: the last word and the context vector too, "
            "through maxout); Adam for Adadelta; widths follow the data (1000)."
        ),
        values={**_PLAIN, "cell": "gru", "layers": 1, "peek": True, "optimizer": "adam"},
    ),
    "bahdanau2015": Preset(
        summary="a bidirectional GRU encoder; additive attention inside the decoder's recurrence",
        paper="Bahdanau, Cho and Bengio (2015), Neural Machine Translation by Jointly Learning to Align and Translate",
        departs=(
            "The GRU's reset gate acts after the matrix product, as in cuDNN; the bridge copies both directions' last states "
            "(the paper: a learned map of the backward one); tanh for maxout before the softmax, over the new state; Adam for "
            "Adadelta; widths follow the data (1000)."
        ),
        values={
            **_PLAIN,
            "cell": "gru",
            "layers": 1,
            "bidirectional": True,
            "attention": "additive",
            "attention_inside": True,
            "optimizer": "adam",
            "clip_norm": 1.0,
        },
    ),
    "luong2015": Preset(
        summary="stacked LSTMs, general attention of the top layer, input feeding, a source read backwards",
        paper="Luong, Pham and Manning (2015), Effective Approaches to Attention-based Neural Machine Translation",
        departs=(
            "Two layers (the paper: 4); one dropout mask for all steps (the paper: one for each); Adam for SGD; widths follow "
            "the data (1000); global attention only."
        ),
        values={
            **_PLAIN,
            "cell": "lstm",
            "layers": 2,
            "reverse_source": True,
            "attention": "general",
            "input_feeding": True,
            "dropout": 0.2,
            "optimizer": "adam",
            "clip_norm": 5.0,
        },
    ),
}


def find_preset(name: str) -> Preset:
    """The preset called `name`; an `OptionError` names the nearest right one."""
    if name not in PRESETS:
        raise OptionError(f'there is no preset "{name}"; {nearest(name, PRESETS)}')
    return PRESETS[name]
