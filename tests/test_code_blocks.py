"""Every code block of the README and docs/ is true: Python runs, YAML is a configuration, programs and flags exist.

`pytest -m slow` also runs the commands, in a project with a small configuration. A block that cannot run has a line
`<!-- not run: REASON -->` or, for snakemake, `<!-- dry run: REASON -->` before it; both are counted here.
"""

import ast
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from checkout import Checkout, environment
from snakemake.cli import parse_args

from minlm.pipeline.config import resolve
from minlm.pipeline.settings import load_schema
from minlm.serve.request import parse as parse_request
from minlm.tokenization import BPETokenizer
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import load_model, save_model

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "yaml", "sh", "console", "text"}  # "text" is no code: diagrams, output
NOT_RUN = {"README.md": 4, "CONTRIBUTING.md": 1, "changing.md": 10, "clusters.md": 2, "coming-from-nlm-run.md": 2}
NOT_RUN |= {"corpora.md": 1, "index.md": 2, "model.md": 1, "serve.md": 3, "elsewhere.md": 9, "chat.md": 3}
BLOCK = re.compile(
    r"^(?:[ ]*<!--[ ](?P<how>not[ ]run|dry[ ]run):[ ](?P<reason>[^\n]+?)[ ]-->\n\s*)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@dataclass
class Block:
    """A code block; `how` is "", "not run" or "dry run"."""

    page: str
    line: int
    language: str
    code: str
    how: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def find_blocks() -> list[Block]:
    blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("language")) + 1
            code = textwrap.dedent(match["code"])
            blocks.append(Block(page.name, line, match["language"], code, match["how"] or ""))
    return blocks


BLOCKS = find_blocks()


def blocks_of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The words of each command; of a console, the lines after "$ "."""
    code = "\n".join(re.findall(r"^\$ (.*)$", block.code, re.M)) if block.language == "console" else block.code
    lines = [shlex.split(line, comments=True) for line in code.replace("\\\n", "").splitlines()]
    split = [" ".join(map(shlex.quote, words)).split(" '&&' ") for words in lines if words]
    return [shlex.split(command) for line in split for command in line]


def test_every_block_is_found_and_names_its_language():
    fences = sum(len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.M)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    assert {str(block): block.language for block in BLOCKS if block.language not in LANGUAGES} == {}


def test_blocks_that_are_not_run_are_counted():
    assert Counter(block.page for block in BLOCKS if block.how) == NOT_RUN


# --- Python ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """What a small run leaves, where the documents look for it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("data/tokenizer", "data/tokens", "results", "texts"):
        (folder / name).mkdir(parents=True)
    text = "And the king said to the people, Let us go in peace.\n<|endoftext|>\n" * 50
    for name in ("train.txt", "texts/a.txt"):
        (folder / name).write_text(text)
    tokenizer = BPETokenizer.train(folder / "train.txt", 280, ["<|endoftext|>"])
    tokenizer.save(folder / "data/tokenizer/vocab.json", folder / "data/tokenizer/merges.txt")
    shutil.copytree(folder / "data/tokenizer", folder, dirs_exist_ok=True)
    for name in ("train", "valid"):
        np.save(folder / f"data/tokens/{name}.npy", np.array(tokenizer.encode(text), dtype=np.uint16))
    model = TransformerLM(len(tokenizer.vocab), 32, 16, 1, 2, 24)
    save_model(folder / "results/model.pt", model, 100, tokenizer.fingerprint, {})
    return folder


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in blocks_of("python")))
def test_python_runs(project, monkeypatch, page):
    """The blocks of a page, one after the other, as a reader would paste them."""
    monkeypatch.chdir(project)
    names: dict[str, object] = {}
    for block in blocks_of("python"):
        if block.page == page:
            code = compile(block.code, str(block), "exec", ast.PyCF_ONLY_AST if block.how else 0)
            if not block.how:
                exec(code, names)


def test_an_old_checkpoint_is_converted(tmp_path, monkeypatch):
    """The block that converts, with a small shape."""
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks_of("python") if '"old.pt"' in block.code]
    shape = "vocab_size=280, context_length=32, d_model=16, num_layers=1, num_heads=2, d_ff=24"
    code, count = re.subn(r"vocab_size=10000,.* d_ff=1344", shape, block.code)
    assert count == 1
    old = TransformerLM(280, 32, 16, 1, 2, 24)
    torch.save({"model_state_dict": old.state_dict(), "optimizer_state_dict": {}, "iteration": 100}, "old.pt")
    exec(code, {})
    model, info = load_model("model.pt")
    assert info["iteration"] == 100
    torch.testing.assert_close(model.state_dict(), old.state_dict(), rtol=0, atol=0)


