"""The keys of issuers that publish them: fetched by one worker at a time, and known to all workers of a gateway."""
