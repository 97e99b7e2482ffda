"""One tokenizer in several threads, as in nlm-serve."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from minlm.tokenization import BPETokenizer


@pytest.mark.parametrize("backend", ["numba", "auto"])
def test_threads_get_the_ids_of_one_thread(backend):
    tokens = {index: bytes([index]) for index in range(256)} | {256: b"ab", 257: b"abab", 258: b"ca"}
    merges = [(b"a", b"b"), (b"ab", b"ab"), (b"c", b"a")]
    rng = random.Random(0)
    texts = ["".join(rng.choices("abc d", k=rng.randint(1, 3000))) for _ in range(200)]
    expected = [BPETokenizer(tokens, merges, backend="python").encode(text) for text in texts]
    tokenizer = BPETokenizer(tokens, merges, backend=backend)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(tokenizer.encode, texts)) == expected
