"""What a call of `snakemake` shows at the terminal: a line for each job that has ended, and how it all ended.

`take_over` puts a handler in the place of Snakemake's own. Snakemake's full messages are still in `.snakemake/log/`.
With `--verbose`, `-p` (the commands), `--debug-dag` or `--quiet`, the terminal shows Snakemake's own, too. A logger
plugin of Snakemake's would be the official way, but Snakemake does not find plugins in an editable installation, and a
profile that names one would then stop every call. Every call of `snakemake` imports this module, so it imports nothing
heavy.
"""

import logging
import os
import re
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from minlm.pipeline.rules import changed_flags
from minlm.progress import BAR_LOCK, CLEAR, SUMMARIES, columns, duration

MANY = 5  # jobs of one rule; more of them share a line
ERROR_LINES = 12  # of a job's log, at most
SAMPLE_CHARACTERS = 400
INDENT = 10 * " "  # of the second and further lines of a job

# Messages of Snakemake's that a user need not see. All that is not listed here is shown.
NOISE = re.compile(
    r"Config file .* is extended|Assuming unrestricted shared|Building DAG of jobs|Using shell: |Provided "
    r"|Rules claiming"
    r"|Conda environments: ignored|Singularity containers: ignored|Group jobs: inactive|Select jobs to execute"
    r"|Execute \d+ jobs|Complete log|Elapsed time|Shutting down, this might|Will exit after finishing"
    r"|Exiting because a job execution failed|Removing output files of failed job|Trying to restart job"
    r"|Reasons:|Some jobs were triggered by provenance|Rules with provenance triggered"
    r"|Warning: the following output files of rule \w+ were not present when the DAG was created"
    r"|Removing temporary output|Touching output file|None$"
)
STOPPING = re.compile(r"Terminating processes on user request|Cancelling snakemake on user request")
JOB_FAILED = re.compile(r"At least one job did not complete|CalledProcessError")
TIME = re.compile(r"^\d\d:\d\d:\d\d ")  # begins the lines of minlm's programs in a log
OWN_TIME = re.compile(r",?( in)? [\d.]+ (s|min)$")
PARAMS = re.compile(r"Params have changed since last execution: [^;]*?before: (.*?) now: (.*?)(?= ?;|$)", re.DOTALL)


def take_over(workflow: Any, logger: logging.Logger) -> "Terminal | None":
    """Show this call's messages in minlm's way, unless its options ask for Snakemake's own (then return None)."""
    settings = workflow.output_settings
    own = next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)
    wants_snakemakes = settings.verbose or settings.printshellcmds or settings.debug_dag or settings.quiet
    if not isinstance(own, logging.StreamHandler) or wants_snakemakes or workflow.exec_mode.name != "DEFAULT":
        return None
    terminal = Terminal(workflow, own)
    logger.removeHandler(own)
    logger.addHandler(terminal)
    if workflow.local_exec:
        os.environ[SUMMARIES] = "1"
        os.environ[BAR_LOCK] = os.path.abspath(".snakemake/minlm.bar")
    return terminal


@dataclass
class Job:
    """A job that runs: its rule, the name for its line, its log and the time at which it began."""

    rule: str
    label: str
    log: str | None
    message: str
    began: float


