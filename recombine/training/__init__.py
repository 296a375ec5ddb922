"""Training: the one engine, what it saves and logs, and run folders."""
