"""Messages of the gRPC APIs; made by ``scripts/generate_grpc`` from the ``.proto`` files here."""
