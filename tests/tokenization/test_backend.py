"""Which backend "auto" is: plain Python until compiling kernels is worth it."""

import pytest
from published import END

from minlm.bulk import count_words as counting
from minlm.bulk import encode_files as encoding
from minlm.bulk.count_words import count_words
from minlm.bulk.encode_files import encode_files
from minlm.bulk.options import Options
from minlm.fast.tokenization.kernels import cache
from minlm.tokenization import BPETokenizer, backend


@pytest.fixture
def tokenizer() -> BPETokenizer:
    vocab = {byte: bytes([byte]) for byte in range(256)} | {256: b"aa", 257: b"he"}
    return BPETokenizer(vocab, [(b"a", b"a"), (b"h", b"e")], [END])


@pytest.mark.parametrize(
    ("name", "num_bytes", "compiled", "expected"),
    [
        ("auto", 10, False, "python"),
        ("auto", 10, True, "numba"),
        ("auto", backend.WORTH_COMPILING + 1, False, "numba"),
        ("numba", 10, False, "numba"),
        ("python", 10**12, True, "python"),
    ],
)
def test_plain_python_until_kernels_are_worth_compiling(monkeypatch, name, num_bytes, compiled, expected):
    monkeypatch.setattr(cache, "are_compiled", lambda: compiled)
    assert backend.choose_backend(name, num_bytes) == expected
    assert Options(threads=3).threads_for(1 << 30, expected) == {"numba": 3, "python": 1}[expected]


def test_many_short_strings_are_worth_compiling(monkeypatch, tokenizer):
    monkeypatch.setattr(cache, "are_compiled", lambda: False)
    monkeypatch.setattr(backend, "WORTH_COMPILING", 100)
    used, make = [], tokenizer.new_encoder
    monkeypatch.setattr(tokenizer, "new_encoder", lambda name: used.append(name) or make(name))
    assert all(tokenizer.encode(" the aabb") == [32, 116, 257, 32, 256, 98, 98] for _ in range(20))
    assert used == ["python", "numba"]


def test_several_texts_together_are_worth_compiling(monkeypatch, tokenizer, tmp_path):
    chosen = []
    monkeypatch.setattr(cache, "are_compiled", lambda: False)
    monkeypatch.setattr(backend, "WORTH_COMPILING", 100)
    for module in (counting, encoding):
        monkeypatch.setattr(
            module,
            "choose_backend_for_files",
            lambda *asked: chosen.append(backend.choose_backend(*asked)) or chosen[-1],
        )
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text("abc " * 10)
    for some in (paths[:2], paths):
        count_words(some, [END])
        list(encode_files(tokenizer, some, tmp_path))
    count_words(paths, [END], Options(shard=(1, 2)))
    assert chosen == ["python", "python", "numba", "numba", "python"]
