"""For all tests: two of them run side by side, so each process computes with one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
