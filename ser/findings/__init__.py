"""What the experiments of a grid say together: the ledger, the tables, and how far each figure can be trusted."""
