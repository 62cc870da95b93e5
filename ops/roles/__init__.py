"""One module a role: what runs as a process of its own beside a shared broker."""
