# Text in: one of three sources, then the mix that the tokenizer and the model see.


rule sample_corpus:
    output:
        train="data/sample/train.txt",
        valid="data/sample/valid.txt",
    log:
        "logs/sample_corpus.log",
    benchmark:
        "logs/benchmarks/sample_corpus.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=flags(CORPUS["sample"]),
    message:
        "Writing the sample corpus, the Bible in Basic English."
    shell:
        "exec python -m minlm.scripts.sample_corpus {params.flags}"
        " --output_train {output.train} --output_valid {output.valid} --log_file {log}"


rule download_tinystories:
    output:
        "data/tinystories/{split}.txt",
    log:
        "logs/download_tinystories_{split}.log",
    wildcard_constraints:
        split="train|valid",
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        url=lambda wildcards: CORPUS["tinystories"][f"{wildcards.split}_url"],
        sha256=lambda wildcards: flags({"sha256": CORPUS["tinystories"][f"{wildcards.split}_sha256"]}),
    message:
        "Downloading TinyStories ({wildcards.split})."
    shell:
        "exec python -m minlm.scripts.download --url {params.url:q} {params.sha256}"
        " --output {output} --log_file {log}"


rule collect_files:
    input:
        train=expand_globs(CORPUS["files"]["train"]),
        valid=expand_globs(CORPUS["files"]["valid"]),
    output:
        train="data/files/train.txt",
        valid="data/files/valid.txt",
    log:
        "logs/collect_files.log",
    benchmark:
        "logs/benchmarks/collect_files.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        flags=flags(CORPUS["files"], "valid_fraction", "documents", "text_field"),
        valid=lambda wildcards, input: flags({"valid": list(input.valid)}),
        seed=CORPUS["seed"],
    message:
        "Collecting your text files."
    shell:
        "exec python -m minlm.scripts.collect_files --train {input.train:q} {params.valid} {params.flags}"
        " --seed {params.seed} --output_train {output.train} --output_valid {output.valid} --log_file {log}"


rule mix:
    input:
        train=lambda wildcards: f"data/{RUNS[wildcards.run]['corpus']['source']}/train.txt",
        valid=lambda wildcards: f"data/{RUNS[wildcards.run]['corpus']['source']}/valid.txt",
        ancients=lambda wildcards: expand(
            "data/ancients/{split}.txt",
            split=["train", "valid"] if RUNS[wildcards.run]["ancients"]["share"] > 0 else [],
        ),
    output:
        train="data/{run}corpus/train.txt",
        valid="data/{run}corpus/valid.txt",
        record="data/{run}corpus/mixture.json",
    log:
        "logs/{run}mix.log",
    benchmark:
        "logs/benchmarks/{run}mix.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        ancients=lambda wildcards, input: (
            "--ancients_train {} --ancients_valid {}".format(*input.ancients) if input.ancients else ""
        ),
        share=lambda wildcards: RUNS[wildcards.run]["ancients"]["share"],
        flags=settings("corpus", "target_total_words", "seed"),
    message:
        "Putting the corpus together (ancient books: {params.share:.0%} of the words)."
    shell:
        "exec python -m minlm.scripts.mix --base_train {input.train} --base_valid {input.valid}"
        " {params.ancients} --share {params.share} {params.flags}"
        " --output_train {output.train} --output_valid {output.valid} --output_record {output.record} --log_file {log}"


# Name and folder of the corpora to report, the mix last. Where nothing is mixed, data/corpus is the source.
REPORTED = {CORPUS["source"]: "data/corpus"}
if ANCIENTS["share"] > 0 or CORPUS["target_total_words"] is not None:
    BOOKS = {"ancients": "data/ancients"} if ANCIENTS["share"] > 0 else {}
    REPORTED = {CORPUS["source"]: f"data/{CORPUS['source']}", **BOOKS, "mix": "data/corpus"}


rule corpus_report:
    input:
        texts=expand("{folder}/{split}.txt", folder=REPORTED.values(), split=["train", "valid"]),
        record="data/corpus/mixture.json",
        vocab="data/tokenizer/vocab.json",
        merges="data/tokenizer/merges.txt",
    output:
        csv=report("results/corpus.csv", caption="../report/corpus.rst", category="Corpus"),
        png=report("results/corpus.png", caption="../report/corpus.rst", category="Corpus"),
    log:
        "logs/corpus_report.log",
    benchmark:
        "logs/benchmarks/corpus_report.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        corpora=[f"{name}={folder}" for name, folder in REPORTED.items()],
    message:
        "Counting what the corpus holds."
    shell:
        "exec python -m minlm.scripts.corpus_report --corpora {params.corpora} --mixture {input.record}"
        " --vocab_path {input.vocab} --merges_path {input.merges} --threads {threads}"
        " --output_csv {output.csv} --output_png {output.png} --log_file {log}"
