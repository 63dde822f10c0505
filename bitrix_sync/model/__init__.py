"""What everybody speaks of: facts of the portal, operations, identities, working time. Pure data."""
