"""Generation: with a cache as without, top_k and top_p by their definitions, texts independent of each other."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minlm.errors import MinlmError
from minlm.generation.batched import Request, generate_batch, stream
from minlm.generation.draw import draw_tokens
from minlm.transformer import TransformerLM, generate

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
def test_prompts_of_different_lengths_with_a_cache_as_without(switches):
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


def test_a_text_depends_only_on_its_own_request():
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


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 0.8, "top_p": 0.9, "top_k": 20, "seed": 5}])
def test_stream_yields_what_generate_gives(settings):
    model = make_model()
    for prompt in PROMPTS:
        whole = generate(model, prompt, 30, stop_token=7, **settings).tolist()
        tokens = list(stream(model, Request(prompt, **settings), 30, stop_token=7, num_alternatives=3))
        assert prompt + [token.token for token in tokens] == whole
        for place, token in enumerate(tokens[: max(0, CONTEXT - len(prompt))], start=len(prompt)):
            expected = model(torch.tensor([whole[:place]]))[0, -1].softmax(-1).detach()
            assert token.probability == pytest.approx(float(expected[token.token]), rel=1e-4)
            best = expected.topk(3)
            assert [other for other, _ in token.alternatives] == best.indices.tolist()
            assert [chance for _, chance in token.alternatives] == pytest.approx(best.values.tolist(), rel=1e-4)
            assert torch.is_inference_mode_enabled() is False  # the caller is not in inference mode


def test_a_stream_runs_the_model_only_on_demand(monkeypatch):
    model = make_model()
    calls = []
    monkeypatch.setattr(model, "hidden_states", lambda *a: calls.append(1) or TransformerLM.hidden_states(model, *a))
    tokens = stream(model, Request([1]), 1000)
    assert calls == []
    for _ in range(3):
        next(tokens)
    assert len(calls) == 3


def test_stream_without_alternatives_and_with_too_many():
    model = make_model()
    assert next(stream(model, Request([1]), 1)).alternatives == []
    assert len(next(stream(model, Request([1]), 1, num_alternatives=100)).alternatives) == 40
    assert list(stream(model, Request([1]), 0)) == []


def draw(logits, temperatures, draws, top_p=1.0, top_k=100):
    """`draw_tokens` with the same top_p and top_k for each row."""
    rows = len(logits)
    return draw_tokens(
        logits,
        torch.as_tensor(temperatures),
        torch.full((rows,), top_p),
        torch.full((rows,), top_k),
        torch.as_tensor(draws),
    ).tolist()


def by_definition(logits, temperature, top_p, top_k):
    """Probabilities: the smallest part of the top_k most probable tokens that reaches top_p of their sum."""
    weights = np.exp(np.array(logits) / temperature)
    order = np.argsort(-weights, kind="stable")[:top_k]
    weights /= weights[order].sum()
    size = next(n for n in range(1, len(order) + 1) if n == len(order) or weights[order[:n]].sum() >= top_p)
    expected = np.zeros(len(logits))
    expected[order[:size]] = weights[order[:size]] / weights[order[:size]].sum()
    return expected


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("top_k", [1, 4, 100])
def test_top_k_and_nucleus_by_their_definitions(temperature, top_p, top_k):
    logits = [0.1, 2.0, -1.0, 1.5, 0.7, 2.2, -3.0]
    expected = by_definition(logits, temperature, top_p, top_k)
    count = 200_000
    torch.manual_seed(0)
    chosen = draw(torch.tensor(logits).expand(count, -1), [temperature] * count, torch.rand(count), top_p, top_k)
    counts = np.bincount(chosen, minlength=7)
    assert (counts[expected == 0] == 0).all()
    inside = expected > 0
    chi_square = ((counts[inside] - 200_000 * expected[inside]) ** 2 / (200_000 * expected[inside])).sum()
    assert chi_square < 24.3  # p < 0.0005 for up to 6 degrees of freedom


def test_the_smallest_and_the_largest_draw():
    logits = torch.tensor([[-200.0, 0.0, 1.0, 0.5, -200.0]]).expand(2, 5)
    draws = [0.0, 1 - 2**-24]
    assert draw(logits, [1.0, 1.0], draws) == [1, 3]
    assert draw(logits, [1.0, 1.0], draws, top_k=2) == [2, 3]
    assert draw(logits, [1e-30, 1e-30], draws) == [2, 2]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=9),
    st.sampled_from([0.07, 0.21, 0.43, 0.68, 0.91, 1.0]),
    st.integers(1, 12),
)
def test_of_equally_probable_tokens_the_lower_ids_stay(logits, top_p, top_k):
    """Evenly spaced draws give all tokens of the set that the definition gives, and no others."""
    count = 500
    draws = (torch.arange(count) + 0.5) / count
    chosen = draw(torch.tensor([logits] * count, dtype=torch.float32), [1.0] * count, draws, top_p, top_k)
    expected = by_definition(logits, 1.0, top_p, top_k)
    assert set(chosen) <= set(np.flatnonzero(expected))
    assert set(chosen) >= set(np.flatnonzero(expected > 2 / count))
    assert chosen == sorted(chosen)


def test_greedy_and_random_rows_mix():
    logits = torch.tensor([[0.0, 1.0, 0.9]]).expand(2, 3)
    assert draw(logits, [0.0, 1.0], [0.99, 0.99]) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_ids": []}, "no tokens; start an empty text from"),
        ({"prompt_ids": [1, 40]}, "token id 40 does not fit the model's vocabulary of 40"),
        ({"prompt_ids": [-1]}, "token id -1 does not fit"),
        ({"prompt_ids": [1], "temperature": -0.1}, "temperature must be 0 .* not -0.1"),
        ({"prompt_ids": [1], "temperature": float("nan")}, "temperature must be"),
        ({"prompt_ids": [1], "top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"prompt_ids": [1], "top_k": 0}, "top_k must be at least 1, not 0"),
        ({"prompt_ids": [1], "seed": -1}, "seed must be at least 0"),
        ({"prompt_ids": [1], "seed": 2**63}, "seed must be at least 0 and below"),
        ({"prompt_ids": [1], "top_p": 1.5}, "top_p must be above 0 and at most 1, not 1.5"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    model = make_model()
    with pytest.raises(MinlmError, match=message):
        generate(model, max_new_tokens=1, **arguments)
    with pytest.raises(MinlmError, match=message):
        stream(model, Request(**arguments), max_new_tokens=1)  # at the call, before the first token
