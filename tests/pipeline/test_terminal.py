"""What a call of snakemake shows: events of Snakemake's in, lines out."""

import io
import logging
from types import SimpleNamespace

import pytest

from minlm.pipeline.terminal import Terminal, failure, summary
from minlm.progress import CLEAR

BANNER = "\nSNAKEMAKE\n=========\n  Date: today\n"


class Screen(io.StringIO):
    """A stream that says that it is a terminal, and can tell what is left on it."""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError

    def lines(self):
        return [line.rpartition(CLEAR)[2] for line in self.getvalue().split("\n")][:-1]


def job(rule):
    return SimpleNamespace(rule=SimpleNamespace(name=rule))


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = logging.StreamHandler(Screen())
    own.setFormatter(logging.Formatter("%(message)s"))
    dag = SimpleNamespace(jobs=[job("train"), job("sample")], needrun_jobs=lambda: [job("train"), job("sample")])
    return Terminal(SimpleNamespace(dryrun=False, dag=dag), own)


def tell(terminal, event=None, text="", **values):
    record = logging.makeLogRecord({"msg": text, "event": event, "levelno": logging.INFO, **values})
    terminal.handle(record)


def start(terminal, number, rule, log, output=(), **wildcards):
    tell(
        terminal, "job_info", jobid=number, rule_name=rule, rule_msg=f"Doing {rule}.", log=[log], wildcards=wildcards,
        reason="", output=output,
    )  # fmt: skip


def test_each_job_is_one_line_with_its_time_and_what_it_did(terminal, tmp_path):
    (tmp_path / "a.log").write_text("10:00:00 starting\n10:00:09 wrote model.pt: 200 steps, loss 2.3, 90 s\n")
    tell(terminal, "workflow_started", BANNER)
    for noise in ("Building DAG of jobs...", "Using shell: /bin/bash", "Select jobs to execute...", None):
        tell(terminal, None, noise)
    tell(terminal, "run_info", "Job stats: …", stats={"train": 1, "sample": 2, "total": 3})
    start(terminal, 1, "train", "a.log", run_dir="experiments/small/")
    tell(terminal, "job_finished", "Finished jobid: 1", job_id=1)
    tell(terminal, "progress", done=1, total=3)
    assert terminal.stream.lines() == [
        "3 steps: train, 2 × sample",
        "[1/3] train small           0.0 s  model.pt: 200 steps, loss 2.3",
    ]


def test_messages_that_are_not_known_are_shown(terminal):
    tell(terminal, None, "Nothing to be done (all requested files are present and up to date).")
    tell(terminal, None, "Waiting for queue input...")
    tell(terminal, None, "something new", levelno=logging.WARNING)
    assert [line.split()[0] for line in terminal.stream.lines()] == ["Nothing", "Waiting", "something"]


def test_many_jobs_of_a_rule_share_a_line(terminal):
    books = [job("fetch_book")] * 8
    terminal.workflow.dag.jobs = books
    terminal.workflow.dag.needrun_jobs = lambda: books
    for number in range(8):
        start(terminal, number, "fetch_book", "none.log", id=number)
        tell(terminal, "job_finished", job_id=number)
        tell(terminal, "progress", done=number + 1, total=8)
    assert terminal.stream.lines() == ["[8/8] fetch_book            0.0 s  8 jobs"]
    assert "Doing fetch_book: 7 of 8" in terminal.stream.getvalue()


def test_the_target_all_is_no_step(terminal):
    rules = ("train", "all", "compare")
    terminal.workflow.dag.jobs = [job(rule) for rule in rules]
    tell(terminal, "run_info", stats={"train": 1, "all": 1, "compare": 1, "total": 3})
    for number, rule in enumerate(rules, start=1):
        start(terminal, number, rule, "none.log")
        tell(terminal, "job_finished", job_id=number)
        tell(terminal, "progress", done=number, total=3)
    assert terminal.stream.lines() == [
        "2 steps: train, compare", "[1/2] train                 0.0 s", "[2/2] compare               0.0 s",
    ]  # fmt: skip


def test_long_lines_are_folded(terminal, tmp_path):
    (tmp_path / "a.log").write_text("10:00:09 wrote data/tokens/train.npy: 1,613,367 tokens (uint16) from 4.0 MB\n")
    start(terminal, 1, "tokenize", "a.log", part="train")
    tell(terminal, "job_finished", job_id=1)
    tell(terminal, "progress", done=1, total=2)
    assert terminal.stream.lines() == [
        "[1/2] tokenize train        0.0 s  data/tokens/train.npy: 1,613,367 tokens",
        "          (uint16) from 4.0 MB",
    ]


