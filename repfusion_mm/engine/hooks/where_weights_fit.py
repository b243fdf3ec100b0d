"""Where in a model the weights of a file would fit."""
from collections import Counter, defaultdict
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

DEPTH = 4  # parts of a prefix: task.backbone.context_path.backbone


def where_weights_fit(wanted: Iterable[str],
                      given: Iterable[str]) -> Optional[Tuple[str, str]]:
    """The part of a model and the prefix in a file that agree best.

    Args:
        wanted (Iterable[str]): Names of the model's weights.
        given (Iterable[str]): Names of the weights of the file.

    Returns:
        tuple[str, str], optional: Path of the part, empty for the whole model,
        and prefix of its weights in the file, both with a dot at the end; None
        if not even half of any part is there.
    """
    prefixes: Dict[str, List[str]] = defaultdict(list)
    for key in given:
        for prefix, rest in _splits(key):
            prefixes[rest].append(prefix)
    fits: Counter = Counter()
    sizes: Counter = Counter()
    for key in wanted:
        for path, rest in _splits(key):
            sizes[path] += 1
            fits.update((path, prefix) for prefix in prefixes.get(rest, ()))
    if not fits:
        return None
    path, prefix = max(fits, key=lambda pair: (
        fits[pair], -sizes[pair[0]], -len(pair[0]), -len(pair[1])))
    return (path, prefix) if 2 * fits[path, prefix] >= sizes[path] else None


def _splits(key: str) -> Iterator[Tuple[str, str]]:
    """Beginnings of a dotted name, with a dot, and the rest."""
    parts = key.split('.')
    for end in range(min(len(parts), DEPTH + 1)):
        yield ''.join(f'{part}.' for part in parts[:end]), \
            '.'.join(parts[end:])
