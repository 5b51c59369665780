"""The tutorial, walked end to end on the testbed."""
