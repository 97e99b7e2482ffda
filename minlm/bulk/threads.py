"""Work in several threads, with the results in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Worker = TypeVar("Worker")
Part = TypeVar("Part")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Worker, Part], Result], parts: Iterator[Part], workers: Sequence[Worker]
) -> Iterator[Result]:
    """Yield `work(worker, part)` for each part, in order. Each worker has a thread; a single one, the caller's."""
    if len(workers) == 1:
        yield from (work(workers[0], part) for part in parts)
        return
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def task(part: Part) -> Result:
        worker = free.get()
        try:
            return work(worker, part)
        finally:
            free.put(worker)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(task, part))
                if len(waiting) > 2 * len(workers):  # limits the memory for results
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
