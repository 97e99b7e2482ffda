# Pictures of a run.


rule plot:
    input:
        "results/metrics.csv",
    output:
        PLOTS,
    log:
        "logs/plot.log",
    benchmark:
        "logs/benchmarks/plot.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../../envs/minlm.yaml"
    message:
        "Drawing the training curves."
    shell:
        "exec python -m minlm.scripts.plot --metrics {input} --output_dir $(dirname {output[0]}) --log_file {log}"
