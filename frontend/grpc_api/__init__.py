"""The gRPC APIs: calls become jobs and management operations, as HTTP requests do.

This package is the only one that knows gRPC. It is imported when a gRPC listener is opened, and
speaks to the rest of the front end through `WorkerPool.submit` and `ModelManager`.
"""
