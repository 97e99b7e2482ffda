"""A small checkout to run the workflow in, as a user would."""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 240  # that one call may take
CORES = ("--cores", "2", "--max-threads", "1")  # another test runs beside: threads would wait for each other

TINY = r"""
corpus: {source: files, files: {train: [texts/train*.txt], valid: [texts/valid.txt]}}
tokenizer: {vocab_size: 300}
model: {context_length: 16, d_model: 32, num_layers: 1, num_heads: 2, d_ff: 64}
training: {batch_size: 4, total_tokens: 6400, warmup_iters: 5, lr_max: 1.0e-3, lr_min: 1.0e-4, eval_interval: 25,
  save_interval: 10}
sampling: {prompts: ["The cat", "it's \"$HOME\"", ""], settings: [{temperature: 0.7, top_p: 0.9}], max_new_tokens: 8}
"""


# Most calls are forks of a process that has imported Snakemake, which is half of what a short call costs. It has
# imported nothing of ours: that comes from the checkout, as in a call from the command line.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli"])


def snakemake(*arguments: str, folder: Path = ROOT) -> tuple[int, str]:
    """Call snakemake in the folder; its exit status and all that it prints."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = FORKS.Process(target=_become_snakemake, args=(folder, arguments, environment(), output.name))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            raise TimeoutError(output.read())
        return process.exitcode, output.read()


def _become_snakemake(folder: Path, arguments: tuple[str, ...], variables: dict[str, str], output: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from snakemake.cli import main

    main(list(arguments))


def environment() -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
    return {**variables, "PYTHONPATH": str(ROOT)}


class Checkout:
    """A folder with the Snakefile, a tiny configuration and a little text; or a copy of another, with all it made.

    Without `code`, minlm is the one under test.
    """

    def __init__(self, folder: Path, like: Path | None = None, code: bool = False):
        self.folder = folder
        if like:
            shutil.copytree(like, folder, symlinks=True, dirs_exist_ok=True)
            return
        for name in ("Snakefile", "workflow", "profiles", "envs", *(["minlm"] if code else [])):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "config.yaml").write_text(TINY)
        (folder / "texts").mkdir()
        sentences = ("the cat sat on the mat.", "a dog ran to the cat.", "they all went home again.")
        text = "".join(f"{sentences[i % 3]} {sentences[i * i % 3]}\n<|endoftext|>\n" for i in range(200))
        (folder / "texts/train.txt").write_text(text)
        (folder / "texts/valid.txt").write_text(text[:2000].rpartition("<|endoftext|>")[0])

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start snakemake from the command line, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *CORES, *arguments],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run snakemake to its end; its output."""
        made, output = snakemake(*CORES, *arguments, folder=self.folder)
        assert made == status, output
        return output

    def stale(self, *arguments: str, target: str = "all") -> dict[str, int]:
        """What a run would do now: rule → number of jobs."""
        output = self.run("--dry-run", target, *arguments)
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1].split("\n\n")[0]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        del jobs["total"]
        jobs.pop("all", None)
        return jobs

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL to the whole group: nothing gets the chance to clean up."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
