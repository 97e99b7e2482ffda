"""Generation: cached against uncached, the nucleus against its definition, independence of the texts."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from minlm.errors import MinlmError
from minlm.transformer import TransformerLM, generate
from minlm.transformer.sampling import Request, generate_batch, sample_tokens

CONTEXT = 12


def make_model(**switches) -> TransformerLM:
    """Untrained, with a head large enough that the next token is far from uniform."""
    torch.manual_seed(3)
    model = TransformerLM(40, CONTEXT, 16, 2, 2, 24, **switches)
    with torch.no_grad():
        model.lm_head.weight *= 10
    return model


def greedy_without_cache(model: TransformerLM, prompt: list[int], new: int) -> list[int]:
    """Reads the whole window again for each token: from the prompt's last CONTEXT, by halves when full."""
    text, start = list(prompt), max(0, len(prompt) - CONTEXT)
    for _ in range(new):
        if len(text) - start > CONTEXT:
            start = len(text) - 1 - CONTEXT // 2
        text.append(int(model(torch.tensor([text[start:]]))[0, -1].argmax()))
    return text


PROMPTS = [[1], [2, 3, 4, 5, 6], list(range(CONTEXT - 1)), list(range(CONTEXT)), list(range(30)), [39, 0]]


@pytest.mark.parametrize("switches", [{}, {"flash_attention": True}, {"no_rope": True}, {"post_norm": True}])
def test_cached_ragged_greedy_is_the_uncached(switches):
    model = make_model(**switches)
    requests = [Request(prompt, temperature=0) for prompt in PROMPTS]
    for prompt, ids in zip(PROMPTS, generate_batch(model, requests, 40), strict=True):
        assert ids.tolist() == greedy_without_cache(model, prompt, 40)


def test_a_context_of_one_token():
    torch.manual_seed(0)
    model = TransformerLM(10, 1, 8, 1, 1, 8)
    ids = generate(model, [3], 5, temperature=0).tolist()
    for now, following in pairwise(ids):
        assert following == int(model(torch.tensor([[now]])).argmax())


def test_generate_returns_prompt_and_new_tokens():
    ids = generate(make_model(), torch.tensor([5, 6]), 7)
    assert ids.dtype == torch.int64
    assert ids.shape == (9,)
    assert ids[:2].tolist() == [5, 6]
    assert generate(make_model(), [5, 6], 0).tolist() == [5, 6]


def test_a_long_prompt_is_read_from_its_end():
    model = make_model()
    short = generate(model, list(range(20, 20 + CONTEXT)), 5, temperature=0)
    long = generate(model, [1, 2, 3, *range(20, 20 + CONTEXT)], 5, temperature=0)
    assert long[3:].tolist() == short.tolist()


def test_a_text_depends_on_its_own_request_alone():
    model = make_model()
    requests = [Request(prompt, 0.8, 0.9, seed) for seed, prompt in enumerate(PROMPTS)]
    together = generate_batch(model, requests, 30, stop_token=7)
    backwards = generate_batch(model, requests[::-1], 30, stop_token=7)[::-1]
    for request, a, b in zip(requests, together, backwards, strict=True):
        alone = generate(model, request.prompt_ids, 30, 0.8, 0.9, stop_token=7, seed=request.seed)
        assert a.tolist() == b.tolist() == alone.tolist()


def test_seeds_repeat_and_differ():
    model = make_model()
    texts = [generate(model, [1], 20, seed=seed).tolist() for seed in (0, 0, 1, 2)]
    assert texts[0] == texts[1]
    assert len({str(text) for text in texts}) == 3
    torch.manual_seed(0)
    without = [generate(model, [1], 20).tolist() for _ in range(2)]
    assert without[0] != without[1]


def test_a_text_ends_before_the_stop_token():
    model = make_model()
    free = [generate(model, [start], 30, seed=start).tolist() for start in range(8)]
    stop = free[0][5]
    stopped = generate_batch(model, [Request([start], seed=start) for start in range(8)], 30, stop_token=stop)
    for whole, ids in zip(free, stopped, strict=True):
        end = whole.index(stop, 1) if stop in whole[1:] else len(whole)
        assert ids.tolist() == whole[:end]


def frequencies(logits, temperature, top_p, count=200_000):
    torch.manual_seed(0)
    rows = torch.tensor(logits).expand(count, -1)
    chosen = sample_tokens(rows, torch.full((count,), temperature), torch.full((count,), top_p), torch.rand(count))
    return np.bincount(chosen.numpy(), minlength=len(logits))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.8, 0.95, 1.0])
def test_nucleus_sampling_by_its_definition(temperature, top_p):
    logits = [0.1, 2.0, -1.0, 1.5, 0.7, 2.2, -3.0]
    weights = np.exp(np.array(logits) / temperature)
    weights /= weights.sum()
    order = np.argsort(-weights)
    size = next(n for n in range(1, 8) if n == 7 or weights[order[:n]].sum() >= top_p)
    expected = np.zeros(7)
    expected[order[:size]] = weights[order[:size]] / weights[order[:size]].sum()

    counts = frequencies(logits, temperature, top_p)
    assert (counts[expected == 0] == 0).all()
    inside = expected > 0
    chi_square = ((counts[inside] - 200_000 * expected[inside]) ** 2 / (200_000 * expected[inside])).sum()
    assert chi_square < 24.3  # p < 0.0005 for up to 6 degrees of freedom


def test_draws_at_the_ends_of_the_line():
    logits = torch.tensor([[0.0, 1.0, -200.0]]).expand(2, 3)
    draws = torch.tensor([0.0, 1 - 2**-24])
    ones = torch.ones(2)
    assert sample_tokens(logits, ones, ones, draws).tolist() == [1, 0]
    assert sample_tokens(logits, ones * 1e-30, ones, draws).tolist() == [1, 1]


def test_greedy_and_random_rows_mix():
    logits = torch.tensor([[0.0, 1.0, 0.9]]).expand(2, 3)
    chosen = sample_tokens(logits, torch.tensor([0.0, 1.0]), torch.ones(2), torch.tensor([0.99, 0.99]))
    assert chosen.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_ids": []}, "no tokens; start an empty text from"),
        ({"prompt_ids": [1, 40]}, "token id 40 does not fit the model's vocabulary of 40"),
        ({"prompt_ids": [-1]}, "token id -1 does not fit"),
        ({"prompt_ids": [1], "temperature": -0.1}, "temperature must be 0 .* not -0.1"),
        ({"prompt_ids": [1], "temperature": float("nan")}, "temperature must be"),
        ({"prompt_ids": [1], "top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"prompt_ids": [1], "seed": -1}, "seed must be at least 0"),
        ({"prompt_ids": [1], "seed": 2**63}, "seed must be at least 0 and below"),
        ({"prompt_ids": [1], "top_p": 1.5}, "top_p must be above 0 and at most 1, not 1.5"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(MinlmError, match=message):
        generate(make_model(), max_new_tokens=1, **arguments)
