"""What the instruments of benches/ share: the programs that are measured, how they are measured, and how it is told."""
