"""The workflow on a real Slurm: `pytest -m slurm`. It takes minutes, so `make test` leaves it out."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))) or os.geteuid() != 0,
        reason="needs root and Slurm: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge",
    ),
]
SCRIPT = Path(__file__).with_name("one_machine_slurm.sh")

# Training must last long enough to be preempted; 4 shards, 2 processes that train together.
SETTINGS = (
    "tokenizer={vocab_size: 300, shards: 4}",
    "training={devices: 2, batch_size: 4, total_tokens: 192000, warmup_iters: 5, eval_interval: 1000,"
    " save_interval: 50, compile: off}",
)


@pytest.fixture
def checkout(new_checkout):
    """A checkout whose snakemake ends with the test, however that ends."""
    made, processes = new_checkout(), []
    start = made.start
    made.start = lambda *arguments: processes.append(start(*arguments)) or processes[-1]
    yield made
    for process in processes:
        if process.poll() is None:
            made.kill(process)


@pytest.fixture(scope="module")
def slurm():
    """A Slurm on this machine, in the environment of the test."""
    folder = tempfile.mkdtemp()  # pytest's own folders are closed to others, and munge wants a socket open to all
    line = subprocess.run([SCRIPT, "start", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
    os.environ["SLURM_CONF"] = line.strip().partition("=")[2]
    yield
    subprocess.run(["scancel", "--user", "root"], check=True)
    subprocess.run([SCRIPT, "stop", folder], check=True)
    shutil.rmtree(folder)
    del os.environ["SLURM_CONF"]


def ended_jobs():
    """Slurm's own record of each job: key → value, with the rule that it ran."""
    text = subprocess.run(["scontrol", "show", "job", "-o"], check=True, stdout=subprocess.PIPE, text=True).stdout
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    for job in jobs:
        job["rule"] = re.sub(r"^rule_|^group_", "", job.get("Comment", ""))
    return jobs


def wait_for(condition, seconds=900):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return found


def test_four_shards_two_trainers_and_a_preemption(slurm, checkout):
    log = checkout.folder / "logs/train.log"
    process = checkout.start(
        "results/samples.txt", "--profile", "profiles/slurm", "--slurm-status-command", "squeue",
        "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5",
        "--max-threads", "2", "--set-threads", "count_words=1", "tokenize=1", "sample=1",  # of the machine's two
        # what stands here takes the place of the profile's `set-resources`, hence the partition again
        "--set-resources", "train:slurm_partition=gpu", "train:mem_mb=3000", "train:runtime=30", "--config", *SETTINGS,
    )  # fmt: skip
    unfinished = checkout.folder / "results/.model.pt.in_progress"
    state = wait_for(lambda: list(unfinished.glob("*.pt")) or process.poll() is not None)
    if state is True:
        pytest.fail(process.communicate()[0])
    (training,) = (job for job in ended_jobs() if job["JobState"] == "RUNNING" and job["rule"].startswith("train"))
    subprocess.run(["scancel", training["JobId"]], check=True)  # SIGTERM to all its processes
    output, _ = process.communicate()
    assert process.returncode == 0, output

    jobs = ended_jobs()
    names = ("JobId", "rule", "JobState", "Partition", "TimeLimit", "TRES", "TresPerJob", "RunTime")
    print(*(" ".join(job.get(name, "") for name in names) for job in jobs), log.read_text(), sep="\n")
    counts = [job for job in jobs if job["rule"].startswith("count_words")]
    assert [job["JobState"] for job in counts] == ["COMPLETED"] * 4
    assert {job["Partition"] for job in counts} == {"cpu"}
    assert sum(job["rule"].startswith("tokenize") for job in jobs) == 5
    trainings = sorted((job for job in jobs if job["rule"].startswith("train_") or job["rule"] == "train"
                        if "tokenizer" not in job["rule"]), key=lambda job: int(job["JobId"]))  # fmt: skip
    assert [job["JobState"] for job in trainings] == ["CANCELLED", "COMPLETED"]
    for job in trainings:
        assert job["Partition"] == "gpu"
        assert job["TimeLimit"] == "00:30:00"
        assert job["TresPerJob"] == "gres:gpu:2"
        assert "mem=3000M" in job["TRES"]
    assert not any("gpu" in job.get("TresPerJob", "") for job in jobs if job not in trainings)
    assert re.search(r"continu|resum", log.read_text(), re.IGNORECASE)
    assert (checkout.folder / "results/samples.txt").stat().st_size > 0
