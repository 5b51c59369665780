"""Taking away what the operator keeps in a cluster, so that nothing is held up once it is gone.

Every step is tried whether or not the others could be done, and what is gone already is fine.
"""

from collections.abc import Iterable
from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json, Meta, mapping_of, parse_meta
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    BINDING,
    CONFIG_MAP,
    FEDERATION,
    SECRET,
    WEBHOOK_CONFIGURATION,
    Kind,
    KubernetesClient,
)
from caios_federation.core.uninstall import (
    Report,
    finalizer_by_hand,
    policy_of,
    remaining_finalizers,
)
from caios_federation.settings import Settings

_TRIES: Final = 5
"""How often a write that others got in before is tried, and a list that took too long."""


async def clean_up(client: KubernetesClient, settings: Settings, report: Report) -> None:
    """Remove webhook configuration, finalizers and certificate; put it all into `report`.

    For the holder of the Lease alone: a controller that acts would put everything back.
    """
    await remove(client, WEBHOOK_CONFIGURATION, "", words.WEBHOOK_CONFIGURATION, report)
    federations = await _read_federations(client, report)
    await _free_bindings(client, federations, report)
    await _remove_certificate(client, settings, report)
    await _read_retained(client, settings, report)


async def remove(
    client: KubernetesClient, kind: Kind, namespace: str, name: str, report: Report
) -> None:
    """Delete an object of ours."""
    where = f"-n {namespace} " if namespace else ""
    what = f"{kind.kind} {namespace}/{name}" if namespace else f"{kind.kind} {name}"
    try:
        meta = parse_meta(await client.read(kind, namespace, name))
        await client.delete(kind, namespace, name, uid=meta.uid)
    except errors.NotFound:
        return
    except errors.ClientError as error:
        report.failed(what, str(error), f"kubectl delete {kind.kind.lower()} {where}{name}")
    else:
        report.removed.append(what)


async def _read_federations(client: KubernetesClient, report: Report) -> list[Json]:
    """Return the StorageFederations, which only say more about what is left."""
    try:
        found = await _list_all(client, FEDERATION)
    except errors.ClientError as error:
        report.unknown.append(f"StorageFederations, and Secrets that they name: {error}")
        return []
    if found is None:
        return []
    report.definitions.append(f"{words.FEDERATIONS}.{words.GROUP}")
    for body in found:
        report.federations.append(parse_meta(body).name)
        token = mapping_of(body, "spec").get("apiTokenSecretName")
        if token and token not in report.token_secrets:
            report.token_secrets.append(str(token))
    return found


async def _free_bindings(
    client: KubernetesClient, federations: Iterable[Json], report: Report
) -> None:
    """Have bindings go when they are deleted; those that are being deleted go at once."""
    organizations = {
        parse_meta(body).name: str(mapping_of(body, "spec").get("organizationID") or "")
        for body in federations
    }
    try:
        found = await _list_all(client, BINDING)
    except errors.ClientError as error:
        report.failed(
            f"finalizer {words.POLICY_FINALIZER} of FederatedStorageBindings",
            f"they cannot be listed: {error}",
            "kubectl get fsb -A  # then as in docs/operations/uninstall.md, by hand",
        )
        return
    if found is None:
        return
    report.definitions.append(f"{words.BINDINGS}.{words.GROUP}")
    for body in found:
        policy = policy_of(body, organizations)
        report.policies += [policy] if policy else []
        stays = await _free_binding(client, body, report)
        report.bindings += stays


async def _free_binding(client: KubernetesClient, body: Json, report: Report) -> bool:
    """Take our finalizer off a binding; tell whether the binding is still there then."""
    meta = parse_meta(body)
    what = f"finalizer {words.POLICY_FINALIZER} of {words.BINDING_KIND} {meta.key}"
    try:
        for tries_left in reversed(range(_TRIES)):
            finalizers = remaining_finalizers(meta)
            if finalizers is None:
                return True
            try:
                await client.merge(BINDING, _with_finalizers(meta, finalizers))
            except errors.WriteConflict:
                if not tries_left:
                    raise
                again = await _read_again(client, meta)
                if again is None:
                    return False
                meta = again
            else:
                report.removed.append(what)
                return bool(finalizers) or not meta.deleting
    except errors.NotFound:
        return False
    except errors.ClientError as error:
        by_hand = finalizer_by_hand(meta, remaining_finalizers(meta) or [])
        report.failed(what, str(error), by_hand)
    return True


async def _read_again(client: KubernetesClient, meta: Meta) -> Meta | None:
    """Return a binding as it is now, None where it is gone.

    Found in a list, so that the hook of the chart needs the right to list bindings alone.
    """
    fields = f"metadata.name={meta.name}"
    async for body in client.list_objects(BINDING, namespace=meta.namespace, fields=fields):
        return parse_meta(body)
    return None


def _with_finalizers(meta: Meta, finalizers: list[str]) -> Json:
    """Return what leaves exactly this version of a binding the `finalizers`."""
    return {
        "metadata": {
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": str(meta.version),
            "finalizers": finalizers,
        }
    }


async def _remove_certificate(client: KubernetesClient, settings: Settings, report: Report) -> None:
    """Delete the Secret of the serving certificate where the operator made it."""
    namespace, name = settings.namespace, settings.certificates.secret_name
    try:
        body = await client.read(SECRET, namespace, name)
    except errors.NotFound:
        return
    except errors.ClientError as error:
        by_hand = f"kubectl delete secret -n {namespace} {name}"
        report.failed(f"Secret {namespace}/{name}", str(error), by_hand)
        return
    if mapping_of(mapping_of(body, "metadata"), "labels").get(words.MANAGED_BY) == words.MANAGER:
        await remove(client, SECRET, namespace, name, report)
    else:
        report.kept.append(
            f"Secret {namespace}/{name} with the serving certificate, which somebody else made: "
            f"kubectl delete secret -n {namespace} {name}"
        )


async def _read_retained(client: KubernetesClient, settings: Settings, report: Report) -> None:
    try:
        body = await client.read(CONFIG_MAP, settings.namespace, words.RETAINED_POLICIES)
    except errors.NotFound:
        return
    except errors.ClientError as error:
        report.unknown.append(f"policies that outlive their bindings: {error}")
        return
    report.retained = {str(name): str(of) for name, of in mapping_of(body, "data").items()}


async def _list_all(client: KubernetesClient, kind: Kind) -> list[Json] | None:
    """Return all objects of a kind, or None where its CRD is gone. Raises ClientError."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return [body async for body in client.list_objects(kind)]
        except errors.NotFound:
            return None
        except errors.Expired:
            if not tries_left:
                raise
    return None
