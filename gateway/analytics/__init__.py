"""Who was hitting which limit: counted minute by minute, written in batches, and told afterwards."""
