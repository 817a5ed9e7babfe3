"""Content negotiation of answers (apiserver ``endpoints/handlers/negotiation``)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from wherry.api.errors import NotAcceptable
from wherry.api.resources import TABLE as BUILTIN
from wherry.api.resources import Resource
from wherry.apiserver.decode import JSON, MEDIA_TYPES, PROTOBUF, YAML


@dataclass(frozen=True, slots=True)
class Form:
    """How to answer: the media type and, for a transformed answer, the kind it is to be shown as. `pretty`: indented,
    which JSON alone can be."""

    media: str
    kind: str = ""
    group: str = ""
    version: str = ""
    pretty: bool = False

    @property
    def plain_json(self) -> bool:
        return not self.kind and self.media == JSON and not self.pretty


PLAIN = Form(JSON)
TABLE, PARTIAL, PARTIAL_LIST = "Table", "PartialObjectMetadata", "PartialObjectMetadataList"
_TRANSFORMS = {TABLE: ("v1", "v1beta1"), PARTIAL: ("v1", "v1beta1"), PARTIAL_LIST: ("v1", "v1beta1")}
_SERVED = ROUTED = (JSON, YAML, PROTOBUF)
ROUTED_LIST = (*ROUTED, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
ROUTED_LOG = ("text/plain", *ROUTED)
_WITH_PROTOBUF = frozenset(BUILTIN)
"""Built-in resources; custom ones have no protobuf form."""


def form_for(accept: str, resource: Resource, routed: tuple[str, ...] = ROUTED) -> Form:
    """Return the first form of an ``Accept`` header that objects of `resource` have; `routed`: see `negotiate`."""
    return negotiate(accept, routed if resource in _WITH_PROTOBUF else ())


def negotiate(accept: str, routed: tuple[str, ...] = ROUTED) -> Form:
    """Return the first acceptable form of an ``Accept`` header.

    `routed` are the media types that a route has: upstream looks at them before, and has other words for what is none
    of them. Custom resources are not routed so, and have no protobuf form. Raises NotAcceptable.
    """
    if not accept or accept == "*/*" or accept == JSON:
        return PLAIN
    return (_remembered if len(accept) <= _MAX_REMEMBERED else _negotiated)(accept, routed)


def _negotiated(accept: str, routed: tuple[str, ...]) -> Form:
    named = clauses(accept)
    if routed:
        refuse_unknown(accept, *routed)
    else:
        named = [clause for clause in named if clause[0] != PROTOBUF]
    for media, params in named:
        media = JSON if media == "*/*" else media
        form = _form(media, params)
        if form is not None:
            return form
    raise NotAcceptable(f"only the following media types are accepted: {MEDIA_TYPES}")


_remembered = lru_cache(maxsize=1024)(_negotiated)
_MAX_REMEMBERED = 1024


def _form(media: str, params: Mapping[str, str]) -> Form | None:
    if media not in _SERVED:
        return None
    kind, stream = params.get("as", ""), params.get("stream")
    if stream and (stream != "watch" or media == YAML):
        return None
    if not kind:
        return Form(media)
    group, version = params.get("g", ""), params.get("v", "")
    if kind not in _TRANSFORMS or group != "meta.k8s.io" or version not in _TRANSFORMS[kind]:
        return None
    if kind == TABLE and media == PROTOBUF:
        return None
    return Form(media, kind, group, version)


def clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return the media types of an ``Accept`` header with their parameters, those that are liked best first."""
    found: list[tuple[float, int, str, dict[str, str]]] = []
    for index, clause in enumerate(accept.split(",")):
        media, *rest = (part.strip() for part in clause.split(";"))
        params = {key.strip().lower(): value.strip().strip('"') for key, _, value in (p.partition("=") for p in rest)}
        try:
            quality = float(params.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if quality > 0:
            found.append((-quality, index, media.lower(), params))
    return [(media, params) for _, _, media, params in sorted(found, key=lambda entry: entry[:2])]


def is_pretty(params: Mapping[str, str], user_agent: str) -> bool:
    """Tell whether JSON is to be indented: as the query says, else for the tools and browsers of people."""
    said = params.get("pretty")
    return said in _TRUE if said else user_agent.startswith(_PEOPLE)


def indented(form: Form, params: Mapping[str, str], user_agent: str) -> Form:
    """Return `form`, with indented JSON where `is_pretty` says so."""
    return replace(form, pretty=True) if is_pretty(params, user_agent) else form


_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether an ``Accept-Encoding`` header names gzip; weights are not understood, as upstream has it."""
    return "gzip" in accept_encoding and any(token.strip() == "gzip" for token in accept_encoding.split(","))


def untransformed(accept: str, *, routed: bool = True) -> Form:
    """Return the form for what is shown as nothing else, as discovery is. Raises NotAcceptable.

    `routed`: upstream looks at the media types alone before, and has other words for what it does not know.
    """
    named = clauses(accept or "*/*")
    if routed:
        refuse_unknown(accept, *_SERVED)
    for media, params in named:
        if "as" not in params and media in (*_SERVED, "*/*"):
            return Form(JSON if media == "*/*" else media)
    raise NotAcceptable(f"only the following media types are accepted: {MEDIA_TYPES}")


def refuse_unknown(accept: str, *served: str) -> None:
    """Refuse an ``Accept`` header that names none of the media types that a route has. Raises NotAcceptable."""
    if not any(media in (*served, "*/*") for media, _ in clauses(accept or "*/*")):
        raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {', '.join(served)}", {})


def error_form(accept: str) -> Form:
    """Return the form for an error: as asked when that is possible, else JSON."""
    try:
        form = negotiate(accept)
    except NotAcceptable:
        return PLAIN
    return Form(form.media)
