"""Chats, over HTTP, in a browser and with `nlm-generate --chat`."""

import json
import threading

import openai
import pytest
import requests
import torch

from minlm.generation.samples_file import Setting
from minlm.generation.stream_text import stream_reply
from minlm.scripts import generate
from minlm.serve.server import Server
from minlm.tokenization import BPETokenizer
from minlm.tokenization.chat import CHAT_TOKENS, encode_prompt
from minlm.transformer import TransformerLM
from minlm.transformer.checkpoint import save_model

USER = {"role": "user", "content": "the <|end|>"}


@pytest.fixture(scope="module")
def flags(trained, tmp_path_factory):
    """A tiny model that can chat, as flags of nlm-generate."""
    folder = tmp_path_factory.mktemp("chat")
    tokens = [*trained.tokenizer.special_tokens, *CHAT_TOKENS]
    tokenizer = BPETokenizer(trained.tokenizer.vocab, trained.tokenizer.merges, tokens)
    files = [folder / "model.pt", folder / "vocab.json", folder / "merges.txt"]
    tokenizer.save(*files[1:])
    torch.manual_seed(0)
    model = TransformerLM(300, 16, 16, 1, 2, 24)
    save_model(files[0], model, iteration=1, tokenizer=tokenizer.fingerprint, training={})
    names = "--checkpoint", "--vocab_path", "--merges_path"
    return [word for name, file in zip(names, files, strict=True) for word in (name, str(file))]


@pytest.fixture
def chat_server(flags):
    model, tokenizer, _ = generate.load_model(generate.build_parser().parse_args(flags))
    made = Server("127.0.0.1", 0)
    thread = threading.Thread(target=made.serve, args=(model, tokenizer, "chat"))
    thread.start()
    requests.get(f"{made.url}v1/models", timeout=20)  # it serves
    yield made
    made.shutdown()
    thread.join(20)


def post(server, **values):
    return requests.post(f"{server.url}write", json=values, timeout=20)


def test_a_turn_over_http(chat_server):
    answer = post(chat_server, messages=[USER], max_tokens=12, seed=3, temperature=1.0)
    events = [json.loads(line) for line in answer.text.splitlines()]
    reply = stream_reply(chat_server.shared.model, chat_server.tokenizer, [USER], Setting(1.0, 0.95), 12, 3)
    assert [event["text"] for event in events[1:-1]] == [text.text for text in reply]
    assert events[0]["prompt_tokens"] == len(encode_prompt(chat_server.tokenizer, [USER]))
    assert 'id="chat"' in requests.get(chat_server.url, timeout=20).text


def test_a_turn_ends_at_its_token(chat_server):
    model, end = chat_server.shared.model, chat_server.tokenizer.encode("<|end|>")[0]
    with torch.no_grad():  # the most probable token is the end of the turn
        ids = torch.tensor([encode_prompt(chat_server.tokenizer, [USER])[-16:]])
        model.lm_head.weight[end] = 100 * model.hidden_states(ids)[0, -1]
    assert list(stream_reply(model, chat_server.tokenizer, [USER], Setting(0.0, None), 12, 3)) == []
    events = post(chat_server, messages=[USER], temperature=0).text.splitlines()
    assert [json.loads(event)["type"] for event in events] == ["start", "end"]
    assert json.loads(events[-1])["ended"]


@pytest.mark.parametrize(
    ("messages", "error"),
    [("a", "messages must be"), ([{"role": "x"}], "message 1 has the role 'x'"), ([1], "message 1")],
)
def test_bad_messages(chat_server, messages, error):
    answer = post(chat_server, messages=messages)
    assert answer.status_code == 400
    assert error in answer.json()["error"]


def test_a_model_that_cannot_chat(server):
    assert "lacks special tokens that a chat needs" in post(server, messages=[USER]).text
    assert 'id="chat"' not in requests.get(server.url, timeout=20).text


def test_nlm_generate_answers_a_prompt(flags, capsys):
    generate.main([*flags, "--chat", "--prompt", "the", "--max_tokens", "9", "--seed", "5"])
    model, tokenizer, _ = generate.load_model(generate.build_parser().parse_args(flags))
    reply = stream_reply(model, tokenizer, [{"role": "user", "content": "the"}], Setting(1.0, None), 9, 5)
    assert capsys.readouterr().out == "".join(text.text for text in reply) + "\n"


def test_nlm_generate_answers_each_line(flags, capsys, monkeypatch):
    lines = iter(["the", " ", "and?"])

    def typed(prompt):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    generate.main([*flags, "--chat", "--max_tokens", "5", "--seed", "5"])
    model, tokenizer, _ = generate.load_model(generate.build_parser().parse_args(flags))
    messages, replies = [], []
    for seed, line in ((5, "the"), (6, "and?")):
        messages.append({"role": "user", "content": line})
        texts = stream_reply(model, tokenizer, messages, Setting(1.0, None), 5, seed)
        replies.append("".join(text.text for text in texts))
        messages.append({"role": "assistant", "content": replies[-1]})
    assert capsys.readouterr().out == "".join(f"{reply}\n" for reply in replies)


@pytest.mark.browser
def test_two_turns_in_the_page(chat_server, chromium, tmp_path):
    page = chromium.new_page()
    page.goto(chat_server.url)
    for question in ("the first", "the second"):
        page.fill("#prompt", question)
        page.fill("#max_tokens", "6")
        page.click("#write")
        page.locator("#write:enabled").wait_for()
        assert page.input_value("#prompt") == ""
    assert page.locator(".turn.user").all_text_contents() == ["the first", "the second"]
    assert page.locator(".turn.assistant .token").count() > 0
    page.click("#new-chat")
    assert page.locator(".turn").count() == 0
    page.uncheck("#chat")
    page.fill("#prompt", "plain")
    page.click("#write")
    page.locator("#write:enabled").wait_for()
    assert page.locator("#text .prompt-text").all_text_contents() == ["plain"]
    page.close()


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_chats(chat_server, stream):
    client = openai.OpenAI(base_url=f"{chat_server.url}v1", api_key="any", max_retries=0, timeout=20)
    made = client.chat.completions.create(
        model="minlm", messages=[USER], max_completion_tokens=12, seed=3, top_p=0.95, stream=stream
    )
    reply = stream_reply(chat_server.shared.model, chat_server.tokenizer, [USER], Setting(1.0, 0.95), 12, 3)
    expected = "".join(text.text for text in reply)
    if stream:
        chunks = [chunk.choices[0] for chunk in made]
        assert "".join(choice.delta.content for choice in chunks) == expected
        assert chunks[-1].finish_reason in ("stop", "length")
    else:
        assert made.choices[0].message.content == expected
        assert made.choices[0].message.role == "assistant"
        assert made.usage.prompt_tokens == len(encode_prompt(chat_server.tokenizer, [USER]))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"messages": []}, "messages must end with one of the user"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "message 1 has the role"),
        ({"messages": [USER], "prompt": "a"}, "there is no setting 'prompt'"),
        ({"messages": [USER], "logprobs": True}, "this server has no logprobs here"),
    ],
)
def test_bad_chat_requests(chat_server, body, problem):
    answer = requests.post(f"{chat_server.url}v1/chat/completions", json=body, timeout=20)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]
