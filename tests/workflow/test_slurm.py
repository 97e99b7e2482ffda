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

# 4 shards; 2 processes train together, long enough to be preempted.
SETTINGS = (
    "tokenizer={vocab_size: 300, shards: 4}",
    "training={devices: 2, batch_size: 4, total_tokens: 192000, warmup_iters: 5, eval_interval: 1000,"
    " save_interval: 50, compile: off}",
)

COMMAND = (
    "results/samples.txt", "--profile", "profiles/slurm", "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5",
    "--max-threads", "2", "--set-threads", "count_words=1", "tokenize=1", "sample=1",  # of the machine's two cores
    # this option replaces all of the profile's `set-resources`, so the partition is named again
    "--set-resources", "train:slurm_partition=gpu", "train:mem_mb=3000", "train:runtime=30", "--config", *SETTINGS,
)  # fmt: skip


@pytest.fixture
def checkout(new_checkout):
    """A checkout whose snakemake ends with the test, even if the test fails."""
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
    folder = tempfile.mkdtemp()  # munge needs a socket open to all users, and pytest's folders are closed
    line = subprocess.run([SCRIPT, "start", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
    os.environ["SLURM_CONF"] = line.strip().partition("=")[2]
    yield
    subprocess.run(["scancel", "--user", "root"], check=True)
    subprocess.run([SCRIPT, "stop", folder], check=True)
    shutil.rmtree(folder)
    del os.environ["SLURM_CONF"]


def slurm_jobs(checkout):
    """Slurm's records of a checkout's jobs in the order of submission: key → value, and the rule of the job."""
    text = subprocess.run(["scontrol", "show", "job", "-o"], check=True, stdout=subprocess.PIPE, text=True).stdout
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    for job in jobs:
        job["rule"] = re.sub(r"^rule_|^group_|_wildcards_.*", "", job.get("Comment", ""))
    return sorted((job for job in jobs if job["WorkDir"] == str(checkout.folder)), key=lambda job: int(job["JobId"]))


def trainings(checkout):
    return [job for job in slurm_jobs(checkout) if job["rule"] == "train"]


def wait_for(condition, seconds=900):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return found


def start(checkout):
    """Start the workflow on Slurm; return when the training has saved its state."""
    process = checkout.start(*COMMAND)
    unfinished = checkout.folder / "results/.model.pt.in_progress"
    state = wait_for(lambda: list(unfinished.glob("*.pt")) or process.poll() is not None)
    if state is True:
        pytest.fail(process.communicate()[0])
    return process


def test_four_shards_two_trainers_and_a_preemption(slurm, checkout):
    log = checkout.folder / "logs/train.log"
    process = start(checkout)
    (training,) = (job for job in trainings(checkout) if job["JobState"] == "RUNNING")
    subprocess.run(["scancel", training["JobId"]], check=True)  # SIGTERM to all its processes
    output, _ = process.communicate()
    assert process.returncode == 0, output

    jobs = slurm_jobs(checkout)
    names = ("JobId", "rule", "JobState", "Partition", "TimeLimit", "TRES", "TresPerJob", "RunTime")
    print(*(" ".join(job.get(name, "") for name in names) for job in jobs), log.read_text(), sep="\n")
    counts = [job for job in jobs if job["rule"].startswith("count_words")]
    assert [job["JobState"] for job in counts] == ["COMPLETED"] * 4
    assert {job["Partition"] for job in counts} == {"cpu"}
    assert sum(job["rule"].startswith("tokenize") for job in jobs) == 5
    assert [job["JobState"] for job in trainings(checkout)] == ["CANCELLED", "COMPLETED"]
    for job in trainings(checkout):
        assert job["Partition"] == "gpu"
        assert job["TimeLimit"] == "00:30:00"
        assert job["TresPerJob"] == "gres:gpu:2"
        assert "mem=3000M" in job["TRES"]
    assert sum("gpu" in job.get("TresPerJob", "") for job in jobs) == 2
    assert re.search(r"continu|resum", log.read_text(), re.IGNORECASE)
    assert (checkout.folder / "results/samples.txt").stat().st_size > 0


def test_snakemake_is_killed_while_the_training_goes_on(slurm, checkout):
    """The next call submits a second training, which starts when the first has finished and takes over its model."""
    log = checkout.folder / "logs/train.log"
    checkout.kill(start(checkout))
    (first,) = trainings(checkout)
    assert first["JobState"] == "RUNNING"
    output, _ = checkout.start(*COMMAND).communicate(timeout=900)
    print(output, log.read_text(), sep="\n")
    assert (checkout.folder / "results/samples.txt").stat().st_size > 0, output
    assert [job["JobState"] for job in trainings(checkout)] == ["COMPLETED", "COMPLETED"]
    assert "this training had finished" in log.read_text()
    assert "training:" not in log.read_text()
