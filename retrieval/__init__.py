"""What can be found: embedding, the index, search with its fence, freshness, the HTTP API."""
