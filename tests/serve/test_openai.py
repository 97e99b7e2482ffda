"""OpenAI's protocol, spoken by OpenAI's own client: texts as of `generate`, scores as of the model."""

import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import requests
import torch

from minlm.generation.batched import Batch
from minlm.serve.openai import MAX_TEXTS, parse
from minlm.transformer import generate

SECONDS = 20
END = 256


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=f"{server.url}v1", api_key="any", max_retries=0, timeout=SECONDS)


def ask(client, prompt="the ", **settings):
    return client.completions.create(model="minlm", prompt=prompt, **settings)


def continuation(trained, prompt, max_tokens, seed=0, **settings) -> list[int]:
    """By the definition. The tokenizer has 261 of the model's 300 ids, so the head gets only these."""
    ids = trained.tokenizer.encode(prompt)
    model = trained.model
    whole, model.lm_head.weight.data = model.lm_head.weight.data, model.lm_head.weight.data[:261]
    try:
        made = generate(model, ids, max_tokens, stop_token=END, seed=seed, **settings)
    finally:
        model.lm_head.weight.data = whole
    return made[len(ids) :].tolist()


def logprobs(trained, ids) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(trained.model(torch.tensor([ids]))[0, :, :261], dim=-1)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["minlm"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": 0.7, "top_p": 0.9}])
def test_the_texts_are_those_of_generate(trained, client, settings, stream):
    """Several prompts, several texts each, all in one batch; each text has a seed of its own."""
    prompts = ["the ", "é"]
    made = ask(client, prompts, n=3, max_tokens=12, seed=5, stream=stream, **settings)
    if stream:
        texts, reasons = [""] * 6, [None] * 6
        for chunk in made:
            [choice] = chunk.choices
            assert reasons[choice.index] is None  # the last part of a text says how it ended
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason
    else:
        texts, reasons = [choice.text for choice in made.choices], [choice.finish_reason for choice in made.choices]
        assert [choice.index for choice in made.choices] == [0, 1, 2, 3, 4, 5]
    ids = [continuation(trained, prompts[i // 3], 12, 5 + i, **settings) for i in range(6)]
    assert texts == [trained.tokenizer.decode(text) for text in ids]
    assert reasons == ["length" if len(text) == 12 else "stop" for text in ids]


def test_the_protocols_defaults_and_usage(trained, client):
    made = ask(client, seed=1)
    assert made.choices[0].text == trained.tokenizer.decode(continuation(trained, "the ", 16, 1))
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (2, 16, 18)
    *chunks, last = ask(client, seed=1, n=2, stream=True, stream_options={"include_usage": True})
    assert (last.choices, last.usage.completion_tokens) == ([], 32)
    assert {chunk.id for chunk in chunks} == {last.id}
    assert ask(client, seed=None).choices[0].text != ask(client).choices[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts(trained, client, stream):
    """A text ends before the first of them, also where it begins in one token and ends in another."""
    whole = ask(client, max_tokens=14, seed=3).choices[0].text
    for start in range(len(whole) - 3):
        stop = whole[start : start + 3]
        made = ask(client, max_tokens=14, seed=3, stop=["never", stop], logprobs=0, stream=stream)
        choices = [chunk.choices[0] for chunk in made] if stream else made.choices
        text = "".join(choice.text for choice in choices)
        assert (text, choices[-1].finish_reason) == (whole[: whole.index(stop)], "stop")
        offsets = [offset for choice in choices if choice.logprobs for offset in choice.logprobs.text_offset]
        assert offsets == sorted(offsets)
        assert all(offset < len(text) for offset in offsets)
    assert ask(client, max_tokens=14, seed=3, stop="never").choices[0].text == whole
    # what could have begun a stop text comes at the end
    assert ask(client, max_tokens=14, seed=3, stop=f"{whole[-1]}x").choices[0].text == whole


@pytest.mark.parametrize("stream", [False, True])
def test_scores_of_prompt_and_text(trained, client, stream):
    """As lm_eval asks for them."""
    prompt = trained.tokenizer.encode("the thé")
    made = ask(client, [prompt], max_tokens=3, temperature=0, echo=True, logprobs=2, stream=stream)
    choices = [chunk.choices[0] for chunk in made] if stream else made.choices
    parts = [choice.logprobs for choice in choices if choice.logprobs]
    tokens, scores, top, offsets = (
        [value for part in parts for value in getattr(part, name)]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    )
    ids = prompt + continuation(trained, "the thé", 3, temperature=0)
    assert tokens[:5] == ["the", " ", "th", "bytes:\\xc3", "bytes:\\xa9"]
    assert offsets[:5] == [0, 3, 4, 6, 6]
    assert "".join(choice.text for choice in choices).startswith("the thé")
    expected = logprobs(trained, ids)
    assert (scores[0], top[0]) == (None, None)
    assert scores[1:] == pytest.approx([float(expected[i, ids[i + 1]]) for i in range(len(ids) - 1)], rel=1e-4)
    for i, best in enumerate(top[1:]):
        assert sorted(best.values())[-2:] == pytest.approx(sorted(expected[i].topk(2).values.tolist()), rel=1e-4)
        assert best[tokens[i + 1]] == scores[i + 1]


def test_a_prompt_is_scored_without_writing(client):
    [choice] = ask(client, "the the", max_tokens=0, echo=True, logprobs=1).choices
    assert (choice.text, choice.logprobs.tokens, choice.finish_reason) == ("the the", ["the", " ", "the"], "length")


def test_the_end_of_a_text_has_a_score(server, client):
    """Without it, clients that cut off the last token would cut off one of the prompt."""
    first = ask(client, max_tokens=1, temperature=0, logprobs=1).choices[0].logprobs.tokens[0]
    server.shared._batch.stop_token = next(i for i, t in server.tokenizer.vocab.items() if t == first.encode())
    [choice] = ask(client, max_tokens=5, temperature=0, logprobs=1).choices
    assert (choice.text, choice.finish_reason, choice.logprobs.tokens) == ("", "stop", [first])


def test_clients_share_batches(client, server, monkeypatch):
    """Eight clients at once: the model runs as often as for one, and each gets its own text."""
    sizes, step, shared = [], Batch.step, server.shared

    def counted(self):
        sizes.append(len(self.texts))
        return step(self)

    def one(seed):
        return ask(client, max_tokens=100, seed=seed).choices[0].text

    monkeypatch.setattr(Batch, "step", counted)
    server.shared._batch.stop_token = -1
    shared._busy = True  # as if the model were running
    with ThreadPoolExecutor(8) as clients:
        texts = clients.map(one, range(8))
        while len(shared._joining) < 8:
            time.sleep(0.01)
        with shared._running():
            pass
    assert sizes == [8] * 100
    assert list(texts) == [one(seed) for seed in range(8)]


def test_a_client_that_leaves_frees_its_place(client, server):
    server.shared._batch.stop_token = -1
    with ask(client, max_tokens=2000, stream=True, n=4) as stream:
        next(iter(stream))
    for _ in range(100):
        ask(client, max_tokens=1)
        if not server.shared._drawn:
            break
    assert server.shared._batch.texts == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 3}, "temperature must be a number ≥ 0 and ≤ 2"),
        ({"n": 0}, "n must be a whole number"),
        ({"n": 9, "prompt": ["a", "b"]}, f"1 to {MAX_TEXTS} texts"),
        ({"prompt": []}, f"1 to {MAX_TEXTS} texts"),
        ({"prompt": [1, 299]}, "prompt must be a text, a list of the tokenizer's token ids"),
        ({"prompt": [[True]]}, "prompt must be a text"),
        ({"prompt": "x" * 10_001}, "10,001 characters"),
        ({"logprobs": 6}, "logprobs must be a whole number ≥ 0 and ≤ 5"),
        ({"stop": ["a"] * 5}, "stop must be a text or up to 4 texts"),
        ({"stop": ""}, "stop must be a text"),
        ({"stop": [1]}, "stop must be a text"),
        ({"frequency_penalty": 0.5}, "this server has no frequency_penalty"),
        ({"extra_body": {"min_p": 0.1}}, "no setting 'min_p', only model, prompt"),
        ({"echo": True, "logprobs": 1, "prompt": "x" * 17}, "the prompt has 17 tokens"),
    ],
)
def test_refusals_have_the_protocols_form(client, settings, message):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **settings)
    assert message in refused.value.message
    assert refused.value.type == "invalid_request_error"


