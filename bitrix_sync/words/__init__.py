"""Everything that is said to people: the catalogues, a file a language, and how a message is filled in."""
