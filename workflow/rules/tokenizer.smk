# Text to tokens.


rule count_words:
    input:
        "data/corpus/train.txt",
    output:
        "data/tokenizer/word_counts.npz",
    log:
        "logs/count_words.log",
    benchmark:
        "logs/benchmarks/count_words.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    message:
        "Counting the pre-tokens of the training text."
    shell:
        "exec python -m minlm.scripts.count_words --inputs {input} --output {output} --log_file {log}"


rule train_tokenizer:
    input:
        "data/tokenizer/word_counts.npz",
    output:
        **VOCAB,
    log:
        "logs/train_tokenizer.log",
    benchmark:
        "logs/benchmarks/train_tokenizer.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        flags=flags(TOKENIZER, "vocab_size"),
    message:
        "Training a tokenizer ({params.flags})."
    shell:
        "exec python -m minlm.scripts.train_tokenizer {input} {params.flags} --prefix ''"
        " --output_dir $(dirname {output.vocab}) --log_file {log}"


rule tokenize:
    input:
        **VOCAB,
        text="data/corpus/{split}.txt",
    output:
        "data/tokens/{split}.npy",
    log:
        "logs/tokenize_{split}.log",
    benchmark:
        "logs/benchmarks/tokenize_{split}.tsv"
    wildcard_constraints:
        split="train|valid",
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        flags=flags(TOKENIZER, "output_dtype"),
    message:
        "Turning the {wildcards.split} text into tokens."
    shell:
        "exec python -m minlm.scripts.tokenize --inputs {input.text} --vocab_path {input.vocab}"
        " --merges_path {input.merges} {params.flags} --output_dir $(dirname {output}) --log_file {log}"