class Terminal(logging.Handler):
    """Shows the messages of one call of Snakemake.

    Args:
        workflow: Snakemake's.
        own: the handler of Snakemake's that this one replaces.
    """

    def __init__(self, workflow: Any, own: "logging.StreamHandler[IO[str]]"):
        super().__init__()
        self.workflow, self.own, self.stream = workflow, own, own.stream
        self.is_terminal = self.stream.isatty()
        self.began = time.monotonic()
        self.jobs: dict[int, Job] = {}
        self.ended: list[Job] = []  # since the last PROGRESS event
        self.counts: Counter[str] = Counter()  # ended jobs by rule
        self.seconds: dict[str, float] = {}  # of ended jobs, by rule
        self.outputs: set[str] = set()  # of this call's jobs
        self.failed: list[str] = []
        self.interrupted = self.has_stats = False

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, or note what it says."""
        try:
            event = str(getattr(record, "event", None) or "message")
            getattr(self, f"on_{event}", self.on_other)(record)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def show_folded(self, line: str) -> None:
        """Write a line; at a terminal that is too narrow, fold it between words."""
        if self.is_terminal:
            line = textwrap.fill(line, columns(self.stream), subsequent_indent=INDENT, break_on_hyphens=False)
        self.show(line)

    def show(self, text: str) -> None:
        """Write lines, in place of a bar that is on the line."""
        self.stream.write(f"{CLEAR if self.is_terminal else ''}{text}\n")
        self.stream.flush()

    def status(self, text: str) -> None:
        """Show what begins now until something else is shown."""
        if self.is_terminal:
            self.stream.write(f"{CLEAR}{text[: columns(self.stream) - 1]}")
            self.stream.flush()

    # --- events ------------------------------------------------------------------------

    def on_message(self, record: logging.LogRecord) -> None:
        """A message without an event."""
        text = str(record.msg or "")
        if STOPPING.search(text):
            self.interrupted = True
        elif text and not NOISE.match(text):
            self.show(text)

    def on_other(self, record: logging.LogRecord) -> None:
        """An event that has no method here: shown as Snakemake does."""
        if self.own.filter(record) and (text := self.own.format(record)) and not NOISE.match(text):
            self.show(text)

    def on_workflow_started(self, record: logging.LogRecord) -> None:
        """The banner: not shown."""

    on_job_started = on_resources_info = on_shellcmd = on_workflow_started

    def on_run_info(self, record: Any) -> None:
        """The table of jobs: one line, or the table itself in a dry run."""
        if self.has_stats:
            return
        self.has_stats = True
        if self.workflow.dryrun:
            self.show(str(record.msg).rstrip())
            return
        stats = {name: count for name, count in record.stats.items() if name not in ("total", "all")}
        if total := sum(stats.values()):
            names = [f"{count} × {name}" if count > 1 else name for name, count in stats.items()]
            self.show_folded(f"{total} {'step' if total == 1 else 'steps'}: {', '.join(names)}")

    def on_job_info(self, record: Any) -> None:
        """A job begins."""
        label = " ".join([record.rule_name, *_words(record.wildcards)])
        if self.workflow.dryrun:
            if record.rule_name != "all":
                self.show(f"{label}: {PARAMS.sub(_changes, record.reason)}")
            return
        self.outputs.update(record.output)
        log = record.log[0] if record.log else None
        message = str(record.rule_msg or label).rstrip(".")
        self.jobs[record.jobid] = Job(record.rule_name, label, log, message, time.monotonic())
        if record.rule_name != "all":
            self.status(f"{message} …")

    def on_job_finished(self, record: Any) -> None:
        """A job has ended well; its line waits for the count of jobs, which comes next."""
        if job := self.jobs.pop(record.job_id, None):
            self.ended.append(job)

    def on_progress(self, record: Any) -> None:
        """So many jobs of so many have ended."""
        has_all = any(job.rule.name == "all" for job in self.workflow.dag.jobs)
        total = record.total - has_all
        for job in self.ended:
            seconds = time.monotonic() - job.began
            self.counts[job.rule] += 1
            number = self.counts.total() - self.counts["all"]
            self.seconds[job.rule] = self.seconds.get(job.rule, 0.0) + seconds
            jobs = sum(other.rule.name == job.rule for other in self.workflow.dag.needrun_jobs())
            jobs += self.counts[job.rule] if jobs == 0 else 0
            if job.rule == "all":
                continue
            if jobs <= MANY:
                self.show_folded(_line(number, total, job.label, seconds, summary(job.log, job.rule)))
            elif self.counts[job.rule] < jobs:
                self.status(f"{job.message}: {self.counts[job.rule]} of {jobs}")
            else:
                self.show_folded(_line(number, total, job.rule, self.seconds[job.rule], f"{jobs} jobs"))
        self.ended.clear()

    def on_job_error(self, record: Any) -> None:
        """A job has failed: the cause is shown at the end."""
        self.jobs.pop(record.jobid, None)
        words = _words(record.wildcards) if hasattr(record, "wildcards") else []
        self.failed.append(failure(" ".join([record.rule_name, *words]), record.log))

    def on_error(self, record: logging.LogRecord) -> None:
        """An exception. That of a failed job only says which command failed."""
        text = str(record.msg)
        if STOPPING.search(text):
            self.interrupted = True
        elif not JOB_FAILED.search(text):
            self.show(text)

    # --- the end ------------------------------------------------------------------------

    def succeeded(self, results: str) -> None:
        """Show what this call has made to look at: a sample and files, in the folder of the main run's results."""
        paths = [path for path in worth_opening(results) if path in self.outputs][:3]
        sample = _sample(results) if f"{results}samples.txt" in paths else []
        self.show("\n".join([*sample, f"Done in {duration(time.monotonic() - self.began)}."]))
        for path in paths:
            self.show(f"  {path:<{max(map(len, paths))}}  {worth_opening(results)[path]}")

    def close(self) -> None:
        """Say how it ended, if it did not end well."""
        if self.interrupted:
            self.show("Stopped. What is finished stays; the same command continues from here.")
        elif self.failed:
            self.show("\n".join(self.failed))
        self.failed.clear()
        self.interrupted = False
        super().close()


