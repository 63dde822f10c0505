"""The rules language: from the text of rules.yaml to what decisions see, and what they ask of it."""
