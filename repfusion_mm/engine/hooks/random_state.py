"""Random numbers that are drawn without anybody noticing."""
import random
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def same_random_state():
    """What is drawn inside changes nothing of what is drawn behind it.

    Yields:
        None: With Python's, NumPy's and torch's generators, the present
        GPU's too, as they are.
    """
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() \
        else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
