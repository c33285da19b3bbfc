"""A disk that is full in the middle of a file, without root: no file may grow beyond so many bytes."""

from contextlib import contextmanager


@contextmanager
def files_of_at_most(n_bytes):
    """Let writing fail (EFBIG) where a file grows beyond; Python ignores the signal that comes with it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    """Every file below a folder, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
