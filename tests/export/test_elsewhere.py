"""docs/elsewhere.md, section by section, in the software that it is about (`pytest -m elsewhere`)."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from finished_model import CONTEXT, flags

from minlm.generation.load import load_with_tokenizer
from minlm.scripts import export as export_script
from minlm.serve.server import Server

PAGE = (Path(__file__).parents[2] / "docs/elsewhere.md").read_text(encoding="utf-8")
MODULES = {
    "transformers": "transformers", "TRL": "trl", "PEFT": "peft", "CTranslate2": "ctranslate2", "lm_eval": "lm_eval",
    "llama.cpp": "llama_cpp",
}  # fmt: skip
pytestmark = pytest.mark.elsewhere


def blocks(section: str) -> list[tuple[str, str]]:
    """The languages and the code of a section's blocks."""
    [text] = re.findall(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory) -> Path:
    """A project with the results that the page starts from."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(trained, folder / "results")
    shutil.copytree(trained, folder / "data/tokenizer")
    export_script.main(flags(trained, folder / "results/export"))
    (folder / "tasks").mkdir()
    return folder


@pytest.fixture
def port(trained):
    """A server's."""
    server = Server("127.0.0.1", 0)
    model, tokenizer, _ = load_with_tokenizer(trained / "model.pt", trained / "vocab.json", trained / "merges.txt")
    thread = threading.Thread(target=server.serve, args=(model, tokenizer, "a model"))
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()


@pytest.mark.parametrize("section", MODULES)
def test_the_page(folder, port, section):
    if importlib.util.find_spec(MODULES[section]) is None:
        pytest.skip(f"needs {section}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    outputs = []
    for language, code in blocks(section):
        if language == "yaml":
            (folder / "tasks/kings.yaml").write_text(code)
        elif language == "text":
            (folder / "tasks/kings.jsonl").write_text(code)
        else:
            code = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("max_length=96", f"max_length={CONTEXT}")
            code = re.sub(r"^nlm-export", f"{sys.executable} -m minlm.scripts.export", code, flags=re.M)
            words = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
            done = subprocess.run([*words, code], cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    if section == "lm_eval":
        [(first, second)] = [re.findall(r"\|acc +\|↑ +\|([ .\d]+)", output) for output in outputs]
        assert first == second
    elif section == "TRL":
        assert (folder / "results/sft/model.safetensors").exists()
    elif section not in ("PEFT",):
        assert outputs[-1].strip()
