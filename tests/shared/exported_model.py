"""What people type to use an exported folder. Also a program: the other versions of transformers have no minlm beside.

python exported_model.py FOLDER PROMPT…    # prints the results as JSON
"""

import json
import logging
import sys
import threading
import warnings

NEW_TOKENS = 8


def results(folder: str, prompts: list[str]) -> dict:
    """The texts of each way to use the model, greedy unless stated otherwise, and all warnings."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer, pipeline

    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        default = model.generate(**tokenizer(prompts[0], return_tensors="pt"))
        generator = pipeline("text-generation", folder)
        [piped] = generator(prompts[0])
        sampled = [tokenizer.decode(default[0]), piped["generated_text"]]
    said += [str(warning.message) for warning in warned if "transformers" in str(warning.filename)]
    logging.getLogger("transformers").removeHandler(handler)

    greedy = {"do_sample": False, "max_new_tokens": NEW_TOKENS}
    singles = [model.generate(**tokenizer(prompt, return_tensors="pt"), **greedy)[0] for prompt in prompts]
    batch = model.generate(**tokenizer(prompts, return_tensors="pt", padding=True), **greedy)
    piped = generator(prompts, batch_size=len(prompts), **greedy)
    streamer = TextIteratorStreamer(tokenizer, timeout=60)
    inputs = tokenizer(prompts[0], return_tensors="pt")
    thread = threading.Thread(target=model.generate, kwargs={**inputs, **greedy, "streamer": streamer}, daemon=True)
    thread.start()
    streamed = "".join(streamer)
    thread.join(60)
    return {
        "inputs": sorted(tokenizer(prompts[0])),
        "singles": [tokenizer.decode(ids, skip_special_tokens=True) for ids in singles],
        "ends": [int(ids[-1]) == tokenizer.eos_token_id for ids in singles],
        "batch": tokenizer.batch_decode(batch, skip_special_tokens=True),
        "pipeline": [made["generated_text"] for [made] in piped],
        "streamed": streamed,
        "sampled_tokens": [len(tokenizer(text)["input_ids"]) for text in sampled],
        "warnings": [line for line in said if "Device set to use" not in line],
    }


if __name__ == "__main__":
    print(json.dumps(results(sys.argv[1], sys.argv[2:])))
