"""Learning merges with the kernels of `kernels.merging`, which explains the algorithm."""

from collections.abc import Callable, Mapping

import numpy as np

from minlm.errors import MinlmError
from minlm.fast.tokenization.kernels import merging
from minlm.fast.tokenization.word_counts import WordCounts
from minlm.tokenization.linked_tokens import Merge

MERGES_PER_CALL = 64  # progress is reported after each call of the kernel


def learn_merges(word_counts: Mapping[bytes, int], num_merges: int, progress: Callable[[int], object]) -> list[Merge]:
    """`minlm.tokenization.train.learn_merges`, compiled.

    Raises:
        MinlmError: there are too many words.
    """
    counts = WordCounts.of(word_counts)
    size = len(counts.joined) + len(counts) + 1
    if size > np.iinfo(np.int32).max:
        raise MinlmError(
            f"the distinct words have {size:,} bytes together, more than the 2,147,483,647 that can be trained on. "
            "Count a part of the text: a tokenizer learns little from the rest"
        )
    number_of = np.full(1 << 16, merging.NO_PAIR, dtype=np.int32)
    capacity = len(number_of)
    arrays = merging.Merging(
        text=np.empty(size, dtype=np.uint8),
        counts=counts.counts,
        positions=np.empty((size, 4), dtype=np.int32),
        tokens=np.full((5, 256 + num_merges), merging.NO_PAIR, dtype=np.int64),
        pairs=np.empty((5, capacity), dtype=np.int64),
        occurrences=np.empty(3 * size, dtype=np.int32),
        heap=np.empty((2, capacity), dtype=np.int64),
        merged=np.empty(size, dtype=np.int32),
        state=np.zeros(5, dtype=np.int64),
    )
    merging.lay_out_words(counts.joined, counts.offsets, arrays.text, arrays.positions)
    merging.find_first_pairs(arrays, number_of)
    outcome, done = merging.DONE, 0
    while outcome != merging.NO_PAIR_LEFT and done < num_merges:
        outcome = merging.learn_merges(arrays, 256 + min(done + MERGES_PER_CALL, num_merges))
        if outcome == merging.NO_ROOM:
            arrays = arrays._replace(pairs=_doubled(arrays.pairs), heap=_doubled(arrays.heap))
        now = int(arrays.state[merging.NUM_TOKENS]) - 256
        progress(now - done)
        done = now
    text = arrays.text.tobytes()
    starts, lengths, splits = arrays.tokens[:3, 256 : 256 + done].tolist()
    return [
        (text[start : start + split], text[start + split : start + length])
        for start, length, split in zip(starts, lengths, splits, strict=True)
    ]


def _doubled(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.empty_like(rows)], axis=1)
