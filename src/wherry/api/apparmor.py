"""AppArmor profiles in the annotations that came before the field (core ``pod.AppArmorFieldForAnnotation``)."""

from typing import Any

Profile = dict[str, Any]

PREFIX = "container.apparmor.security.beta.kubernetes.io/"
GROUPS = ("initContainers", "containers", "ephemeralContainers")


def profile_of(annotation: str) -> Profile | None:
    """Return the profile that an annotation names, None when it names none."""
    if annotation == "unconfined":
        return {"type": "Unconfined"}
    if annotation == "runtime/default":
        return {"type": "RuntimeDefault"}
    if annotation.startswith("localhost/") and annotation != "localhost/":
        return {"type": "Localhost", "localhostProfile": annotation.removeprefix("localhost/")}
    return None


def annotation_of(profile: Profile) -> str:
    """Return the annotation for a profile, empty when there is none."""
    if profile.get("type") == "Localhost" and profile.get("localhostProfile"):
        return f"localhost/{profile['localhostProfile']}"
    return {"Unconfined": "unconfined", "RuntimeDefault": "runtime/default"}.get(profile.get("type", ""), "")


def own_profile(holder: dict[str, Any]) -> Profile | None:
    """Return the profile in the security context of a pod's spec or a container."""
    profile: Profile | None = (holder.get("securityContext") or {}).get("appArmorProfile")
    return profile
