"""What a GPU session gives back: every result so far."""
import io
import json
import tarfile

PART = 15 * 2**20  # bytes of a part of the archive
MOST = 4 * PART  # of all of them
LOG = 200_000  # characters of a log's end


def write_results(session, out):
    """Write ``session.json`` and ``results.tar.gz.*``.

    Args:
        session (Session): As far as it came.
        out (Path): The folder that is taken along.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for step in session.steps:
        folder = session.folder(step)
        for path, name in ((folder / step.result, f'{step.name}.json'),
                           (folder / 'report.png', f'{step.name}.png')):
            if path.exists():
                files[name] = path.read_bytes()
        for log in ('output.txt', 'log.txt'):
            if (folder / log).exists():
                files[f'{step.name}_{log}'] = (folder / log).read_text(
                    errors='replace')[-LOG:].encode()
        if (folder / 'records.jsonl').exists():  # to be gone on with
            files[f'{step.name}_records.jsonl'] = (
                folder / 'records.jsonl').read_bytes()
    parts = pack(files)
    for path in out.glob('results.tar.gz.*'):
        path.unlink()
    for index, part in enumerate(parts):
        (out / f'results.tar.gz.{index}').write_bytes(part)
    (out / 'session.json').write_text(json.dumps(
        {step.name: session.state(step) for step in session.steps}, indent=1))


def pack(files):
    """An archive, in parts.

    Args:
        files (dict[str, bytes]): By their names; the small ones come first,
            and what is too much is left out.

    Returns:
        list[bytes]: To be joined.
    """
    buffer, room = io.BytesIO(), MOST - PART  # for what surrounds the files
    with tarfile.open(fileobj=buffer, mode='w:gz',
                      compresslevel=1) as archive:
        for name, content in sorted(files.items(),
                                    key=lambda item: len(item[1])):
            if len(content) > room:
                print(f'{name} is left out: too large to be taken along')
                continue
            room -= len(content)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    return [content[start:start + PART]
            for start in range(0, len(content), PART)]
