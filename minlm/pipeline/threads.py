"""How many threads a job gets: the trainings of several runs share the cores of one machine.

Every call of `snakemake` imports this module, so it imports nothing heavy.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

from minlm.cores import available_cores, available_memory
from minlm.pipeline.config import Config
from minlm.pipeline.experiments import MAIN

MOST_THREADS = 16  # of one job
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # devices of NVIDIA, AMD and Windows


def limit_cores(workflow: Any) -> str | None:
    """Lower `--cores` to the cores that this process may use; return a message if it was more.

    With `--cores 8` on a machine with 2, four trainings of 2 threads each would run at once. Where jobs run on other
    machines, Snakemake counts jobs (its "nodes") instead, and this changes nothing.
    """
    if workflow.resource_settings.nodes is not None or (workflow.resource_settings.cores or 0) <= available_cores():
        return None
    message = f"--cores {workflow.cores}: this process may use {available_cores()}, so it takes no more."
    workflow.global_resources["_cores"] = available_cores()
    return message


def shared_threads(workflow: Any, runs: Mapping[str, Config], rule: str) -> Callable[[Any], int]:
    """Return the function that gives a job of the rule its threads: if several are to run, they run side by side.

    Only jobs on this machine's CPU share. A GPU is for one job at a time, which gets all cores.
    """
    training = runs[MAIN]["training"]
    device = training["device"] or ("cuda" if has_gpu() else "cpu")
    on_cpu = training["devices"] == 1 and device == "cpu"
    memory = max(map(training_memory, runs.values()))

    def threads(wildcards: Any) -> int:
        if not (on_cpu and workflow.local_exec) or workflow.global_resources["_cores"].value is None:
            return MOST_THREADS  # without cores, as for --report, nothing runs
        jobs = sum(job.rule.name == rule for job in workflow.dag.needrun_jobs())
        # `--report` needs no --cores, but asks for the threads of all jobs
        cores = workflow._cores or available_cores()
        return min(MOST_THREADS, share_cores(cores, jobs, memory))

    return threads


def share_cores(cores: int, jobs: int, memory: int) -> int:
    """Return the cores for each of several jobs. Small models train faster side by side on one core each.

    Args:
        cores: the cores to share.
        jobs: the number of jobs to run.
        memory: bytes that one job needs; no more jobs run at once than there is memory for.
    """
    room = max(1, available_memory() // memory)
    each = cores // max(1, min(jobs, cores, room))
    return each + 1 if min(jobs, cores // each) > room else each


def has_gpu() -> bool:
    """Return whether this machine seems to have a GPU. Only torch knows for certain, but it takes seconds to import."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(map(os.path.exists, GPUS)) or (sys.platform, platform.machine()) == ("darwin", "arm64")


def training_memory(run: Config) -> int:
    """Return the bytes that training needs on a CPU, rather too many than too few (docs/performance.md).

    The sum of weights, gradients and two moments; of what each layer keeps for the backward pass; and of 0.5 GB for
    Python and torch.
    """
    model, training = run["model"], run["training"]
    width, inner, layers = model["d_model"], model["d_ff"], model["num_layers"]
    parameters = 2 * run["tokenizer"]["vocab_size"] * width + layers * (4 * width**2 + 3 * width * inner)
    tokens = training["batch_size"] * model["context_length"] // training["grad_accum_steps"]
    kept = 16 * width + 5 * inner + 3 * model["num_heads"] * model["context_length"]
    if training["gradient_checkpointing"]:  # all of it for one layer at a time, the input of the others
        return 16 * parameters + 4 * tokens * (kept + layers * width) + 500_000_000
    return 16 * parameters + 4 * tokens * layers * kept + 500_000_000
