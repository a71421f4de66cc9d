"""A run: the inventory, the plan, the jobs and the ledger of products."""
