"""What the gateway tells its operator: logs and metrics. Nothing here may slow a request down, let alone fail one."""
