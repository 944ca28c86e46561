"""Inside a worker process: load a handler, feed it batches, send its answers.

Synchronous on purpose. Nothing here imports the front end, and nothing imports torch unless a
handler did. Names of this package are imported from their modules, so that importing one costs
only what it needs.
"""
