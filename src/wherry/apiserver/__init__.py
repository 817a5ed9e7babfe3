"""The API server: one request is one pass from parsing to encoding, each step a file."""
