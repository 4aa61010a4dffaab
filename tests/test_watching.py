"""Watching a search: text that grows is never taken back, and a trace changes nothing of what is found."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from steppers import TableStepper
from tokenizers.decoders import ByteFallback

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions, TrainOptions
from dragoman.errors import OptionError
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.streaming import Streamed
from dragoman.translation import watching
from dragoman.translation.texts import Texts


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> dragoman.Translator:
    """A model that says several words, with attention."""
    out = tmp_path_factory.mktemp("speaking") / "model"
    pairs = [(f"turn {i} left", f"tourne {i} fois") for i in range(60)]
    run: Any = {"hidden_size": 24, "embedding_size": 16, "layers": 1, "learning_rate": 0.02}
    run |= {"embedding_rate": 1.0, "batch_tokens": 100}
    machine: Any = {
        "device": "cpu",
        "threads": 1,
        "eval_every": 80,
        "max_steps": 80,
        "average_decay": 0.0,
        "schedule": "constant",
    }
    return dragoman.train(pairs, out=out, options=TrainOptions(**run, **machine))


@pytest.mark.parametrize(
    "search",
    [
        SearchOptions(beam_size=1),
        SearchOptions(),
        SearchOptions(beam_size=4, stopping="exact", max_length=12),
        SearchOptions(method="sample", seed=5),
        SearchOptions(forbid=("fois",), max_length=9),
    ],
    ids=lambda search: f"{search.method}-{search.beam_size}-{search.stopping}",
)
def test_the_pieces_are_the_text_of_the_translation_and_come_one_by_one(
    speaking: dragoman.Translator, search: SearchOptions
) -> None:
    most = 0
    for source in ("turn 3 left", "turn 41 left", "left turn 5"):
        pieces = list(speaking.stream(source, options=search))
        whole = speaking.translate(source, options=search)
        assert "".join(piece.text for piece in pieces) == whole.text
        assert [piece.translation is None for piece in pieces] == [True] * (len(pieces) - 1) + [False]
        assert pieces[-1].translation is not None
        assert pieces[-1].translation.text == whole.text
        assert pieces[-1].translation.warning == whole.warning
        most = max(most, len(pieces))
    assert most > 2  # something was certain before the end


def test_a_source_that_cannot_be_used_is_one_piece_with_its_warning(speaking: dragoman.Translator) -> None:
    (piece,) = speaking.stream("  ")
    assert piece.translation is not None
    assert (piece.text, piece.translation.warning) == ("", "the line is empty")
    traced = speaking.trace("  ")
    assert (traced.translation.warning, traced.steps) == ("the line is empty", [])


def test_a_source_of_a_length_that_the_options_leave_no_output_for_is_skipped_by_all_alike(
    speaking: dragoman.Translator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ["turn 3 left", "turn", "turn 41 left"]
    least = 2 * len(speaking.source_tokenizer.encode("turn")) + 1
    options = SearchOptions(min_length=least, max_length_ratio=2.0)
    expected = speaking.translate(lines, options=options)
    assert [len(each.candidates) for each in expected] == [1, 0, 1]
    limited = options.model_copy(update={"no_repeat_ngram": 9})
    assert speaking.translate(lines[1], options=limited) == expected[1]  # though no source of the batch is left
    for source, whole in zip(lines, expected, strict=True):
        *_, last = speaking.stream(source, options=options)
        for found in (last.translation, speaking.trace(source, options=options).translation):
            assert found is not None
            assert (found.text, found.warning) == (whole.text, whole.warning)
    words = ["translate", str(speaking.directory.path), *lines, "--min-length", str(least), "--max-length-ratio", "2"]
    for more in ([], ["--stream"], ["--trace", str(tmp_path / "beam.json")]):
        assert main([*words, *more]) == 0
        shown = capfd.readouterr()
        assert shown.out.splitlines() == [each.text for each in expected]
        assert "line 2: the shortest output allowed" in shown.err
    for look in (speaking.stream, speaking.trace, speaking.translate):
        with pytest.raises(OptionError, match="`prefix` and `require` must fit into `max_length`"):
            look("turn", options=SearchOptions(prefix="tourne 3 fois", max_length=2))


class Ids(Texts):
    """Texts whose target tokens are bytes or jamo."""

    def __init__(self, *, jamo: bool, parts: list[bytes] | list[str]) -> None:
        self._tokenizers = (self, self)
        self.jamo, self.parts = jamo, parts

    def config(self) -> dict[str, Any]:
        return {"jamo": [self.jamo]}

    def constraints(self, options: SearchOptions) -> None:
        del options

    def encode_sources(self, sources: list[str]) -> Any:
        del sources
        return type("Encoded", (), {"faults": {}, "ids": {0: [9]}})

    def tokens(self, ids: list[int]) -> list[str]:
        return [self.name(self.parts[i]) if i < len(self.parts) else str(i) for i in ids]

    def name(self, part: bytes | str) -> str:
        return f"<0x{part[0]:02X}>" if isinstance(part, bytes) else part

    def decode(self, ids: list[int]) -> str:
        text = str(ByteFallback().decode(self.tokens(ids)))
        return unicodedata.normalize("NFC", text) if self.jamo else text

    def candidate(self, hypothesis: Hypothesis) -> Any:
        from dragoman.translation.outputs import Candidate

        return Candidate(self.decode(list(hypothesis.ids)), -1.0, -1.0, (), (), None, True)


@pytest.mark.parametrize(
    ("texts", "pieces"),
    [
        (Ids(jamo=False, parts=["a", b"\xe2", b"\x82", b"\xac", "b"]), ["a", "€b"]),
        (Ids(jamo=False, parts=[b"\xe2", b"\x82", b"\xac", "b", "c"]), ["€b", "c"]),
        (
            Ids(jamo=False, parts=["a", b"\x41", b"\xe2", "b"]),
            ["a", "\ufffd\ufffdb"],
        ),  # the library's text of a broken row
        (Ids(jamo=True, parts=list("\u1112\u1161\u11ab\u1100\u1173")), ["한", "그"]),
    ],
    ids=["bytes", "bytes at first", "broken bytes", "jamo"],
)
def test_half_a_character_is_held_back(monkeypatch: pytest.MonkeyPatch, texts: Ids, pieces: list[str]) -> None:
    size = len(texts.parts)
    hypothesis = Hypothesis(tuple(range(size)), -1.0, -1.0, (-1.0,) * size)
    news = [*(Streamed((i,)) for i in range(size - 1)), Streamed((size - 1,), hypothesis)]
    monkeypatch.setattr(watching, "stream", lambda *_, **__: iter(news))
    shown: Any = watching.stream_text(TableStepper(), texts, "x", SearchOptions())
    assert [piece.text for piece in shown] == pieces


def test_what_is_watched_has_the_confidence_that_translate_gives(
    speaking: dragoman.Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(speaking.config, "calibration", {"a": 0.5, "b": 0.5, "c": 0.0})
    expected = speaking.translate("turn 7 left").candidates[0].confidence
    assert expected is not None
    *_, last = speaking.stream("turn 7 left")
    assert last.translation is not None
    for watched in (last.translation, speaking.trace("turn 7 left").translation):
        assert watched.candidates[0].confidence == pytest.approx(expected, rel=1e-4)


def test_what_chooses_among_whole_outputs_is_refused(speaking: dragoman.Translator) -> None:
    for look in (speaking.stream, speaking.trace):
        with pytest.raises(OptionError, match="`rerank` must not be given here"):
            look("turn 3 left", options=SearchOptions(rerank="mbr"))
    with pytest.raises(OptionError, match="`method` must be beam or sample for streaming, but is best_first"):
        list(speaking.stream("turn 3 left", options=SearchOptions(method="best_first")))
    with pytest.raises(OptionError, match="a trace needs `method` beam, but it is sample"):
        speaking.trace("turn 3 left", options=SearchOptions(method="sample"))


def test_a_trace_has_every_step_of_what_is_found(speaking: dragoman.Translator) -> None:
    options = SearchOptions(beam_size=3, num_hypotheses=2)
    traced, plain = speaking.trace("turn 7 left", options=options), speaking.translate("turn 7 left", options=options)
    assert [c.text for c in traced.translation.candidates] == [c.text for c in plain.candidates]
    best = traced.translation.candidates[0]
    for place, token in enumerate([*best.tokens, "</s>"]):
        step = traced.steps[place]
        row = step["tokens"].index(list(best.tokens[:place]))
        found = next(c for c in step["candidates"] if c["place"] == row and c["token"] == token)
        assert found["fate"] == ("finished" if token == "</s>" else "kept")
        assert found["log_prob"] == pytest.approx(best.token_scores[place], abs=1e-4)
    pruned = [c for step in traced.steps for c in step["candidates"] if c["fate"] == "pruned"]
    assert pruned
    assert all("of the candidates, for" in c["reason"] for c in pruned)


def test_the_command_line_streams_the_lines_that_it_prints_without(
    speaking: dragoman.Translator, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lines = str(speaking.directory.path), ["turn 3 left", "", "turn 41 left"]
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for way in (lines, ["--input", str(tmp_path / "in.txt")]):
        shown = []
        for more in ([], ["--stream"]):
            assert main(["translate", model, *way, *more]) == 0
            shown.append(capfd.readouterr())
        assert shown[0].out == shown[1].out
        assert shown[1].err == shown[0].err
        assert shown[1].err.count("warning: line 2: ") == 1
    written: list[str] = []
    monkeypatch.setattr("sys.stdout.write", lambda text: written.append(text), raising=False)
    assert main(["translate", model, lines[0], "--stream", "--beam-size", "1"]) == 0
    monkeypatch.undo()
    assert len([text for text in written if text.strip()]) > 2  # it grew
    for wrong in (["--json"], ["--num-hypotheses", "2"], ["--output", str(tmp_path / "o")], ["--trace", "t"]):
        assert main(["translate", model, "x", "--stream", *wrong]) == 2
        assert "leave --json, --output, --trace and --num-hypotheses out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stream", "--method", "best_first"], "--method must be beam or sample for streaming, but is best_first"),
        (["--stream", "--method", "stochastic_beam"], "--method must be beam or sample for streaming"),
        (["--stream", "--rerank", "mbr"], "--rerank must not be given here"),
        (["--stream", "--min-confidence", "0.5"], "--min-confidence must not be given here"),
        (["--stream", "--reverse", "back"], "--reverse must not be given with --stream"),
        (["x", "--trace", "t.json", "--method", "sample"], "a trace needs --method beam, but it is sample"),
        (["x", "--trace", "t.json", "--replace-unknown"], "--replace-unknown must not be given here"),
        (["x", "--trace", "t.json", "--reverse", "back"], "--reverse must not be given with --trace"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_a_model_is_loaded(
    words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "there-is-no-such-model", *words]) == 2
    assert message in capfd.readouterr().err


def test_models_that_choose_among_whole_outputs_do_not_stream_and_nothing_is_read(
    speaking: dragoman.Translator, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = dragoman.load(speaking.directory.path)
    together._apart.append(speaking)
    monkeypatch.setattr(dragoman, "load", lambda *_, **__: together)
    monkeypatch.setattr("dragoman.corpus.reading.read_sources", lambda *_, **__: pytest.fail("input was read"))
    assert main(["translate", str(speaking.directory.path), "--input", "in.txt", "--stream"]) == 2
    assert "of different vocabularies chooses among whole outputs" in capfd.readouterr().err


def test_a_streamed_line_break_begins_no_line(
    speaking: dragoman.Translator, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [watching.Piece("a\r\n"), watching.Piece("b", dragoman.Translation("x", ()))]
    monkeypatch.setattr(dragoman.Translator, "stream", lambda *_, **__: iter(pieces))
    assert main(["translate", str(speaking.directory.path), "x", "--stream"]) == 0
    assert capfd.readouterr().out == "a b\n"


def test_the_command_line_writes_a_trace_beside_the_outputs(
    speaking: dragoman.Translator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, file = str(speaking.directory.path), tmp_path / "beam.json"
    assert main(["translate", model, "turn 3 left", "turn 9 left", "--beam-size", "2", "--trace", str(file)]) == 0
    out = capfd.readouterr().out
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["search"]["beam_size"] == 2
    assert [each["candidates"][0]["text"] for each in found["sources"]] == out.splitlines()
    assert {c["fate"] for each in found["sources"] for step in each["steps"] for c in step["candidates"]} >= {
        "kept",
        "finished",
        "pruned",
    }
    assert main(["translate", model, "--input", str(tmp_path / "in.txt"), "--trace", str(file)]) == 2
    assert "--trace needs sentences in the command" in capfd.readouterr().err
    assert main(["translate", model, "turn 3 left", "--output", str(file), "--trace", str(file)]) == 2
    assert "--trace and --output must be different files" in capfd.readouterr().err
    assert main(["translate", str(tmp_path / "no model"), "a", "--trace", str(tmp_path / "none/beam.json")]) == 2
    assert (
        "none/beam.json cannot be written: there is no directory" in capfd.readouterr().err
    )  # before anything is loaded
