"""Generation in batches gives the tokens of `minlm.transformer.generate`, which is the definition."""

import itertools

import pytest
import torch

from minlm.fast import transformer as fast
from minlm.generation.batched import Request, generate_batch, stream
from minlm.generation.draw import draw_tokens
from minlm.generation.load import prepare_for_generation
from minlm.transformer import TransformerLM, generate
from minlm.transformer.sampling import sample_token

CONTEXT, NEW = 8, 24  # each text fills the context several times
SHAPE = (60, CONTEXT, 16, 2, 2, 24)
PROMPTS = [[1], [2, 3, 4], list(range(CONTEXT - 1)), list(range(CONTEXT)), list(range(30))]
SETTINGS = list(itertools.product([0.0, 0.6, 1.0, 1.7], [None, 0.3, 0.9, 1.0], [None, 1, 5, 1000]))


def make_models() -> tuple[TransformerLM, TransformerLM]:
    """The plain model and the one that production loads, with equal weights; the next token is far from uniform."""
    torch.manual_seed(3)
    plain = TransformerLM(*SHAPE)
    with torch.no_grad():
        plain.lm_head.weight *= 10
    production = fast.TransformerLM(*SHAPE)
    production.load_state_dict(plain.state_dict())
    return plain, prepare_for_generation(production)


@pytest.mark.parametrize("stop_token", [None, 7])
def test_a_batch_of_all_settings(stop_token):
    plain, production = make_models()
    requests = [
        Request(prompt, temperature, top_p, seed, top_k)
        for seed, ((temperature, top_p, top_k), prompt) in enumerate(zip(SETTINGS, itertools.cycle(PROMPTS)))
    ]
    texts = generate_batch(production, requests, NEW, stop_token)
    for request, text in zip(requests, texts, strict=True):
        expected = generate(
            plain, request.prompt_ids, NEW, request.temperature, request.top_p, stop_token, request.seed, request.top_k
        )
        assert text.tolist() == expected.tolist(), request
    stopped = [len(text) < len(request.prompt_ids) + NEW for request, text in zip(requests, texts, strict=True)]
    assert any(stopped) == (stop_token is not None)


def test_a_stream():
    plain, production = make_models()
    for prompt, (temperature, top_p, top_k) in zip(PROMPTS, [(0.0, None, None), *[(0.8, 0.9, 20)] * 4], strict=True):
        expected = generate(plain, prompt, NEW, temperature, top_p, 7, 5, top_k).tolist()
        tokens = stream(production, Request(prompt, temperature, top_p, 5, top_k), NEW, 7)
        assert prompt + [token.token for token in tokens] == expected


@pytest.mark.parametrize("kind", ["spread", "ties", "peaked"])
def test_one_draw_from_the_same_logits(kind):
    """Each row has its own setting; both forms get the same logits, and in "ties" many tokens are equally probable."""
    torch.manual_seed(1)
    logits = torch.randn(10 * len(SETTINGS), 300) * {"spread": 2, "ties": 2, "peaked": 20}[kind]
    if kind == "ties":
        logits = logits.round()
    settings = SETTINGS * 10
    draws = torch.rand(len(settings))
    drawn = draw_tokens(
        logits,
        torch.tensor([temperature for temperature, _, _ in settings]),
        torch.tensor([1.0 if top_p is None else top_p for _, top_p, _ in settings]),
        torch.tensor([2**62 if top_k is None else top_k for _, _, top_k in settings]),
        draws,
    ).tolist()
    for row, (temperature, top_p, top_k) in enumerate(settings):
        expected = sample_token(logits[row], float(draws[row]), temperature, top_p, top_k)
        assert drawn[row] == expected, settings[row]
