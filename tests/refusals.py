"""What an InputError is about, without its wording."""

from contextlib import contextmanager

import pytest

from ser.common import InputError


@contextmanager
def refuses(what="", where="", fix=""):
    """The block raises an InputError; `what`, `where` and `fix` are words of its fields, a file or an option."""
    with pytest.raises(InputError) as caught:
        yield caught
    for field, words in {"what": what, "where": where, "fix": fix}.items():
        assert str(words) in str(getattr(caught.value, field)), f"{field}: {words!r} is not in: {caught.value}"
