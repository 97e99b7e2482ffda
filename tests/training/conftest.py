import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path):
    """A folder with the tokens of `small_runs`."""
    np.save(tmp_path / "train.npy", (np.arange(900) * 5 % 13).astype(np.uint16))
    np.save(tmp_path / "valid.npy", (np.arange(70) * 5 % 13).astype(np.uint16))
    return tmp_path
