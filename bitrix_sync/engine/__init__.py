"""The road to the portal: the pass, the sender, the nightly recheck, the rulebook, alerts."""
