"""Uses a package that requirements.txt asks for, and tells where things come from."""

import sys

import msgpack
import tinypkg


def handle(data, context):
    if data is None:  # the call at load time
        return None
    return [
        {
            "version": tinypkg.VERSION,
            "from": tinypkg.__file__,
            "prefix": sys.prefix,
            "inherited": msgpack.__file__,
        }
        for _ in data
    ]
