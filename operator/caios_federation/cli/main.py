"""`caios-federation`, also `kubectl caios`: the operator's process, and what is decided offline.

Data goes to standard output, talk to standard error. Exit codes: 0 fine, 1 a finding, 2 usage,
3 the API server cannot be reached or refuses.
"""

import click

from caios_federation.cli.check_injection import check_injection
from caios_federation.cli.crds import crds
from caios_federation.cli.inject import inject
from caios_federation.cli.policy import policy
from caios_federation.cli.principal import principal
from caios_federation.cli.run import run
from caios_federation.cli.uninstall import uninstall


@click.group()
@click.version_option(package_name="caios-federation-operator")
def main() -> None:
    """Federate Kubernetes workloads with CoreWeave AI Object Storage."""


main.add_command(run)
main.add_command(principal)
main.add_command(policy)
main.add_command(inject)
main.add_command(crds)
main.add_command(check_injection)
main.add_command(uninstall)
