"""The jobs of the tokenizer's benchmark, each as a user of that library would do it.

Training reads a file and returns the vocabulary (minlm writes it, too); encoding reads a file and writes `.npy`.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from minlm.bulk.encode_files import encode_files
from minlm.bulk.options import Options
from minlm.bulk.train_tokenizer import train_tokenizer
from minlm.export.tokenizer_json import write_tokenizer_json
from minlm.tokenization import BPETokenizer
from minlm.tokenization.pretokenize import GPT2_PATTERN

VOCAB_SIZE = 10_000
SEPARATOR = "<|endoftext|>"
PEERS = ["gigatoken", "rustbpe", "tiktoken", "tokenizers"]

FRESH_GIGATOKEN = """
import sys, time, gigatoken, numpy as np
tokenizer_json, text, output = sys.argv[1:]
tokenizer = gigatoken.Tokenizer(tokenizer_json)
start = time.perf_counter()
with open(text, "rb") as file:
    np.save(output, tokenizer.encode(file.read()).astype(np.uint16))
print(time.perf_counter() - start)
"""
# gigatoken brings awkward, which adds itself to numba at every start; who only uses minlm does not have it
FIRST_TEXT = """
import sys
from numba.core import entrypoints
entrypoints._already_initialized = True
from minlm.tokenization import BPETokenizer
print(len(BPETokenizer.from_files(sys.argv[1], sys.argv[2], ["<|endoftext|>"]).encode("one short text")))
"""
TAKE_TURNS = """
import gc, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tokenizer_jobs
job, path, folder, core = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
os.sched_setaffinity(0, {core})
do = tokenizer_jobs.Encoders(folder).minlm if job == "encode" else lambda path: tokenizer_jobs.train_minlm(path, folder)
do(path)
gc.disable()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    told = do(path)
    print(told or time.perf_counter() - start, flush=True)
    gc.collect()
"""
PEAK_MEMORY = """
import re, sys
sys.path.insert(0, sys.argv[1])
from tokenizer_jobs import Encoders, train_minlm
from pathlib import Path
job, text, folder, threads = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
if job == "train":
    train_minlm(text, folder / "trained", threads)
else:
    Encoders(folder).minlm(text, threads)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def train_minlm(path: Path, folder: Path, threads: int = 1) -> None:
    train_tokenizer(path, folder, "", VOCAB_SIZE, [SEPARATOR], Options(threads=threads))


def train_gigatoken(path: Path) -> None:
    import gigatoken

    source = gigatoken.TextFileSource([str(path)], separator=SEPARATOR.encode())
    gigatoken.train_bpe(source, VOCAB_SIZE, [SEPARATOR], tie_breaking="assembled_bytes")


def train_rustbpe(path: Path) -> None:
    import rustbpe

    documents = read(path).split(SEPARATOR)
    rustbpe.Tokenizer().train_from_iterator(iter(documents), VOCAB_SIZE - 1, pattern=GPT2_PATTERN)


