"""The line with which a call is refused, for tests that compare all of it."""

import pytest

from ccdflow.errors import CcdflowError


def refusal_of(call, *arguments, **options):
    """Return the error that a call raises as (its class, its line)."""
    with pytest.raises(CcdflowError) as caught:
        call(*arguments, **options)
    return type(caught.value), str(caught.value)
