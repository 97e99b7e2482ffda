"""Every flag of the programs on the PATH, in the form that their help and the documentation show, and what it does.

nlm-run's are in test_run_script.py.
"""

import csv
import importlib
import os
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from ablations import ABLATIONS

from minlm.scripts import fit_bigram, generate, tokenize, train, train_tokenizer
from minlm.tokenization import BPETokenizer
from minlm.training import run as training
from minlm.training.bigram_file import load_bigram
from minlm.transformer.checkpoint import load_model

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    name: importlib.import_module(place.removesuffix(":main"))
    for name, place in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
}
SENTENCES = "the cat sat on the mat. A dog ran home to the cat, and all of them were happy there.\n<|endoftext|>\n"
TOKENIZER = "--vocab_path tokenizer/train_vocab.json --merges_path tokenizer/train_merges.txt"
TRAIN = (
    "--train_tokens tokens/train.npy --val_tokens tokens/valid.npy --vocab_size 300 --context_length 8 --d_model 16 "
    "--num_layers 1 --num_heads 2 --d_ff 24 --batch_size 4 --total_tokens 320 --warmup_iters 2 --lr_max 1e-2 "
    "--eval_interval 5 --dtype float32 --compile off --device cpu --threads 1"
)
GENERATE = f"--checkpoint model.pt {TOKENIZER} --device cpu --max_tokens 8 --seed 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the README's first three commands make, with a model of the size `TRAIN`."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "data").mkdir()
    (folder / "data/train.txt").write_text(SENTENCES * 20)
    (folder / "data/valid.txt").write_text(SENTENCES * 3)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_tokenizer.main(shlex.split("data/train.txt --vocab_size 300 --output_dir tokenizer"))
        tokenize.main(shlex.split(f"--inputs data/train.txt data/valid.txt {TOKENIZER} --output_dir tokens"))
        fit_bigram.main(shlex.split("--tokens tokens/train.npy --vocab_size 300 --d_model 16 --output bigram.pt"))
        train.main(shlex.split(f"{TRAIN} --checkpoint_path model.pt"))
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def run(folder, tmp_path, capfd):
    """Call a program as typed in that folder; what it prints to stdout and stderr."""

    def call(program, line: str) -> tuple[str, str]:
        capfd.readouterr()
        program.main(shlex.split(line))
        return capfd.readouterr()

    return call


