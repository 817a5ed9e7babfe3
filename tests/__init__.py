"""The tests: `unit` (virtual time, no sockets), `component` (the API server in process), `property`, `e2e`."""
