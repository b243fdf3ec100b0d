"""What a distillation wrote down of the time steps that it drew."""
import json
from pathlib import Path
from typing import List, Optional, Tuple


def read_policy(folder: Path) -> Tuple[Optional[dict], List[dict]]:
    """The files of ``TimeSamplerHook``.

    Args:
        folder (Path): The ``work_dir`` of a stage 1.

    Returns:
        tuple: What a look found, or None, and the records of the time steps
        drawn, none for another training.
    """
    look, steps = folder / 'look.json', folder / 'time_steps.jsonl'
    return (json.loads(look.read_text()) if look.exists() else None,
            [json.loads(line) for line in steps.read_text().splitlines()]
            if steps.exists() else [])
