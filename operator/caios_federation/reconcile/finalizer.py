"""The finalizer of bindings whose policy was applied."""

from contextlib import suppress

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import BINDING
from caios_federation.reconcile.acting import Acting


async def hold(caches: Caches, acting: Acting, binding: Binding) -> None:
    """Have `binding` stay until its policy is gone. Raises NotFound when it is gone itself."""
    held = binding.meta.finalizers
    if words.POLICY_FINALIZER not in held:
        await _write(caches, acting, binding, [*held, words.POLICY_FINALIZER])


async def release(caches: Caches, acting: Acting, binding: Binding) -> None:
    """Have `binding` go when it is deleted. Raises ClientError."""
    held = binding.meta.finalizers
    if words.POLICY_FINALIZER in held:
        rest = [name for name in held if name != words.POLICY_FINALIZER]
        with suppress(errors.NotFound):  # gone already, and so is what the finalizer was for
            await _write(caches, acting, binding, rest)


async def _write(caches: Caches, acting: Acting, binding: Binding, finalizers: list[str]) -> None:
    """Write the whole list, of this very version: others have finalizers of theirs in it."""
    meta = binding.meta
    metadata = {
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": str(meta.version),
        "finalizers": finalizers,
    }
    body = await acting.client.merge(BINDING, {"metadata": metadata})
    acting.wrote(caches.bindings.answered(body))