# --- YAML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks_of("yaml"), ids=str)
def test_yaml_is_a_configuration(project, monkeypatch, block):
    monkeypatch.chdir(project)
    values = yaml.safe_load(block.code)
    if not block.how:
        resolve(values, load_schema())


# --- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks_of("sh", "console"), ids=str)
def test_programs_and_flags_exist(block):
    for words in commands(block):
        check(words)


def check(words: list[str]) -> None:
    """Fail unless the program and all its flags exist."""
    program, *rest = words
    if program in PROJECT["project"]["scripts"]:
        check_module(PROJECT["project"]["scripts"][program].removesuffix(":main"), rest)
    elif program == "python" and rest[0].endswith(".py"):
        source = (ROOT / rest[0]).read_text(encoding="utf-8")
        assert all(f'"{flag}"' in source for flag in rest[1:])
    elif program in ("python", "torchrun"):
        module = rest.index("-m")
        check_module(rest[module + 1], rest[module + 2 :])
    elif program == "snakemake":
        if "--profile" in rest:  # its executor may not be installed
            profile = rest.index("--profile")
            assert (ROOT / rest[profile + 1] / "config.yaml").is_file()
            del rest[profile : profile + 2]
        parse_args(rest)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}\b.*:", makefile, re.M) for target in rest), words
    elif program == "pip":
        extras = {extra for word in rest for group in re.findall(r"\[(.*)\]", word) for extra in group.split(",")}
        assert extras <= PROJECT["project"]["optional-dependencies"].keys()
    elif program == "curl":
        parse_request(rest[rest.index("-d") + 1].encode())
        assert json.loads(rest[rest.index("-d") + 1])
    elif program in ("ct2-transformers-converter", "lm_eval", "ollama"):
        pass  # tests/export/test_elsewhere.py runs them
    else:
        assert program in ("touch", "cd"), f"how is {program} checked?"


def check_module(name: str, flags: list[str]) -> None:
    module = importlib.import_module(name)
    if hasattr(module, "build_parser"):
        module.build_parser().parse_args(flags)
    else:
        source = inspect.getsource(module)
        assert all(f'"{flag}"' in source for flag in flags if flag.startswith("--"))


# The flags that make each program small, after those of the documents: the last one counts.
SMALL = r"""
nlm-train() {
    local shape="--context_length 16 --vocab_size 300 --d_model 16 --num_layers 1 --num_heads 2 --d_ff 24"
    case "$*" in *--init_from*) shape= ;; esac  # the model's
    command nlm-train "$@" $shape --batch_size 4 --total_tokens 640 --warmup_iters 2 --device cpu
}
nlm-train-tokenizer() { command nlm-train-tokenizer "$@" --vocab_size 300; }
python() { case "$*" in *transformer.loop*) set -- "$@" --steps 3 ;; esac; command python "$@"; }
snakemake() { command snakemake ${DRY_RUN:+-n} "$@"; }
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Checkout:
    """A project with the results of a small run and two variants to compare."""
    checkout = Checkout(tmp_path_factory.mktemp("commands"))
    with open(checkout.folder / "config.yaml", "a") as file:
        file.write("experiments: {base: null, lr: {training.lr_max: 2.0e-3}}\n")
    checkout.run("all")
    for name in ("data/train.txt", "data/valid.txt", "train.txt", "valid.txt"):
        shutil.copy(checkout.folder / f"texts/{Path(name).name}", checkout.folder / name)
    shutil.copytree(checkout.folder / "data/tokenizer", checkout.folder, dirs_exist_ok=True)
    return checkout


@pytest.mark.slow
@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in blocks_of("sh") if block.how != "not run"))
def test_commands_run(finished, tmp_path, page):
    """The blocks of a page, one after the other, in a project of its own."""
    project = Checkout(tmp_path / "project", like=finished.folder).folder
    for block in blocks_of("sh"):
        if block.page == page and block.how != "not run":
            dry = {"DRY_RUN": "1"} if block.how else {}
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            done = subprocess.run(
                ["bash", "-ec", SMALL + block.code], cwd=project, text=True, env={**environment(), "PATH": path, **dry},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert done.returncode == 0, f"{block}:\n{done.stdout}"
