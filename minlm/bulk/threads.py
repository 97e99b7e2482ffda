"""Working in several threads, with the results in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Worker = TypeVar("Worker")
Part = TypeVar("Part")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Worker, Part], Result], parts: Iterator[Part], workers: Sequence[Worker]
) -> Iterator[Result]:
    """Yield `work(worker, part)` for each part, in order, with a thread for each worker; one worker needs none."""
    if len(workers) == 1:
        yield from (work(workers[0], part) for part in parts)
        return
    free, thread = iter(workers), threading.local()

    def take_worker() -> None:
        thread.worker = next(free)

    def task(part: Part) -> Result:
        return work(thread.worker, part)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(len(workers), initializer=take_worker) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(task, part))
                if len(waiting) > 2 * len(workers):  # limits how many results are in memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
