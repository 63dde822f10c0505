"""What the commands of an administrator do, beside a running service or alone."""