@pytest.mark.parametrize("program", [train_tokenizer, tokenize, train, generate])
def test_no_flag_is_left_out(program):
    flags = {word for action in program.build_parser()._actions for word in action.option_strings} - {"-h", "--help"}
    elsewhere = {"--log_to", "--log_to_wandb", "--wandb_project", "--wandb_run_name"}  # test_train_plot_scripts.py
    elsewhere |= {"--chat", "--init_from"}  # serve/test_serve_chat.py, training/test_starting.py
    elsewhere |= {"--keep_checkpoints", "--keep_best"}  # training/test_extending.py
    assert flags - elsewhere <= {*SWITCHES, *re.findall(r"--\w+", Path(__file__).read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_help_states_the_name_and_an_example_that_works(name):
    parser = PROGRAMS[name].build_parser()
    assert parser.prog == name
    program, *words = shlex.split(parser.format_help().split("example:\n")[1].replace("\\\n", ""))
    assert program == name
    parser.parse_args(words)


def test_train_tokenizer(run, folder, tmp_path):
    words = f"data/train.txt --vocab_size 290 --special_tokens '<|endoftext|>' '<|x|>' --output_dir {tmp_path}"
    log = f"--log_file {tmp_path}/log.txt"
    _, said = run(train_tokenizer, f"{words} --prefix a_ --profile --threads 1 --invalid_utf8 keep {log}")
    made = BPETokenizer.from_files(tmp_path / "a_vocab.json", tmp_path / "a_merges.txt")
    assert len(made.vocab) == 290
    assert (made.vocab[256], made.vocab[257]) == (b"<|endoftext|>", b"<|x|>")
    assert re.search(r"^  merging +\d+\.\d+ s$", said, re.M)
    assert "a_vocab.json" in (tmp_path / "log.txt").read_text()
    run(train_tokenizer, f"{words} --prefix b_ --backend python")
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / f"a_{name}").read_bytes() == (tmp_path / f"b_{name}").read_bytes()
    _, said = run(train_tokenizer, rf"{words} --prefix c_ --pattern '\w+|\W'")
    assert "a pattern of your own is much slower" in said
    assert BPETokenizer.from_files(tmp_path / "c_vocab.json", tmp_path / "c_merges.txt").pattern == r"\w+|\W"


def test_tokenize(run, folder, tmp_path):
    words = f"--inputs data/train.txt data/valid.txt {TOKENIZER} --special_tokens '<|endoftext|>' --output_dir"
    run(tokenize, f"{words} {tmp_path}/a --output_dtype int32 --backend python --threads 1 --log_file {tmp_path}/log")
    for name in ("train", "valid"):
        made, expected = np.load(tmp_path / f"a/{name}.npy"), np.load(f"tokens/{name}.npy")
        assert (made.dtype, expected.dtype) == (np.int32, np.uint16)
        assert made.tolist() == expected.tolist()
    assert "train.npy" in (tmp_path / "log").read_text()
    run(tokenize, f"{words} {tmp_path}/b --shard 2/2 --invalid_utf8 keep")
    part = np.load(tmp_path / "b/train.2-of-2.npy")
    assert 0 < len(part) < len(np.load("tokens/train.npy"))
    assert part.tolist() == np.load("tokens/train.npy")[-len(part) :].tolist()


def test_generate(run, folder, tmp_path):
    def text(more: str) -> str:
        return run(generate, f"{GENERATE} {more}")[0]

    plain = text("--prompt 'the cat'")
    assert plain.startswith("the cat")
    assert text("--prompt 'the cat'") == plain
    assert text("--prompt 'the cat' --seed 2") != plain
    shorter = text("--prompt 'the cat' --max_tokens 1").rstrip("\n")
    assert plain.startswith(shorter)
    assert len(shorter) < len(plain.rstrip("\n"))
    greedy = text("--prompt 'the cat' --temperature 0")
    assert greedy == text("--prompt 'the cat' --temperature 0 --seed 2")
    assert greedy == text("--prompt 'the cat' --top_k 1") == text("--prompt 'the cat' --top_p 1e-9")
    assert text("--num_samples 2") == f"{text('')}\n{text('--seed 2')}"
    assert not text("--log_file " + shlex.quote(str(tmp_path / "log"))).startswith("the cat")
    assert "--seed 1 writes the same again" in (tmp_path / "log").read_text()


# What is in the model afterwards, with other weights than those of `TRAIN` alone.
CHANGES = """
--vocab_size 301 · --context_length 16 · --d_model 32 · --num_layers 2 · --num_heads 4 · --d_ff 32 · --rope_theta 9.0
--embedding_std 0.02
--batch_size 8 · --total_tokens 640 · --lr_max 0.02 · --lr_min 0.001 · --warmup_iters 5 · --weight_decay 0.5
--schedule cosine · --look_back_init False
--max_grad_norm 0.01 · --beta1 0.5 · --beta2 0.5 · --eps 0.01 · --seed 7 · --dtype bfloat16
"""
SWITCHES = [f"--{name}" for name in ABLATIONS]
# What is computed in another way, to the same model but for rounding.
WAYS = """
--flash_attention false · --grad_accum_steps 2 · --gradient_checkpointing · --save_interval 3 · --threads 2
--reference · --eval_tokens 9
"""


def each(flags: str) -> list[str]:
    return re.split(r"\s*·\s*|\n", flags.strip())


def trained(run, tmp_path, more: str):
    run(train, f"{TRAIN} --checkpoint_path {tmp_path}/model.pt {more}")
    return load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("flags", [*each(CHANGES), *SWITCHES])
def test_flags_that_make_another_model(run, tmp_path, flags):
    model, info = trained(run, tmp_path, flags)
    name, _, value = flags.removeprefix("--").partition(" ")
    stated = model.config | info["training"]
    assert str(stated[name]) == (value or "True")
    before = load_model("model.pt")[0].state_dict()
    after = model.state_dict()
    assert any(name not in before or not torch.equal(after[name], before[name]) for name in after)


def test_a_training_on_conversations(run, tmp_path, capfd):
    frequent = np.bincount(np.load("tokens/valid.npy")).argmax()
    for name in ("train", "valid"):
        np.save(tmp_path / f"{name}.npy", (np.load(f"tokens/{name}.npy") == frequent).astype(np.uint8))
    masks = f"--masks {tmp_path}/train.npy {tmp_path}/valid.npy {TOKENIZER}"
    trained(run, tmp_path, f"{masks} --log_csv {tmp_path}/metrics.csv")
    row = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))[-1]
    assert float(row["val_loss"]) < 4  # one token is learned faster than all
    for wrong in (f"--masks {tmp_path}/train.npy {TOKENIZER}", masks.replace(TOKENIZER, "")):
        with pytest.raises(SystemExit):
            train.main(shlex.split(f"{TRAIN} --checkpoint_path {tmp_path}/wrong.pt {wrong}"))
        assert "--masks are two, of --train_tokens and --val_tokens" in capfd.readouterr().err


