"""The pure parts of the cluster: addresses, certificates, versions, what is looked for where."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from caios_testbed.authority import Authority, signed_by_one_of
from caios_testbed.cluster import (
    binaries,
    definitions,
    images,
    leftovers,
    packages,
    rootfs,
    sources,
)
from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.kubeconfig import write_kubeconfig
from caios_testbed.cluster.network import POOL, Network, choose_subnet, ends
from caios_testbed.cluster.pki import API_SERVER_HOSTS, Pki
from caios_testbed.cluster.ports import FIRST, LAST, free_ports
from caios_testbed.cluster.progress import Progress


def test_subnet_stays_the_same_for_a_name() -> None:
    assert choose_subnet("caios", []) == choose_subnet("caios", [IPv4Network("10.0.0.0/16")])
    assert choose_subnet("caios", []) != choose_subnet("caios-e2e", [])


def test_subnet_evades_what_is_taken() -> None:
    first = choose_subnet("caios", [])

    second = choose_subnet("caios", [first.supernet(new_prefix=24)])

    assert not second.overlaps(first.supernet(new_prefix=24))
    assert second.subnet_of(POOL)
    assert second.prefixlen == 30


def test_subnet_is_refused_when_none_is_left() -> None:
    with pytest.raises(ClusterError, match="no free /30"):
        choose_subnet("caios", [IPv4Network("10.0.0.0/8")])


def test_ends_of_a_subnet_are_the_host_then_the_cluster() -> None:
    assert [str(end) for end in ends(IPv4Network("10.201.0.4/30"))] == ["10.201.0.5", "10.201.0.6"]


def test_interface_names_fit_into_the_kernels_fifteen_characters() -> None:
    assert len(Network("a" * 32).interface) <= 15


@pytest.mark.parametrize("name", ["", "Caios", "a_b", "-a", "a-", "1a", "a" * 33, "a/b"])
def test_bad_cluster_names_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="use up to 32 lower-case letters"):
        Cluster(name)


def test_certificate_of_the_api_server_holds_every_name_and_address(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure(("10.200.0.1", "10.201.0.6"), node="caios-node", address="10.200.0.1")

    assert sans(pki.certificate("apiserver")) == {*API_SERVER_HOSTS, "10.200.0.1", "10.201.0.6"}
    assert sans(pki.certificate("kubelet")) == {"caios-node", "10.200.0.1"}


def test_certificate_of_kubelet_names_its_node(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure((), node="caios-node", address="10.200.0.1")

    subject = x509.load_pem_x509_certificate(pki.certificate("kubelet").read_bytes()).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:caios-node"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_authority_and_token_key_are_kept_and_private(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure(())
    kept = [path.read_bytes() for path in (pki.ca, pki.ca_key, pki.service_account_key)]

    pki.ensure(("10.201.0.6",))

    paths = (pki.ca, pki.ca_key, pki.service_account_key)
    assert [path.read_bytes() for path in paths] == kept
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}


def test_a_certificate_is_signed_by_one_of_those_that_signed_it() -> None:
    signer, other = Authority.create("webhook"), Authority.create("webhook")
    pair = signer.issue("webhook", hosts=["127.0.0.1"])

    assert signed_by_one_of(pair.certificate, other.pem + signer.pem)
    assert not signed_by_one_of(pair.certificate, other.pem)
    assert not signed_by_one_of(pair.certificate, b"")


def test_kubeconfig_stands_alone_and_is_private(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure(())
    path = tmp_path / "kubeconfig"

    write_kubeconfig(path, context="it", url="https://127.0.0.1:1", pki=pki, client="admin")

    content = yaml.safe_load(path.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert str(tmp_path) not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_ports_are_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(4, free=lambda port: port % 2 == 0)

    assert len(set(ports)) == 4
    assert all(FIRST <= port < LAST and port % 2 == 0 for port in ports)


def test_ports_are_refused_when_none_is_free() -> None:
    with pytest.raises(OSError, match="no 1 free TCP ports"):
        free_ports(1, free=lambda _port: False)


def test_programs_say_the_version_that_go_mod_requires() -> None:
    apiserver = " ".join(sources.SOURCES["kube-apiserver"].build_command(Path("x")))
    helm = " ".join(sources.SOURCES["helm"].build_command(Path("x")))

    assert "version.gitVersion=v1.37.2" in apiserver
    assert "version.gitMajor=1 " in apiserver
    assert "version.gitMinor=37 " in apiserver
    assert "-X helm.sh/helm/v3/internal/version.version=v3.22.0" in helm
    assert "chartutil.k8sVersionMinor=37" in helm


def test_every_module_that_is_built_or_fetched_is_pinned_by_checksum() -> None:
    modules = {source.directory for source in sources.SOURCES.values()} | {definitions.MODULE}

    assert modules == set(sources.MODULES.iterdir())
    assert [module.name for module in modules if not (module / "go.sum").read_text()] == []


def test_version_in_a_block_or_alone() -> None:
    assert sources.required_version("require a.b/c v1.2.3\n", "a.b/c") == "v1.2.3"
    assert sources.required_version("require (\n\ta.b/c v1.2.3 // x\n)", "a.b/c") == "v1.2.3"
    with pytest.raises(KeyError):
        sources.required_version("require a.b/cd v1.2.3\n", "a.b/c")


def test_programs_are_taken_from_the_assets_that_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assert binaries.ensure_binaries(["etcd"], Progress.quiet())["etcd"] == tmp_path / "etcd"


def test_missing_packages_are_named_once() -> None:
    wanted = {"containerd": "containerd", "ctr": "containerd", "ip": "iproute2", "nft": "nftables"}

    assert packages.missing_packages(wanted, {"nft"}.__contains__) == ["containerd", "iproute2"]


def test_mounts_below_a_directory_are_found_innermost_first() -> None:
    mountinfo = "\n".join(
        f"1 2 0:1 / {path} rw - tmpfs tmpfs rw"
        for path in ("/", "/a", "/a/b", r"/a/with\040blank", "/ab", "/c/d")
    )

    assert leftovers.mount_points(mountinfo, [Path("/a"), Path("/c")]) == [
        "/c/d",
        "/a/with blank",
        "/a/b",
        "/a",
    ]


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    mounts = "proc /proc proc rw 0 0\ncgroup /s/cpu cgroup rw,cpu 0 0\nc2 /s/u cgroup2 rw 0 0\n"

    assert leftovers.cgroup_roots(mounts) == [Path("/s/cpu"), Path("/s/u")]


def test_only_sources_of_the_release_itself_are_used(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, content in {
        "sources.list": "# deb m trixie main\ndeb [signed-by=k] m trixie main\n",
        "sources.list.d/debian.sources": "Types: deb\nURIs: m\nSuites: trixie trixie-updates\n",
        "sources.list.d/vendor.list": "deb m vendor-trixie main\n",
        "sources.list.d/off.list": "# deb m trixie main\n",
        "sources.list.d/off.sources.disabled": "Suites: trixie\n",
    }.items():
        (tmp_path / name).write_text(content)

    found = [path.name for path in rootfs.apt_sources(tmp_path, "trixie")]
    assert found == ["sources.list", "debian.sources"]


def test_version_of_the_aws_cli_is_the_pinned_one() -> None:
    assert images.aws_cli_version("a==1\nawscli==1.2.3 \\\n    --hash=x\n") == "1.2.3"
    with pytest.raises(ValueError, match="pins no awscli"):
        images.aws_cli_version("boto3==1\n")


def test_progress_tells_a_step_once_it_is_done() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)

    with progress.step("etcd built"):
        assert lines == []
    with pytest.raises(ClusterError), progress.step("kubelet built"):
        raise ClusterError

    assert lines == ["==> etcd built (0.0 s)"]


def sans(certificate: Path) -> set[str]:
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    assert all(isinstance(a, ipaddress.IPv4Address) for a in addresses)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}
