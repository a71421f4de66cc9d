"""JSON text by an encoder that is made once: that of `json.dumps`."""

import json

import pytest

from ccdflow.files.text_files.json_text import compact_encoder

VALUES = (
    "ü\n\"\u2028\ud800", 1.0, 1e300, -0.0, float("nan"), float("inf"), 10**30, True, None, [], {},
    [1, (2.5, ["x"]), {"b": {"d": 1, "c": 2}, "a": None}], {1: 2, "x": float("-inf")},
)  # fmt: skip


@pytest.mark.parametrize("sort_keys", [False, True])
def test_the_text_is_that_of_json_dumps(sort_keys):
    encode = compact_encoder(sort_keys=sort_keys)
    for value in VALUES[:-1] if sort_keys else VALUES:
        assert encode(value) == json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)


def test_a_value_that_json_does_not_have_is_an_error():
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        compact_encoder()([object()])
    # The encoder is of use afterwards.
    encode = compact_encoder(sort_keys=True)
    with pytest.raises(TypeError, match="not supported between"):
        encode({"a": 1, 2: 3})
    assert encode({"b": 1, "a": 2}) == '{"a":2,"b":1}'
