"""A Bitrix24 portal of one's own, for tests, the demo and trying out rules: real HTTP, documented answers, and faults.

It imports nothing of the service. ``Sandbox`` is the portal, ``serve`` runs it in the foreground.
"""

from bitrix_sandbox.http.server import Sandbox, serve

__all__ = ["Sandbox", "serve"]
