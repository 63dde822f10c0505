"""The portal's dialect, pure: commands and their form, answers and their meaning, rows and names."""
