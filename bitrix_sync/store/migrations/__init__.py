"""Changes of the schema, in order; run when the store is opened."""
