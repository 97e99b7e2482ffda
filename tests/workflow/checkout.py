"""A small checkout to run the workflow in, as a user would."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TINY = r"""
corpus: {source: files, files: {train: [texts/train*.txt], valid: [texts/valid.txt]}}
tokenizer: {vocab_size: 300}
model: {context_length: 16, d_model: 32, num_layers: 1, num_heads: 2, d_ff: 64}
training: {batch_size: 4, total_tokens: 6400, warmup_iters: 5, lr_max: 1.0e-3, lr_min: 1.0e-4, eval_interval: 25,
  save_interval: 10}
sampling: {prompts: ["The cat", "it's \"$HOME\"", ""], settings: [{temperature: 0.7, top_p: 0.9}], max_new_tokens: 8}
"""


class Checkout:
    """A folder with the Snakefile, a tiny configuration and a little text."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("Snakefile", "workflow", "profiles", "envs", "minlm"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "config.yaml").write_text(TINY)
        (folder / "texts").mkdir()
        sentences = ("the cat sat on the mat.", "a dog ran to the cat.", "they all went home again.")
        text = "".join(f"{sentences[i % 3]} {sentences[i * i % 3]}\n<|endoftext|>\n" for i in range(200))
        (folder / "texts/train.txt").write_text(text)
        (folder / "texts/valid.txt").write_text(text[:2000].rpartition("<|endoftext|>")[0])

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]

    def environment(self) -> dict[str, str]:
        hidden = ("PYTHONPATH", "SNAKEMAKE_PROFILE")
        return {name: value for name, value in os.environ.items() if name not in hidden}

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start snakemake in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run snakemake to its end; its output."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == status, output
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
