"""What asyncio lacks: coroutines that run at once, and timers that are moved often."""
