"""The real service on a faulty portal, killed again and again: nothing lost, nothing doubled, nothing refused.

``python -m tests.chaos`` runs seed after seed; a run of one seed is ``world.World``. ``launcher`` is the service's
process, ``office`` the portal with its people and the rules, ``expected`` what must come of it, predicted from the log
of what people did alone, and ``verdict`` compares.
"""
