"""`python -m caios_federation`: the same as `caios-federation`."""

from caios_federation.cli.main import main

main()
