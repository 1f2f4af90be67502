"""Hypothesis for the law: nothing here has a clock, the tests neither."""

from hypothesis import HealthCheck, settings

settings.register_profile("law", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("law")