def train_huggingface(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[SEPARATOR], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(read(path).split(SEPARATOR), trainer)


class Encoders:
    """Everybody's encoder with the vocabulary of vocab.json and merges.txt in a folder, where the `.npy` go, too."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = folder / "vocab.json", folder / "merges.txt"
        self.tokenizer = BPETokenizer.from_files(*self.files, [SEPARATOR])
        self.json = folder / "tokenizer.json"
        write_tokenizer_json(self.tokenizer, self.json)

    def load_peers(self, installed: list[str]) -> None:
        """Make the encoders of those who are installed."""
        if "gigatoken" in installed:
            import gigatoken

            self.gigatoken_tokenizer = gigatoken.Tokenizer(self.json)
        if "tiktoken" in installed:
            import tiktoken

            ranks = {token: index for index, token in self.tokenizer.vocab.items() if token != SEPARATOR.encode()}
            special = {SEPARATOR: self.tokenizer.encode(SEPARATOR)[0]}
            self.tiktoken_encoding = tiktoken.Encoding(
                "benchmark", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special
            )
        if "tokenizers" in installed:
            from tokenizers import Tokenizer

            self.huggingface_tokenizer = Tokenizer.from_file(str(self.json))

    def minlm(self, path: Path, threads: int = 1) -> float:
        """Seconds with a new tokenizer, which remembers no words; like the others' it is made before."""
        tokenizer = BPETokenizer.from_files(*self.files, [SEPARATOR])
        start = time.perf_counter()
        list(encode_files(tokenizer, [path], self.folder / "minlm", options=Options(threads=threads)))
        return time.perf_counter() - start

    def gigatoken(self, path: Path) -> None:
        """Warm: it remembers the words of earlier calls."""
        self._save("gigatoken", path, self.gigatoken_tokenizer.encode(path.read_bytes()))

    def gigatoken_fresh(self, path: Path) -> float:
        """Seconds from reading to saved, in a process of its own."""
        return float(run_python(FRESH_GIGATOKEN, self.json, path, self.folder / "fresh.npy"))

    def tiktoken(self, path: Path) -> None:
        """The whole text in one call."""
        ids = self.tiktoken_encoding.encode_to_numpy(read(path), allowed_special={SEPARATOR})
        self._save("tiktoken", path, ids)

    def huggingface(self, path: Path) -> None:
        """A batch of documents."""
        ids = [encoding.ids for encoding in self.huggingface_tokenizer.encode_batch_fast(documents_of(path))]
        self._save("tokenizers", path, np.concatenate([np.array(part, dtype=np.uint16) for part in ids]))

    def _save(self, name: str, path: Path, ids: np.ndarray) -> None:
        output = self.folder / name
        output.mkdir(exist_ok=True)
        np.save(output / f"{path.stem}.npy", ids.astype(np.uint16))

    def differences(self, path: Path) -> list[str]:
        """A line for each peer whose ids of a text are not minlm's.

        Libraries know different versions of Unicode, so that a new letter is none for some. Where ids differ, minlm's
        must be those of the reference in plain Python, which takes its words from `regex`.
        """
        lines, ours, texts = [], self._documents("minlm", path), documents_of(path)
        reference = BPETokenizer.from_files(*self.files, [SEPARATOR], backend="python")
        for name in PEERS:
            if not (self.folder / name / f"{path.stem}.npy").exists():
                continue
            theirs = self._documents(name, path)
            if not len(ours) == len(theirs) == len(texts):
                raise SystemExit(f"{path}: {name} and minlm do not have the same documents")
            others = [index for index, ids in enumerate(ours) if not np.array_equal(ids, theirs[index])]
            if any(reference.encode(texts[index]) != ours[index].tolist() for index in others):
                raise SystemExit(f"{path}: {name} and minlm give different ids, and minlm's are not the reference's")
            if others:
                lines.append(
                    f"{name} gives other ids for {len(others)} of the {len(ours):,} documents of {path.stem}; minlm's "
                    "are there those of the reference in plain Python with `regex`.\n"
                )
        return lines

    def _documents(self, name: str, path: Path) -> list[np.ndarray]:
        ids = np.load(self.folder / name / f"{path.stem}.npy")
        *documents, rest = np.split(ids, np.flatnonzero(ids == self.tokenizer.encode(SEPARATOR)[0]) + 1)
        return [*documents, rest] if len(rest) else documents


class TwoAtOnce:
    """Two processes that do the same job at the same time, one on each core: all that the machine gives for two.

    What looks like two cores may be one that works on two things in turns, as on most rented machines. The processes
    end with this one.
    """

    def __init__(self, job: str, path: Path, folder: Path, cores: list[int]):
        self._processes = []
        for core in cores:
            own = folder / f"{job}-{core}"
            own.mkdir(exist_ok=True)
            if job == "encode":
                shutil.copy(folder / "vocab.json", own)
                shutil.copy(folder / "merges.txt", own)
            command = [sys.executable, "-c", TAKE_TURNS, Path(__file__).parent, job, path, own, str(core)]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        self._answers()

    def __call__(self, path: Path) -> float:
        """Seconds for one text: half of what the two take for theirs."""
        for process in self._processes:
            print(file=process.stdin, flush=True)
        return max(map(float, self._answers())) / len(self._processes)

    def _answers(self) -> list[str]:
        return [process.stdout.readline() for process in self._processes if process.stdout]


def first_text(folder: Path, kernel_folder: Path | None) -> float:
    """Seconds of a whole process that encodes a short text, kernels compiled in or loaded from `kernel_folder`."""
    environment = {"NUMBA_CACHE_DIR": str(kernel_folder)} if kernel_folder else {}
    start = time.perf_counter()
    run_python(FIRST_TEXT, folder / "vocab.json", folder / "merges.txt", **environment)
    return time.perf_counter() - start


def peak_memory(job: str, path: Path, folder: Path, threads: int) -> float:
    """Megabytes of a process that does a job. (`ru_maxrss` would include the process that started it.)"""
    return int(run_python(PEAK_MEMORY, Path(__file__).parent, job, path, folder, threads)) * 1024 / 1e6


def run_python(code: str, *arguments: object, **environment: str) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def read(path: Path) -> str:
    return path.read_bytes().decode()


def documents_of(path: Path) -> list[str]:
    """The documents of a text, each with the separator behind it."""
    *documents, rest = read(path).split(SEPARATOR)
    return [f"{document}{SEPARATOR}" for document in documents] + ([rest] if rest else [])
