"""Looking inside: what a compilation did, pass by pass."""
