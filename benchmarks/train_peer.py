r"""A training step of another toolkit, for train_speed.py, which runs this file with that toolkit's interpreter.

    PYTHON benchmarks/train_peer.py NAME BATCHES.npz SIZE VOCAB THREADS

For every line on stdin it trains once on all batches, and prints the seconds on stdout. The layers are those that train_speed.py
measures: a bidirectional LSTM encoder with half of SIZE in each direction (JoeyNMT has no other), an LSTM decoder, general
attention, a tanh layer, no dropout. `joeynmt` and `opennmt` use input feeding, which is the default of both; `joeynmt-plain` and
`opennmt-plain` do not. Loss, clipping and Adam are those that each toolkit's trainer calls.

Environments that work with today's PyTorch (neither toolkit's own requirements can be met any more):

    python -m venv JOEY && JOEY/bin/pip install torch==2.13.0 sacrebleu matplotlib pyyaml packaging tqdm pandas plotly \
        sentencepiece==0.2.0 subword-nmt sacremoses tensorboard importlib_metadata && JOEY/bin/pip install --no-deps joeynmt==2.3.0
    python -m venv ONMT && ONMT/bin/pip install torch==2.13.0 sacrebleu rapidfuzz pyyaml six configargparse pyonmttok \
        pyahocorasick tensorboard && ONMT/bin/pip install --no-deps OpenNMT-py==3.5.1
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor], None]
"""Sources, (batch, source_length), their lengths, (batch,), and `<s>`, target, `</s>`, (batch, target_length + 1)."""


def joeynmt(size: int, vocab: int, *, feeding: bool) -> Step:
    """JoeyNMT 2.3.0; its `_train_step` and what follows it."""
    special = import_module("joeynmt.config")._check_special_symbols({})
    words = import_module("joeynmt.vocabulary").Vocabulary(
        [f"w{number}" for number in range(4, vocab)], SimpleNamespace(**special)
    )
    side = {"type": "recurrent", "rnn_type": "lstm", "embeddings": {"embedding_dim": size}}
    layers = {
        "encoder": side | {"hidden_size": size // 2, "bidirectional": True},
        "decoder": side | {"hidden_size": size, "attention": "luong", "init_hidden": "last", "input_feeding": feeding},
    }
    model = import_module("joeynmt.model").build_model(layers, words, words)
    model.loss_function = ("crossentropy", 0.0)
    optimizer = import_module("joeynmt.builders").build_optimizer({"optimizer": "adam"}, model.parameters())
    batch_class = import_module("joeynmt.batch").Batch

    def step(source: Tensor, lengths: Tensor, target: Tensor) -> None:
        source, target = (ids.masked_fill(ids == 0, 1) for ids in (source, target))  # its id of padding
        batch = batch_class(
            source,
            lengths,
            None,
            target,
            None,
            torch.arange(len(target)),
            torch.device("cpu"),
            pad_index=1,
            eos_index=3,
        )
        model.train()
        batch.sort_by_src_length()
        loss, *_ = model(return_type="loss", **vars(batch))
        batch.normalize(loss, normalization="tokens").backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()

    return step


def opennmt(size: int, vocab: int, *, feeding: bool) -> Step:
    """OpenNMT-py 3.5.1; what its `_gradient_accumulation` does."""
    for name in ("spacy", "fasttext"):  # only preprocessing that is not used here wants them
        sys.modules.setdefault(name, ModuleType(name))
    import_module("onmt")
    modules, decoders = import_module("onmt.modules"), import_module("onmt.decoders.decoder")
    source, target = (modules.Embeddings(size, vocab, 0) for _ in range(2))
    encoder = import_module("onmt.encoders.rnn_encoder").RNNEncoder("LSTM", True, 1, size, embeddings=source)
    decoder_class = decoders.InputFeedRNNDecoder if feeding else decoders.StdRNNDecoder
    decoder = decoder_class("LSTM", True, 1, size, attn_type="general", embeddings=target)
    model = import_module("onmt.models").NMTModel(encoder, decoder)
    model.generator = torch.nn.Linear(size, vocab)
    optimizer = torch.optim.Adam(model.parameters())
    criterion = torch.nn.CrossEntropyLoss(ignore_index=0, reduction="sum")
    compute = import_module("onmt.utils.loss").LossCompute(criterion, model.generator)

    def step(source: Tensor, lengths: Tensor, target: Tensor) -> None:
        batch = {"src": source.unsqueeze(2), "srclen": lengths, "tgt": target.unsqueeze(2)}
        optimizer.zero_grad(set_to_none=True)
        output, attention = model(batch["src"], batch["tgt"], batch["srclen"])
        loss, _ = compute(batch, output, attention)
        (loss / int((target[:, 1:] != 0).sum())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


MAKERS = {"joeynmt": joeynmt, "opennmt": opennmt}


def main() -> None:
    """Answer turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", choices=[kind + end for kind in MAKERS for end in ("", "-plain")])
    parser.add_argument("path", metavar="BATCHES.npz", help="padded batches that train_speed.py wrote")
    parser.add_argument("size", type=int, metavar="SIZE", help="width of the decoder")
    parser.add_argument("vocab", type=int, metavar="VOCAB", help="words on each side")
    parser.add_argument("threads", type=int, metavar="THREADS", help="processor threads")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    logging.disable(logging.INFO)
    toolkit, _, plain = given.name.partition("-")
    step = MAKERS[toolkit](given.size, given.vocab, feeding=not plain)
    arrays = np.load(given.path)
    batches = [
        [torch.from_numpy(arrays[f"{field}{number}"]) for field in ("source", "lengths", "target")]
        for number in range(len(arrays.files) // 3)
    ]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a toolkit prints is no answer
    for _ in sys.stdin:
        began = time.perf_counter()
        for batch in batches:
            step(*batch)
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main()
