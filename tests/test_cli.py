"""The command line: what is an option and what is text, who overrides whom, and what stands in which help."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from dragoman.cli import main
from dragoman.cli.app import COMMANDS, command
from dragoman.cli.arguments import FLAGS, flag
from dragoman.cli.failures import ELSEWHERE, USER_ERROR, report
from dragoman.cli.flags import arrange, flags_of, with_file, with_only
from dragoman.config import MachineOptions, SearchOptions, TrainOptions
from dragoman.errors import DataError, OptionError


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        (("--beam-size", "--seed"), "; a smaller --beam-size needs less"),
        (("--hidden-size", "--batch-tokens"), "; a smaller --batch-tokens or --hidden-size needs less"),
        (
            ("--beam-size", "--hidden-size", "--vocab-size"),
            "; a smaller --hidden-size, --vocab-size or --beam-size needs less",
        ),
        ((), ""),
    ],
)
def test_too_little_memory_is_said_with_options_that_the_command_has(
    flags: tuple[str, ...], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = FLAGS.set(flags)
    code = report(MemoryError())
    FLAGS.reset(before)
    assert code == USER_ERROR
    assert capsys.readouterr().err == f"dragoman: error: there is not enough memory{advice}\n"


def test_a_sentence_may_begin_with_a_hyphen() -> None:
    words = ["model", "- yes", "-x", "--", "--beam-size", "-h"]
    assert arrange(words, command("translate")) == ["--", "model", "- yes", "-x", "--beam-size", "-h"]


def test_options_are_found_among_sentences() -> None:
    words = ["model", "a", "--beam-size", "3", "b", "--json", "--input", "-", "--output=x"]
    expected = ["--beam-size=3", "--json", "--input=-", "--output=x", "--", "model", "a", "b"]
    assert arrange(words, command("translate")) == expected


def test_an_underscore_in_an_option_is_a_hyphen() -> None:
    words = ["model", "--beam_size", "3", "--length_penalty=0", "--no_repeat", "a_b"]
    assert arrange(words, command("translate")) == [
        "--beam-size=3",
        "--length-penalty=0",
        "--no-repeat",
        "--",
        "model",
        "a_b",
    ]


def test_what_looks_like_an_option_but_is_none_is_left_for_the_message() -> None:
    assert arrange(["model", "--beem-size", "3"], command("translate"))[0] == "--beem-size"


def test_a_value_may_look_like_an_option() -> None:
    assert arrange(["p.tsv", "--separator", "--"], command("train")) == ["--separator=--", "--", "p.tsv"]


def test_help_is_asked_for_by_its_short_name_only_before_text() -> None:
    assert arrange(["-h"], command("translate")) == ["--help", "--"]
    assert arrange(["model", "-h"], command("translate")) == ["--", "model", "-h"]


def test_cyclopts_hears_of_the_flags_that_are_there_alone() -> None:
    def left(*flags: str) -> list[str]:
        return list(inspect.signature(with_only(flags, command("train"))).parameters)

    assert left() == ["pairs"]
    assert left("--no-jamo", "--source=1", "--source=2", "--from=model", "--json") == [
        "pairs",
        "as_json",
        "source",
        "jamo",
        "from_model",
    ]
    for whole in (["--epochs=3", "--epoch=3"], ["--epochs=3", "--help"]):
        assert left(*whole) == list(inspect.signature(command("train")).parameters)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: dragoman {name}")
    assert not shown.err


def test_help_names_options_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["translate", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("Similarity that --rerank mbr uses", "Implies --replace-unknown.", "--num-hypotheses have (first)"):
        assert words in shown
    assert "Whether <unk> may be chosen. Default: yes." in shown
    assert "of an output, as a multiple of the source's tokens. Default: 0." in shown
    assert shown.index("─ Search ─") < shown.index("─ Sampling ─") < shown.index("─ Constraints ─")


def test_train_has_a_flag_for_every_option_and_help_groups_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert {flag(name) for name in TrainOptions.model_fields} <= set(flags_of(command("train")))
    main(["train", "--help"])
    shown = capsys.readouterr().out
    titles = [line.split(" ")[1] for line in shown.splitlines() if line.startswith("╭─ ")]
    assert titles == ["Arguments", "Options", "Data", "Tokenisation", "Embeddings", "Model", "Training", "Machine"]
    for name in TrainOptions.model_fields:
        assert flag(name) in shown
    assert "Default: utf-8." in shown
    assert "<unk>" in shown


FIXED = (
    "--out --overwrite --preset --epochs --max-steps --max-minutes --dev --test --source --target --separator --encoding "
    "--group-by --pattern --seed --threads --device --resume --layers --config --peek --no-peek"
)


def test_the_fixed_names_are_there() -> None:
    assert set(FIXED.split()) <= set(flags_of(command("train")))
    searching = {"--beam-size", "--num-hypotheses", "--input", "--output", "--json", "--threads", "--device"}
    assert searching <= set(flags_of(command("translate")))


def test_names_of_other_toolkits_lead_to_flags_that_exist() -> None:
    train, translate = set(flags_of(command("train"))), set(flags_of(command("translate")))
    assert set(ELSEWHERE) <= train | translate
    others = [f"--{name}" for names in ELSEWHERE.values() for name in names.split()]
    assert len(others) == len(set(others))
    assert not train & translate & set(others)


def test_commands_take_only_what_they_declare() -> None:
    for name in COMMANDS:
        kinds = {parameter.kind for parameter in inspect.signature(command(name)).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import dragoman

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dragoman {dragoman.__version__}\n"


def test_no_arguments_show_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_flags_override_the_config_file(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('layers = 3\nmax-minutes = 1.5\npeek = true\ndev = 500\nsource = ["lemma", 2]\n')
    options = with_file(TrainOptions(layers=1), file)
    assert (options.layers, options.max_minutes, options.peek, options.dev) == (1, 1.5, True, ("500",))
    assert options.source == ("lemma", "2")
    assert options.model_fields_set == {"layers", "max_minutes", "peek", "dev", "source"}
    for text in ('copy = true\nfrom = "model"\n', 'copying = true\nfrom_model = "model"\n'):
        file.write_text(text)
        options = with_file(TrainOptions(), file)
        assert (options.copying, options.from_model) == (True, "model"), "a key may be a flag's name or a field's"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("layerz = 2", OptionError, r'options.toml: there is no option layerz; did you mean "layers"\?'),
        ("layers = 0", OptionError, "options.toml: `layers` must be at least 1, but is 0"),
        ("layers = true", OptionError, "options.toml: `layers` must be a whole number, but is True"),
        ("lr = 0.1", OptionError, r'options.toml: there is no option lr; did you mean "learning-rate"\?'),
        ("batch_size = 3", OptionError, r'there is no option batch_size; did you mean "batch-tokens"\?'),
        ("copi = true", OptionError, r'options.toml: there is no option copi; did you mean "copy"\?'),
        ("max-steps = 2\nmax_steps = 3", OptionError, "options.toml: max_steps is there twice, under two names"),
        ("layers = ", DataError, "options.toml: is not valid TOML"),
        pytest.param("layers = " + 5_000 * "[", DataError, "is not valid TOML: its values are nested too", id="deep"),
        ("[model]\nlayers = 2", OptionError, "options.toml: there is no option model; --help lists the options"),
    ],
)
def test_a_wrong_config_file_names_itself_and_the_key(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    file = tmp_path / "options.toml"
    file.write_text(text)
    with pytest.raises(error, match=message):
        with_file(TrainOptions(), file)


def test_without_a_config_file_options_stay_as_they_are() -> None:
    options = SearchOptions(beam_size=2)
    assert with_file(options, None) is options


def test_machine_options_are_those_of_training() -> None:
    assert set(MachineOptions.model_fields) < set(TrainOptions.model_fields)
