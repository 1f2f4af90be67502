"""Who is hitting which limit: decisions are counted per minute, written in batches, and reported later."""
