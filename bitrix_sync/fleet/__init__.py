"""Many portals on one PostgreSQL: their secrets, rules and commands. A service of one portal has none of it."""
