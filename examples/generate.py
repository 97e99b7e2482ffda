"""Let the model of a finished run write: `snakemake --cores all results/samples.txt` first.

python examples/generate.py "In those days" "And the king"
"""

import argparse

from minlm.generation.load import load_with_tokenizer
from minlm.transformer import generate

parser = argparse.ArgumentParser(description="Continue prompts with results/model.pt, each three times.")
parser.add_argument("prompts", nargs="+")
parser.add_argument("--max_new_tokens", type=int, default=100)
arguments = parser.parse_args()

# The checkpoint knows the model's shape, and refuses a tokenizer with which it was not trained.
model, tokenizer, info = load_with_tokenizer(
    "results/model.pt", "data/tokenizer/vocab.json", "data/tokenizer/merges.txt"
)
print(f"{model.num_parameters():,} parameters, {info['iteration']:,} steps of training")

end = tokenizer.encode("<|endoftext|>")[0]
for prompt in arguments.prompts:
    for seed in range(3):
        ids = generate(
            model, tokenizer.encode(prompt), arguments.max_new_tokens,
            temperature=0.7, top_p=0.9, stop_token=end, seed=seed,
        )  # fmt: skip
        print(f"\n[seed {seed}] {tokenizer.decode(ids.tolist())}")
