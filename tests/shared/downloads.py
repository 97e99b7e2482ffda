"""What the tests of downloads share."""

import hashlib
import os

from minlm.corpus.download import CHUNK_BYTES

BODY = os.urandom(500_000)
AFTER = 2 * CHUNK_BYTES  # bytes until a break
SHA256 = hashlib.sha256(BODY).hexdigest()


def breaking(answer, after, times=1, reset=False):
    """The first `times` answers break off after so many bytes."""
    left = [times]

    def broken(request):
        result = answer(request)
        if left[0] > 0 and result.status in (200, 206):
            left[0] -= 1
            result.break_after, result.reset = after, reset
        return result

    return broken


def parts(folder):
    return sorted(path.name for path in folder.iterdir())
