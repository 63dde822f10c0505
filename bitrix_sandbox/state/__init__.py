"""What the portal knows, who may see it, and what people do in it."""
