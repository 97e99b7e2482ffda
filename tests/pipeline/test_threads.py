import pytest

from minlm.pipeline import threads
from minlm.pipeline.threads import has_gpu, share_cores


@pytest.mark.parametrize(
    ("cores", "jobs", "room", "each"),
    [
        (8, 1, 99, 8),
        (8, 0, 99, 8),  # no job of this rule is to run
        (2, 2, 99, 1),
        (2, 6, 99, 1),
        (8, 3, 99, 2),
        (8, 2, 99, 4),
        (8, 6, 2, 4),  # memory for two jobs
        (8, 6, 3, 3),
        (3, 6, 2, 2),
        (8, 6, 0, 8),  # not even for one, so one after another
        (8, 5, 6, 1),
        (1, 4, 99, 1),
    ],
)
def test_jobs_share_the_cores(monkeypatch, cores, jobs, room, each):
    monkeypatch.setattr(threads, "available_memory", lambda: room * 1000 + 999)
    assert share_cores(cores, jobs, 1000) == each
    assert min(max(jobs, 1), cores // each) <= max(room, 1)


def test_gpus_are_seen_without_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(threads, "GPUS", [tmp_path / "nvidiactl"])
    monkeypatch.setattr(threads.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not has_gpu()
    (tmp_path / "nvidiactl").touch()
    assert has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_gpu()