def _words(wildcards: Any) -> list[str]:
    """The wildcards of a job as words: the name of a variant, the part of the text, the number of a book."""
    values = wildcards.items() if isinstance(wildcards, Mapping) or hasattr(wildcards, "items") else []
    return [str(value).removeprefix("experiments/").strip("/.") for _, value in values if str(value).strip("/.")]


def _line(number: int, total: int, label: str, seconds: float, text: str) -> str:
    return f"[{number:{len(str(total))}}/{total}] {label:<18} {duration(seconds):>8}  {text}".rstrip()


def _changes(match: re.Match[str]) -> str:
    """Snakemake's words for changed params, shortened to the flags that differ."""
    changes = changed_flags(SimpleNamespace(only_old=[match[1]], only_new=[match[2]]))
    return f"other settings ({', '.join(changes)})" if changes else "other settings"


def summary(log: str | None, rule: str) -> str:
    """What a job says that it has done: the last message in its log, without the time it took."""
    lines = _messages(log)
    return OWN_TIME.sub("", lines[-1].removeprefix(f"{rule}: ").removeprefix("wrote ")) if lines else ""


def _messages(log: str | None) -> list[str]:
    """The messages of minlm's programs in a log, without the time of day."""
    return [TIME.sub("", line) for line in _read(log).splitlines() if TIME.match(line)]


def _read(log: str | None) -> str:
    try:
        return Path(log or "").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def failure(label: str, logs: Iterable[str]) -> str:
    """Why a job failed: the end of its log, and where that is. The cause is the last line."""
    log = next(iter(logs), None)
    text = _read(log).strip()
    if not text:
        return f"{label} failed and left no message (log: {log or 'none'})."
    lines = text.splitlines()
    last = next((index for index in range(len(lines) - 1, -1, -1) if TIME.match(lines[index])), 0)
    # An error is one message, which may have several lines; a crash has left other text.
    cause = [TIME.sub("", line) for line in lines[last:]]
    if len(cause) > ERROR_LINES:
        cause = ["…", *cause[-ERROR_LINES:]]
    return "\n".join([f"{label} failed. Its log is {log}. It ends with:", *cause])


def worth_opening(results: str) -> dict[str, str]:
    """Files of a run, the best first, and what they are."""
    return {
        f"{results}comparison.html": "the variants side by side",
        f"{results}samples.txt": "texts of the model",
        f"{results}plots/loss_vs_iter.png": "the training curves",
        f"{results}evaluation.json": "bits per byte, beside lzma and bz2",
        f"{results}metrics.csv": "losses by step",
        f"{results}model.pt": "the model",
    }


def _sample(results: str) -> list[str]:
    """The beginning of the first text in samples.txt (`samples_file.write_samples`), and an empty line around it."""
    text = _read(f"{results}samples.txt").partition("\n" + 80 * "-" + "\n")[2].partition("\n\n" + 80 * "=")[0]
    shortened = textwrap.shorten(text, SAMPLE_CHARACTERS, placeholder=" …")
    return ["", *textwrap.wrap(shortened, 78, initial_indent="  ", subsequent_indent="  "), ""] if shortened else []