def test_a_training_starts_from_a_bigram_fit(run, tmp_path):
    model, info = trained(run, tmp_path, "--bigram_path bigram.pt --lr_max 1e-9 --lr_min 0")
    assert info["training"]["bigram_init"]
    assert not load_model("model.pt")[1]["training"]["bigram_init"]
    torch.testing.assert_close(model.lm_head.weight, load_bigram("bigram.pt")[1])


@pytest.mark.parametrize("flags", each(WAYS))
def test_flags_that_make_the_same_model_in_another_way(run, tmp_path, flags):
    model, _ = trained(run, tmp_path, flags)
    torch.testing.assert_close(model.state_dict(), load_model("model.pt")[0].state_dict(), atol=2e-4, rtol=1e-3)


def test_flags_for_what_is_written(run, tmp_path):
    _, info = trained(
        run, tmp_path,
        f"{TOKENIZER} --eval_interval 2 --log_csv {tmp_path}/metrics.csv --plot_dir {tmp_path}/plots "
        f"--log_file {tmp_path}/log",
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["iter"] for row in rows] == ["1", "2", "4", "6", "8", "10"]
    assert all(row["val_bits_per_byte"] for row in rows[1:])
    tokenizer = BPETokenizer.from_files("tokenizer/train_vocab.json", "tokenizer/train_merges.txt", ["<|endoftext|>"])
    assert info["tokenizer"] == tokenizer.fingerprint
    assert (tmp_path / "plots/loss_vs_iter.png").stat().st_size > 1000
    said = (tmp_path / "log").read_text()
    assert "10 steps of 4 × 8 = 320 tokens on cpu, 1 thread; float32, not compiled" in said


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A run that ended after step 6 for want of power, with its state in `tmp_path`/state; and its words."""
    words = f"{TRAIN} --checkpoint_path {tmp_path}/model.pt --state_dir {tmp_path}/state --save_interval 3"

    def fails(self, saved):
        real(self, saved)
        if saved["iteration"] == 6:
            self.wait()
            raise KeyboardInterrupt

    real = training.RunState.save
    with monkeypatch.context() as patch:
        patch.setattr(training.RunState, "save", fails)
        with pytest.raises(SystemExit):
            train.main(shlex.split(words))
    assert (tmp_path / "state/checkpoint.pt").exists()
    assert not (tmp_path / "model.pt").exists()
    return words


@pytest.mark.parametrize("flags", ["", "--resume", "--resume STATE", "--resume STATE/checkpoint.pt"])
def test_resume(run, interrupted, tmp_path, flags):
    _, said = run(train, f"{interrupted} {flags.replace('STATE', str(tmp_path / 'state'))}")
    assert ("continuing an interrupted run at step 6" in said) == ("STATE" not in flags)
    model, reference = load_model(tmp_path / "model.pt")[0], load_model("model.pt")[0]
    torch.testing.assert_close(model.state_dict(), reference.state_dict(), atol=0, rtol=0)
    assert not (tmp_path / "state").exists()


def test_resume_from_a_path_of_its_own(run, interrupted, tmp_path):
    os.rename(tmp_path / "state", tmp_path / "moved")
    _, said = run(train, f"{interrupted} --resume {tmp_path}/moved")
    model, reference = load_model(tmp_path / "model.pt")[0], load_model("model.pt")[0]
    torch.testing.assert_close(model.state_dict(), reference.state_dict(), atol=0, rtol=0)
    assert "step" in said


def test_resume_with_nothing_to_continue_starts(run, tmp_path):
    model, _ = trained(run, tmp_path, "--resume")
    torch.testing.assert_close(model.state_dict(), load_model("model.pt")[0].state_dict(), atol=0, rtol=0)
