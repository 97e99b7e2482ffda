"""What the rules read of each run: its settings as flags, and its inputs, some of them from other runs.

Every call of `snakemake` imports this module, so it imports nothing heavy.
"""

from collections.abc import Callable, Mapping
from typing import Any

from minlm.pipeline.config import Config
from minlm.pipeline.experiments import MAIN
from minlm.pipeline.rules import any_of, flags, unrecorded
from minlm.pipeline.settings import rerun_nothing
from minlm.pipeline.stages import computed_by, parent_of

# Settings of the workflow, not of the script; the files that they mean are its inputs.
NOT_FLAGS = {"training.devices", "training.bigram_init", "training.init_from", "training.use_checkpoint"}


class Runs(dict[str, Config]):
    """The configuration of each run by its folder ({run_dir} in paths), and functions for the directives of rules.

    Snakemake calls these functions with a job's wildcards. A job without {run_dir} belongs to the main run.
    """

    def __init__(self, configurations: Mapping[str, Config]):
        super().__init__(configurations)
        self.computed_by = computed_by(dict(configurations))

    def settings(self, section: str, *names: str) -> Callable[[Any], str]:
        """Return a param: flags for the named settings of a section (default: all that change results).

        It is a function even where all runs agree, because Snakemake takes {a} in a plain text for a wildcard.
        """

        def of_run(wildcards: Any) -> str:
            values: Any = self[wildcards.get("run_dir", MAIN)]
            for part in section.split("."):
                values = values[part]
            every = (name for name in values if f"{section}.{name}" not in rerun_nothing() | NOT_FLAGS)
            return flags(values, *(names or every))

        return of_run

    def execution(self, section: str, *names: str) -> Callable[..., str]:
        """Return a param: flags for the named settings that re-run nothing (default: all of the section)."""
        values = self[MAIN][section]
        every = (name for name in values if f"{section}.{name}" in rerun_nothing() - NOT_FLAGS)
        return unrecorded(flags({name: values[name] for name in names or every}))

    def output_of(self, stage: str, *paths: str, run: str = "{run_dir}") -> Callable[[Any], list[str]]:
        """Return an input: files with {run_dir} in their paths, from the run that computes this stage for `run`."""

        def of_computing_run(wildcards: Any) -> list[str]:
            values = dict(wildcards.items())
            values["run_dir"] = self.computed_by[stage][run.format(**values)]
            return [path.format(**values) for path in paths]

        return of_computing_run

    def bigram_fit(self, path: str) -> Callable[[Any], list[str]]:
        """Return an input: the bigram fit of the runs that start from one."""

        def of_computing_run(wildcards: Any) -> list[str]:
            training = self[wildcards.run_dir]["training"]
            wanted = training["bigram_init"] and training["init_from"] is None
            return self.output_of("bigram", path)(wildcards) if wanted else []

        return of_computing_run

    def tuned(self) -> dict[str, str]:
        """Return run → the run from whose model it starts, if that one has another text."""
        parents = {run: parent_of(run, self) for run in self}
        tokens = self.computed_by["tokens"]
        return {run: parent for run, parent in parents.items() if parent is not None and tokens[run] != tokens[parent]}

    def first_model(self, path: str) -> Callable[[Any], list[str]]:
        """Return an input: the model that a run starts from, another run's or a file, if there is one."""

        def of_run(wildcards: Any) -> list[str]:
            parent, given = parent_of(wildcards.run_dir, self), self[wildcards.run_dir]["training"]["init_from"]
            if parent is not None:
                return [path.format(run_dir=self.computed_by["model"][parent])]
            return [] if given is None else [given]

        return of_run

    def is_chat(self, run: str) -> bool:
        """Whether a run trains on conversations."""
        return bool(self[run]["corpus"]["source"] == "chat")

    def masks(self, *paths: str, run: str = "{run_dir}") -> Callable[[Any], list[str]]:
        """Return an input: the masks of the tokens of a run that trains on conversations, none for the others."""

        def of_run(wildcards: Any) -> list[str]:
            chat = self.is_chat(run.format(**dict(wildcards.items())))
            return self.output_of("tokens", *paths, run=run)(wildcards) if chat else []

        return of_run

    def computing(self, stage: str) -> str:
        """Return a constraint of {run_dir}: the runs that compute this stage themselves."""
        return any_of(set(self.computed_by[stage].values()))
