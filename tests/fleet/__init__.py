"""Many portals, several workers, one PostgreSQL: what holds when workers and database are killed. ``make fleet``."""
