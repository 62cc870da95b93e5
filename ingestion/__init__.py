"""What is known of every document: sources, parsing, chunking, the ledger and the plan."""
