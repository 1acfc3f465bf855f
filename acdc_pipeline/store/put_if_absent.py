"""Putting an object only where none is: what decides between racing writers in an object store."""

from __future__ import annotations

from acdc_pipeline.store.location import Place

# How S3 and servers like it say that there is one, or was one a moment ago. Clients turn only some
# of these answers into FileExistsError; the others carry the code in the error they come from.
_TAKEN = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict"))


def put_if_absent(place: Place, path: str, data: bytes) -> bool:
    """Puts `data` at `path` unless an object is there. True if we put it.

    False also means that ours is there, where the answer to a first attempt was lost and the
    client repeated it: whoever must know reads the object.
    """
    try:
        place.fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        if _code(error) in _TAKEN:
            return False
        raise
    return True


def _code(error: OSError) -> str | None:
    """The code of the server's answer that `error` stands for, None where it has none."""
    response = getattr(error.__cause__, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None
