"""What this process, and those that it has started, hold."""
import re
from pathlib import Path

SHARED = Path('/dev/shm')
QUANTITIES = ('memory_mib', 'descriptors', 'shared_mib', 'shared_files',
              'threads', 'children')


class Resources:
    """Looks at a process and its children.

    Files in /dev/shm that were there before are not counted.
    """

    def __init__(self):
        import psutil
        self._process = psutil.Process()
        self._gone = psutil.NoSuchProcess
        self._before = set(SHARED.glob('*'))
        self._pids = {self._process.pid}

    def now(self):
        """What is held.

        Returns:
            dict: ``memory_mib``, resident, of this process alone, since the
            children share its pages; of all processes together,
            ``shared_mib``, the largest of the shared memory that is mapped,
            ``descriptors`` that are open and ``threads``; ``children``; and
            ``shared_files``, those in /dev/shm that carry the number of one of
            these processes, living or dead.
        """
        children = self._process.children(recursive=True)
        self._pids |= {child.pid for child in children}
        found = dict(memory_mib=self._process.memory_info().rss / 2**20,
                     descriptors=0, shared_mib=0., threads=0,
                     children=len(children), shared_files=self._files())
        for process in (self._process, *children):
            try:
                found['descriptors'] += process.num_fds()
                found['threads'] += process.num_threads()
                found['shared_mib'] = max(found['shared_mib'],
                                          _shared_mib(process.pid))
            except (self._gone, FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
        return found

    def _files(self):
        names = [path.name for path in set(SHARED.glob('*')) - self._before]
        return sum(1 for name in names
                   if self._pids & set(map(int, re.findall(r'\d+', name))))


def _shared_mib(pid):
    status = Path(f'/proc/{pid}/status').read_text()
    found = re.search(r'^RssShmem:\s+(\d+) kB', status, re.MULTILINE)
    return int(found[1]) / 2**10 if found else 0.
