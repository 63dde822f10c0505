"""The morning and the evening: overdue tasks moved, owners and supervisors told."""
