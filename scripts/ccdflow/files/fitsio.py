"""The reading and writing of FITS files under one name, for branches that still use it."""

from __future__ import annotations

from ccdflow.files.checksum import (  # noqa: F401
    checksum_of,
    encode_checksum,
    header_bytes,
    is_whole,
    signature,
    sum_words,
    whole_datasum,
)
from ccdflow.files.decoding import array, is_plain  # noqa: F401
from ccdflow.files.promised import (  # noqa: F401
    BLOCK,
    DTYPES,
    Hdu,
    RawLayout,
    data_size,
    ends,
    image_header,
    image_shape,
    parse_header,
    readable,
)
from ccdflow.files.rawfile import (  # noqa: F401
    BEYOND,
    MAX_HEADER,
    Incomplete,
    Unreadable,
    check_length,
    check_memory,
    damaged,
    fill,
    open_raw,
    read_bytes,
    read_layout,
    reading,
    scratch,
)
from ccdflow.files.whole import stamp_of, write_all, write_hdus  # noqa: F401
