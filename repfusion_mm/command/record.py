"""Which stages are finished, and what came out of them."""
import json
import os.path as osp
import time
from typing import Any, Callable, Dict

from repfusion_mm.engine.resuming.atomic_write import write_atomically


class Record:
    """A file of what is finished, so that nothing is done twice.

    Args:
        path (str): Of the file, JSON.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.stages: Dict[str, dict] = {}
        if osp.exists(path):
            with open(path) as file:
                self.stages = json.load(file)

    def once(self, stage: str, run: Callable[[], Any]) -> Any:
        """Do something, unless it was done.

        Args:
            stage (str): Its name.
            run (Callable): Does it; what it returns can be written as JSON.

        Returns:
            Any: What came out, now or then.
        """
        if stage not in self.stages:
            begun = time.time()
            result = run()
            # of a stage that was stopped, of its last part
            self.stages[stage] = dict(
                result=result, seconds=round(time.time() - begun, 1))
            write_atomically(self.path, json.dumps(self.stages).encode())
        return self.stages[stage]['result']
