"""How it runs: settings, wiring, the daemon, the command line, metrics, diagnosis."""
