"""What follows a flag is its value, whatever it begins with; what looks like a wrong flag is still an error."""

import pytest

from minlm.scripts import catalog, collect_files, generate, sample, train_tokenizer

FILES = ("--checkpoint", "m", "--vocab_path", "v", "--merges_path", "g")
TEXTS = [
    "-5 degrees", "-5", "-", "--", "-Yes", "--Yes", "-heavy rain", "--checkpoint=x.txt", "--a b", "a=--", "=--",
    "it's\n--x",
    "", " -a", "{brace}", "-h, the letter",
]  # fmt: skip


def generated(*words):
    return generate.build_parser().parse_args([*FILES, *words])


def sampled(*words):
    return sample.build_parser().parse_args([*FILES, "--settings", "1:none", *words])


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_is_a_prompt(text):
    for words in (
        [f"--prompt={text}", "--seed", "3"],
        ["--prompt", text, "--seed", "3"],
        ["--seed=3", "--prompt", text],
    ):
        arguments = generated(*words)
        assert (arguments.prompt, arguments.seed) == (text, 3)


def test_each_text_of_a_list_in_pieces():
    assert sampled(*(f"--prompts={text}" for text in TEXTS)).prompts == TEXTS


def test_a_list_by_hand():
    texts = ["a", "-Yes", "b", "-5 degrees", "--a b"]
    arguments = sampled("--prompts", *texts, "--output=my file", "--seed", "3")
    assert (arguments.prompts, arguments.output, arguments.seed) == (texts, "my file", 3)


def test_the_first_piece_replaces_the_default():
    for _ in range(2):  # and leaves it as it was
        assert catalog.build_parser().parse_args([]).languages == ["en"]
        assert catalog.build_parser().parse_args(["--languages=fr", "--languages", "de", "el"]).languages == [
            "fr",
            "de",
            "el",
        ]


def test_files():
    words = ["--train", "-Yes.txt", "b.txt", "--train=--checkpoint=x.txt", "--output_train", "-t", "--output_valid=-v"]
    arguments = collect_files.build_parser().parse_args(words)
    assert arguments.train == ["-Yes.txt", "b.txt", "--checkpoint=x.txt"]
    assert (arguments.output_train, arguments.output_valid) == ("-t", "-v")
    assert train_tokenizer.build_parser().parse_args(["--prefix", "-p", "--", "-a.txt"]).input_file == "-a.txt"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompts", "a", "--promts", "b"], "unrecognized arguments: --promts b"),
        (["--prompts"], "--prompts: expected at least one argument"),
        (["--prompts", "--seed", "3"], "--prompts: expected at least one argument"),
        (["--prompts", "a", "--output", "--seed", "3"], "--output: expected one argument"),
        (["--prompts", "a", "--seed", "-1"], "--seed: must be a whole number ≥ 0"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        sampled(*words)
    error, advice = capsys.readouterr().err.splitlines()
    assert message in error
    assert advice == "`python -m minlm.scripts.sample --help` lists all flags."
