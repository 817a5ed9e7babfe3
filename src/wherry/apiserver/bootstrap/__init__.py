"""What a cluster has from the start: written when the server starts, mended when it was changed."""
