"""HTTP/2 for servers (RFC 9113), as plain calls: bytes in, streams and their data out, bytes out.

`connection.Http2Connection` is the protocol without any I/O; `transport.Http2Transport` joins it to
asyncio. Nothing here knows what the streams carry: gRPC is in ``frontend/grpc_api``.

Left out is what a server of gRPC has no use for: push, priorities (their frames are checked and
ignored), and the upgrade from HTTP/1.1.
"""
