"""The web side: the address of the events, health, metrics, the page. It asks a service and decides nothing."""
