"""The road of a request: the socket, who calls, limits, faults, batches, events, and the control address."""