def test_other_refusals(client, server, monkeypatch):
    with pytest.raises(openai.BadRequestError, match="lacks special tokens that a chat needs"):
        client.chat.completions.create(model="minlm", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.NotFoundError, match="/v1/completions"):
        client.embeddings.create(model="minlm", input="hello")
    with pytest.raises(openai.BadRequestError, match="model must be one of minlm"):
        client.completions.create(model="gpt-4", prompt="hello")
    server.queue.max_served = server.queue.max_waiting = 0
    with pytest.raises(openai.InternalServerError, match="others are waiting already") as refused:
        ask(client)
    assert (refused.value.status_code, refused.value.type) == (503, "server_error")


def test_an_error_within_a_stream(client, monkeypatch):
    def fails(self):
        raise RuntimeError("secret")

    stream = ask(client, "the", echo=True, stream=True)
    assert next(stream).choices[0].text == "the"
    stream.close()
    monkeypatch.setattr(Batch, "step", fails)
    with pytest.raises(openai.APIError, match="something went wrong in the server"):
        list(ask(client, "the", echo=True, stream=True))


def test_other_sites_get_nothing(server):
    url, asked = f"{server.url}v1/completions", {"prompt": "the", "max_tokens": 1}
    for headers, status in (({"Host": "evil.example"}, 403), ({"Content-Type": "text/plain"}, 415), ({}, 200)):
        answer = requests.post(url, json=asked, headers=headers, timeout=SECONDS)
        assert answer.status_code == status
        assert "Access-Control-Allow-Origin" not in answer.headers
        if status != 200:
            assert sorted(answer.json()["error"]) == ["code", "message", "param", "type"]
    assert requests.get(f"{server.url}v1/models", headers={"Host": "evil.example"}, timeout=SECONDS).status_code == 403
    assert requests.options(url, timeout=SECONDS).status_code == 501


def test_settings_that_are_off_may_be_sent(trained):
    body = b'{"best_of": 1, "frequency_penalty": 0.0, "logit_bias": {}, "logprobs": null, "user": "me", "n": 2}'
    completion = parse(body, trained.tokenizer)
    assert (completion.prompts, completion.n, completion.logprobs) == ([[END]], 2, None)
