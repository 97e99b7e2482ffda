# The model as folders that other software loads: transformers (export), llama.cpp and Ollama (export_gguf).


rule export:
    input:
        model=f"<results>/{USED_MODEL}",
        vocab="data/tokenizer/vocab.json",
        merges="data/tokenizer/merges.txt",
        evaluation="<results>/evaluation.json",
        replicates=[
            f"<results>/{run}evaluation.json" for run, first in replicates(RUNS).items() if first == MAIN != run
        ],
    output:
        weights="<results>/export/model.safetensors",
        config="<results>/export/config.json",
        generation="<results>/export/generation_config.json",
        tokenizer="<results>/export/tokenizer.json",
        tokenizer_config="<results>/export/tokenizer_config.json",
        card="<results>/export/README.md",
    log:
        "<logs>/export.log",
    benchmark:
        "<benchmarks>/export.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        source=config["corpus"]["source"],
        share=config["ancients"]["share"],
        recipe=lambda wildcards: flags({"recipe": json.dumps(recipe(config))}),
    message:
        "Exporting the model to {output.weights}."
    shell:
        "job python -m minlm.scripts.export --checkpoint {input.model:q} --vocab_path {input.vocab:q}"
        " --merges_path {input.merges:q} --evaluation {input.evaluation:q} --corpus_source {params.source}"
        " --ancients_share {params.share} {params.recipe} --replicates {input.replicates:q}"
        ' --output "$(dirname {output.weights:q})" --log_file {log:q}'


rule export_gguf:
    input:
        model=f"<results>/{USED_MODEL}",
        vocab="data/tokenizer/vocab.json",
        merges="data/tokenizer/merges.txt",
    output:
        model="<results>/gguf/model.gguf",
        modelfile="<results>/gguf/Modelfile",
    log:
        "<logs>/export_gguf.log",
    benchmark:
        "<benchmarks>/export_gguf.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
    message:
        "Exporting the model to {output.model}."
    shell:
        "job python -m minlm.scripts.export --format gguf --checkpoint {input.model:q} --vocab_path {input.vocab:q}"
        ' --merges_path {input.merges:q} --output "$(dirname {output.model:q})" --log_file {log:q}'
