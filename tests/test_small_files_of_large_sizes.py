"""Small files that state large sizes, and JSON that only some parsers take: refused, before any memory is spent."""

import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from minlm.corpus.download import _read_record
from minlm.errors import MinlmError
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.reading import parse_json
from minlm.reports.corpus import _read_record as read_mixture
from minlm.tokenization.vocabulary_files import read_vocab
from minlm.training.evaluation import read_evaluation
from minlm.training.tokens import open_tokens
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import load_model, load_tensors, save_model

MODEL = {"vocab_size": 11, "context_length": 4, "d_model": 4, "num_layers": 1, "num_heads": 2, "d_ff": 4}
MEMORY = 200 << 20  # bytes that all of it together may take


class Calls:
    """Pickled as the call of a function that torch's `weights_only=True` allows."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def write_model(path: Path, weights=None, **config) -> None:
    model = TransformerLM(**MODEL)
    contents = {
        "model_state_dict": weights or model.state_dict(), "model_config": model.config | config, "iteration": 1,
        "tokenizer": None, "training": {},
    }  # fmt: skip
    torch.save(contents, path)


def compress(path: Path, **more: bytes) -> None:
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()} | more
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, data in entries.items():
            new.writestr(name, data)


def npy(header: str, data: bytes = b"") -> bytes:
    encoded = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + data


def write_models(folder: Path) -> None:
    sizes = ("vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff")
    for name in sizes:
        for index, value in enumerate((10**9, 10**30, -1, 0, True, 4.0, "4", None, [4])):
            write_model(folder / f"{name} {index}.pt", **{name: value})
    for name, value in (("rope_theta", "x"), ("rope_theta", float("nan")), ("no_rope", 1), ("embedding_std", -1.0)):
        write_model(folder / f"{name} {value}.pt", **{name: value})
    write_model(folder / "both.pt", d_model=10**9, num_heads=10**9)
    write_model(folder / "wide and long.pt", context_length=10**8, num_heads=1)
    weights = TransformerLM(**MODEL).state_dict()
    write_model(folder / "one number.pt", {name: torch.zeros(1).expand_as(w) for name, w in weights.items()})
    write_model(folder / "whole numbers.pt", {name: w.long() for name, w in weights.items()})
    write_model(folder / "no tensors.pt", dict.fromkeys(weights, 1.0))
    block = torch.zeros(4, 4)
    many = {f"{name}.weight": torch.zeros(11, 4) for name in ("token_embeddings", "lm_head")}
    many["ln_final.weight"] = block[0]
    parts = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.output_proj", "ffn.w1", "ffn.w2", "ffn.w3")
    for layer in range(50):
        many |= {f"layers.{layer}.{part}.weight": block for part in parts}
        many |= {f"layers.{layer}.{part}.weight": block[0] for part in ("ln1", "ln2")}
    write_model(folder / "shared.pt", many, num_layers=50)
    write_model(folder / "compressed.pt")
    compress(folder / "compressed.pt")


def write_tensors(folder: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**10)}, folder / "expanded.tensors")
    calls = (bytearray, 10**10), (torch.UntypedStorage, 10**10), (torch.Tensor, 10**5, 10**5), (set, [1])
    for index, (function, *arguments) in enumerate(calls):
        torch.save({"a": Calls(function, *arguments)}, folder / f"call {index}.tensors")
    torch.save({"a": torch.zeros(4)}, folder / "compressed.tensors")
    compress(folder / "compressed.tensors", **{"compressed/data/1": bytes(1 << 28)})
    torch.save({"a": torch.zeros(1000)}, folder / "longer.tensors")
    with zipfile.ZipFile(folder / "longer.tensors") as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(folder / "longer.tensors", "w") as new:
        for name, data in entries.items():  # 1000 numbers become 10**8, in both places
            new.writestr(name, data.replace(b"M\xe8\x03", b"J\x00\xe1\xf5\x05"))
    index = b"r" + (2**31 - 1).to_bytes(4, "little")  # in the table of the pickle's objects
    for name, pickled in (("memo", b"\x80\x02}" + index + b"."), ("bytes", b"\x80\x05\x96" + bytes(5) + b"\x10\0\0.")):
        with zipfile.ZipFile(folder / f"{name}.tensors", "w") as new:
            new.writestr("a/data.pkl", pickled)
            new.writestr("a/version", "3\n")


def write_arrays(folder: Path) -> None:
    good = "{'descr': '<u2', 'fortran_order': False, 'shape': (%s,), }"
    shapes = ("1" + "0" * 30, "-1", "1000000000000", "9" * 5000, "5, -1", "2**60")
    for index, shape in enumerate(shapes):
        (folder / f"shape {index}.npy").write_bytes(npy(good % shape, b"\1\0" * 40))
    for index, header in enumerate(("{'descr': '<u2', (", "PK\3\4", "[" * 5000, "{}", "1", "{'descr': '|O'", "")):
        (folder / f"header {index}.npy").write_bytes(npy(header, b"\1\0" * 40))
    (folder / "zip.npy").write_bytes(b"PK\3\4" + bytes(100))
    arrays = {
        "bytes": np.frombuffer(b"ab", np.uint8), "offsets": np.array([0, 1, 2]), "counts": np.array([1, 1]),
        "special_tokens": np.array(["<x>"]),
    }  # fmt: skip
    changes = {
        "wrap": {"offsets": np.array([0, 2**63 - 1, 2 - 2**63, 2]), "counts": np.array([1, 1, 1])},
        "sum": {"counts": np.array([2**62, 2**62])},
        "objects": {"special_tokens": np.array([{}])},
        "surrogate": {"special_tokens": np.array(["\ud800"])},
        "numbers": {"special_tokens": np.array([1])},
        "flat": {"offsets": np.array([[0, 1, 2]])},
    }
    for name, change in changes.items():
        np.savez(folder / f"{name}.npz", **(arrays | change))
    np.savez(folder / "compressed.npz", **arrays)
    compress(folder / "compressed.npz", **{"bytes.npy": npy(good.replace("u2", "u1") % (1 << 28), bytes(1 << 28))})
    for name, header in (("long", good.replace("u2", "i8") % 10**11), ("empty", good.replace("<u2", "<U0") % 10**11)):
        with zipfile.ZipFile(folder / f"{name}.npz", "w") as archive:
            for key, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                swap = key == {"long": "counts", "empty": "special_tokens"}[name]
                archive.writestr(f"{key}.npy", npy(header) if swap else buffer.getvalue())


READERS = {
    ".pt": load_model,
    ".tensors": load_tensors,
    ".npy": lambda path: open_tokens(path, 100, 4),
    ".npz": WordCounts.load,
}


def test_small_files_that_state_large_sizes_are_refused_without_memory(tmp_path):
    write_models(tmp_path)
    write_tensors(tmp_path)
    write_arrays(tmp_path)
    assert all(path.stat().st_size < 2 << 20 for path in tmp_path.iterdir())
    child = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == 0, child.stderr[-2000:]
    answers = json.loads(child.stdout)
    assert set(answers) == {path.name for path in tmp_path.iterdir()}
    assert answers.pop("memo.tensors") == "read"  # it is an empty dict
    for name, answer in answers.items():
        assert answer.startswith(f"MinlmError: {tmp_path / name}"), answer
        assert "\n" not in answer, answer


def _answer(path: Path) -> str:
    try:
        READERS[path.suffix](path)
    except MinlmError as error:
        return f"MinlmError: {error}"
    except BaseException as error:
        return repr(error)
    return "read"


def _main() -> None:
    if sys.platform == "linux":  # macOS has no such limit
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    print(json.dumps({path.name: _answer(path) for path in sorted(Path(sys.argv[1]).iterdir())}))


DEEP = "[" * 100_000
DEEPER = '{"a":' * 100_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "nested too deeply"),
        (DEEPER, "nested too deeply"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1, "b": 2, "a": 3}', "it has 'a' twice"),
        ('{"\\ud800": 1}', "surrogates not allowed"),
        ('{"a": ["\\udfff"]}', "surrogates not allowed"),
        (f'{{"a": {"9" * 5000}}}', "4300 digits"),
        ("", "Expecting value"),
        ("nothing", "Expecting value"),
    ],
)
@pytest.mark.parametrize("read", [read_vocab, read_evaluation, read_mixture])
def test_json_that_only_some_parsers_take(tmp_path, read, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(MinlmError, match=f"or is damaged .*{reason}") as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert _read_record(path, "url") is None  # of a download: begins anew


def test_json_keeps_what_is_right():
    assert parse_json('{"\\ud83d\\ude00": [1, -2.5e3, null, true, {"a": {}, "b": {}}]}') == {
        "😀": [1, -2500.0, None, True, {"a": {}, "b": {}}]
    }


@pytest.mark.parametrize("index", [2**24, 10**18, 10**4000])
def test_an_id_beyond_all_tables(tmp_path, index):
    (tmp_path / "vocab.json").write_text(f'{{"a": {index}}}')
    with pytest.raises(MinlmError, match=r"not a whole number from 0 to 16,777,215"):
        read_vocab(tmp_path / "vocab.json")


def test_a_long_context_costs_nothing_before_it_is_used(tmp_path):
    model = TransformerLM(**MODEL | {"context_length": 1 << 18})  # its mask would take 64 GB
    save_model(tmp_path / "model.pt", model, iteration=1, tokenizer=None, training={})
    loaded, _ = load_model(tmp_path / "model.pt")
    ids = torch.arange(6)[None]
    with torch.inference_mode():
        expected = model(ids)
    torch.testing.assert_close(loaded(ids), expected, rtol=0, atol=0)
    loaded(ids).sum().backward()
    model(ids).sum().backward()  # also if the mask was made without gradients


if __name__ == "__main__":
    _main()
