"""Tables and pictures of all findings, each with what it was made of."""
