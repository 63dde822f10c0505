"""The portal's dialect and pace: what an answer means, how fast one may ask, how facts are read and changes written."""
