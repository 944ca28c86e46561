"""What gRPC's own library can do: a server that gives the bytes of every message back.

No messages are parsed, nothing is asked, no model is called.
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc import aio


class _Aio(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        async def echo(request: bytes, _: Any) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(echo)


class _Threads(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


async def _serve(port: int) -> None:
    server = aio.server()
    server.add_generic_rpc_handlers((_Aio(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=("aio", "threads"), required=True)
    options = parser.parse_args()
    if options.kind == "aio":
        asyncio.run(_serve(options.port))
        return
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((_Threads(),))
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
