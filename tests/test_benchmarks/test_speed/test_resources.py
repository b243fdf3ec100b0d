import mmap
import multiprocessing
import os
import threading

from benchmarks.speed.resources import QUANTITIES, SHARED, Resources


def test_what_is_held():
    resources = Resources()
    before = resources.now()
    assert set(before) == set(QUANTITIES)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    child = multiprocessing.get_context('fork').Process(target=stop.wait)
    path = SHARED / f'soak_{os.getpid()}_test'
    other = SHARED / 'soak_of_nobody_test'
    thread.start()
    with open(path, 'w+b') as file:
        try:
            other.touch()
            file.truncate(2**22)
            with mmap.mmap(file.fileno(), 2**22) as shared:
                shared[:] = bytes(2**22)
                held = resources.now()
                child.start()
                with_child = resources.now()
        finally:
            path.unlink()
            other.unlink()
            stop.set()
            thread.join()
            if child.pid:
                child.kill()
                child.join()
    assert held['descriptors'] > before['descriptors']
    assert held['threads'] == before['threads'] + 1
    assert held['shared_mib'] - before['shared_mib'] >= 3.9
    assert held['shared_files'] == 1
    assert with_child['children'] == before['children'] + 1
    assert resources.now()['shared_files'] == 0