def test_a_dry_run_says_which_settings_have_changed(terminal):
    terminal.workflow.dryrun = True
    reason = (
        "Missing output files: a; Params have changed since last execution: Union of exclusive params before and now "
        "across all output: before: '--d_model=64 --seed=0' now: '--d_model=32 --seed=0' "
    )
    tell(terminal, "job_info", jobid=1, rule_name="train", wildcards={}, reason=reason)
    assert terminal.stream.lines() == ["train: Missing output files: a; other settings (d_model 64 → 32)"]


def test_an_error_ends_with_its_cause(terminal, tmp_path):
    (tmp_path / "a.log").write_text("10:00:00 starting\n10:00:01 nlm-train: error: a.npy is damaged\n")
    start(terminal, 1, "train", "a.log")
    tell(terminal, "error", "RuleException:\nCalledProcessError in file …:\nCommand 'set -euo …' returned 1.")
    tell(terminal, "job_error", jobid=1, rule_name="train", log=["a.log"], wildcards={})
    tell(terminal, None, "Exiting because a job execution failed. Look below for error messages")
    tell(terminal, None, "Complete log(s): …")
    tell(terminal, "error", "WorkflowError:\nAt least one job did not complete successfully.")
    terminal.close()
    assert terminal.stream.lines() == [
        "train failed. Its log is a.log. It ends with:",
        "nlm-train: error: a.npy is damaged",
    ]


def test_other_errors_are_shown_as_they_are(terminal):
    tell(terminal, "error", "MissingRuleException:\nNo rule to produce x")
    terminal.close()
    assert terminal.stream.lines() == ["MissingRuleException:", "No rule to produce x"]


def test_an_interruption_ends_with_what_to_do(terminal, tmp_path):
    (tmp_path / "a.log").write_text("10:00:00 starting\nTraceback:\nKeyboardInterrupt\n")
    start(terminal, 1, "train", "a.log")
    tell(terminal, None, "Terminating processes on user request, this might take some time.")
    tell(terminal, "job_error", jobid=1, rule_name="train", log=["a.log"], wildcards={})
    tell(terminal, "error", "WorkflowError:\nAt least one job did not complete successfully.")
    terminal.close()
    assert terminal.stream.lines() == ["Stopped. What is finished stays; the same command continues from here."]


def test_success_ends_with_a_sample_and_three_paths(terminal, tmp_path):
    (tmp_path / "results").mkdir()
    for name in ("model.pt", "samples.txt", "evaluation.json", "metrics.csv"):  # and no plots, which are up to date
        start(terminal, 1, "rule", "none.log", output=[f"results/{name}"])
    line, dashes = "=" * 80, "-" * 80
    texts = [f'\n\n{line}\nprompt: "{text}"\n0.7\n{dashes}\n{text}\n' for text in ("First text.", "Second text.")]
    (tmp_path / "results/samples.txt").write_text("Samples\n" + "".join(texts))
    terminal.succeeded("results/")
    lines = terminal.stream.lines()
    assert lines[:3] == ["", "  First text.", ""]
    assert lines[3].startswith("Done in ")
    assert [text.split()[0] for text in lines[4:]] == [
        "results/samples.txt", "results/evaluation.json", "results/metrics.csv",
    ]  # fmt: skip


def test_no_sample_of_an_earlier_model(terminal, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/samples.txt").write_text("\n" + 80 * "-" + "\nA text.\n")
    start(terminal, 1, "train", "none.log", output=["results/model.pt"])
    terminal.succeeded("results/")
    assert [line.split()[0] for line in terminal.stream.lines()] == ["Done", "results/model.pt"]


def test_the_end_of_a_log_is_its_last_message_and_what_follows(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("10:00:00 starting\n10:00:01 unexpected error\nTraceback:\n  File x\nValueError: bad\n")
    assert failure("train", [str(log)]).splitlines()[1:] == [
        "unexpected error", "Traceback:", "  File x", "ValueError: bad",
    ]  # fmt: skip
    log.write_text("10:00:01 unexpected error\n" + "line\n" * 100 + "ValueError: bad\n")
    assert len(failure("train", [str(log)]).splitlines()) < 20
    assert failure("train", [str(log)]).endswith("ValueError: bad")
    assert "left no message" in failure("train", [str(tmp_path / "none.log")])
    assert "left no message" in failure("link", [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wrote a.txt and b.txt in 0.2 s", "a.txt and b.txt"),
        ("count_words: a.npz: 7,405 different words, in 2.0 s", "a.npz: 7,405 different words"),
        ("wrote m.pt: 20 steps, loss 2.1, 3 min", "m.pt: 20 steps, loss 2.1"),
    ],
)  # fmt: skip
def test_summaries_come_without_the_time_that_the_line_states(tmp_path, line, expected):
    (tmp_path / "a.log").write_text(f"10:00:00 starting\n10:00:03 {line}\nsome print\n")
    assert summary(str(tmp_path / "a.log"), "count_words") == expected
    assert summary(str(tmp_path / "none.log"), "count_words") == ""
