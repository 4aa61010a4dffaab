"""Named models, as values of `TrainOptions`; does not know how values are used.

A preset fixes the architecture and what its paper says of training. Widths and the length of training are left to the
data, so that every preset trains on a laptop. docs/models.md says where each departs from its paper. A flag or the config
file overrides any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragoman.errors import OptionError, nearest

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

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # After Luong et al. (2015), Chen et al. (2018, RNMT+) and Sennrich and Zhang (2019): every value is chosen from the data.
    "default": {},
    # The encoder-decoder of the textbooks, after Sutskever et al. (2014) with one layer.
    "textbook": {
        **_PLAIN,
        "cell": "lstm",
        "layers": 1,
        "optimizer": "adam",
        "schedule": "constant",
        "warmup_steps": 0,
    },
    # Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks.
    "sutskever2014": {
        **_PLAIN,
        "cell": "lstm",
        "layers": 4,
        "reverse_source": True,
        "optimizer": "adam",
        "clip_norm": 5.0,
    },
    # Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder.
    "cho2014": {**_PLAIN, "cell": "gru", "layers": 1, "peek": True, "optimizer": "adam"},
    # Bahdanau, Cho and Bengio (2015), Neural Machine Translation by Jointly Learning to Align and Translate.
    "bahdanau2015": {
        **_PLAIN,
        "cell": "gru",
        "layers": 1,
        "bidirectional": True,
        "attention": "additive",
        "attention_inside": True,
        "optimizer": "adam",
        "clip_norm": 1.0,
    },
    # Luong, Pham and Manning (2015), Effective Approaches to Attention-based Neural Machine Translation.
    "luong2015": {
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
}


def find_preset(name: str) -> Mapping[str, Any]:
    """The values of the preset called `name`; an `OptionError` names the nearest right one."""
    if name not in PRESETS:
        raise OptionError(f'there is no preset "{name}"; {nearest(name, PRESETS)}')
    return PRESETS[name]
