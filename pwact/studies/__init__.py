"""Questions with a prediction, controls, a metric and a verdict rule fixed beforehand."""
