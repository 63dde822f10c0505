"""What is to be done, as pure functions of facts, rules and the time."""
