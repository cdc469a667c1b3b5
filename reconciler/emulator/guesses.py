"""Every choice the emulator makes where no public source settles what a vendor does."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Guesses:
    """Hold the emulator's answers to open questions; one field is one question.

    Fields that begin with `yunxin_` concern NetEase's server API v2, `commsease_` its v1,
    `tencent_` Tencent Cloud Chat. A name that ends in `_code` is the vendor code that is answered;
    200, at Tencent 0, means that the call is accepted.
    """

    yunxin_bad_checksum_code: int = 403
    """A CheckSum that does not fit: the vendor page lists 403, a user reports 414."""

    yunxin_header_code: int = 414
    """A missing or malformed Nonce, CurTime or AppKey header."""

    yunxin_expired_code: int = 414
    """A CurTime outside the window of five minutes."""

    yunxin_wrong_method_code: int = 414
    """A path that exists, called with a method it does not take."""

    yunxin_unknown_path_code: int = 404
    """A path below /im/ that is no API."""

    yunxin_batch_max: int = 100
    """Most ids in one batch read; more answer 414."""

    yunxin_block_seconds: float = 10.0
    """How long an API stays blocked after 416. Documented for v1 only."""

    yunxin_block_prolongs: bool = False
    """Whether a call that arrives while its API is blocked starts the block anew."""

    yunxin_repeat_seconds: float = 60.0
    """How long an X-custom-traceid is remembered; 0 remembers none. Second-hand."""

    yunxin_repeat_code: int = 431
    """What the second call with one X-custom-traceid gets. 431 is documented for v1 only."""

    yunxin_disabled_code: int = 102422
    """A write to an account that is disabled. Seen at client login only."""

    yunxin_update_enables: bool = False
    """Whether PATCH accounts with configuration.enabled true may touch a disabled account."""

    yunxin_missing_profile_code: int = 102404
    """A profile call for an account that does not exist (103404 is as likely)."""

    yunxin_push_before_login_code: int = 414
    """Setting the push switch of an account that never logged in, by either way."""

    yunxin_push_at_create: Literal["ignore", "reject"] = "ignore"
    """A create that carries the push switch: the older vendor page lists it, the newer does not."""

    yunxin_unknown_keys: Literal["ignore", "reject"] = "reject"
    """A key that no vendor page lists; reject answers 414, which finds a caller's misspelling."""

    yunxin_unset_texts: Literal["empty", "absent"] = "empty"
    """A profile text nobody set: answered as "" or left out."""

    yunxin_profile_answer: Literal["full", "changed"] = "full"
    """Whether the profile PATCH answers the whole profile or the fields it was sent."""

    yunxin_update_takes_profile: bool = True
    """Whether PATCH accounts applies user_information; otherwise it is ignored."""

    yunxin_update_answers_token: bool = True
    """Whether PATCH accounts and its actions other than refresh_token answer the token."""

    yunxin_clear_name: bool = True
    """Whether "" clears name and extension, as it is documented to do for the other texts."""

    yunxin_empty_token_code: int = 414
    """A token that is the empty text."""

    yunxin_empty_update_code: int = 200
    """A PATCH that names no field."""

    yunxin_bad_id_code: int = 414
    """An account id in the path that breaks the rules for ids; in a batch it is a failed item."""

    yunxin_text_unit: Literal["code_points", "utf16"] = "code_points"
    """What one character of a length limit is, in both versions."""

    commsease_wrong_method_code: int = 414
    """Code for a path that exists and another method than POST."""

    commsease_unknown_path_code: int = 404
    """Code for a path below /user/ that is no API."""

    commsease_block_prolongs: bool = False
    """Whether a call during the block after 416 starts it anew."""

    commsease_repeat_seconds: float = 60.0
    """How long a RequestId is remembered; 0 for never; second-hand."""

    commsease_repeat_code: int = 431
    """Code for a repeated RequestId; that 431 belongs to it is inferred, a replayed answer is as
    likely.
    """

    commsease_unknown_fields: Literal["ignore", "reject"] = "reject"
    """Form fields no page lists: ignore or reject (414)."""

    commsease_unknown_ids: Literal["absent", "refuse"] = "absent"
    """GetUinfos with an unknown id: absent from the list, or 414 for all (refuse)."""

    commsease_missing_words: Literal["is not registered", "not register"] = "is not registered"
    """What follows the id in the desc for an unknown account; the page has the first, a client of
    2018 the second.
    """

    commsease_uinfos: Literal["new", "old"] = "new"
    """GetUinfos with valid, mute and, where asked for, the module mutes, or as in 2017 without
    them (old).
    """

    commsease_blocked_is_valid: bool = True
    """Whether valid stays true for a blocked account."""

    commsease_blocked_code: int = 200
    """Code for a write to a blocked account; 422 is as likely."""

    commsease_block_again_code: int = 200
    """Code for a block of a blocked account; 422 and 417 are as likely."""

    commsease_mute_sets_modules: bool = False
    """Whether mute.action also sets the four module mutes."""

    commsease_too_long_code: int = 414
    """Code for a text over its limit; or 405."""

    commsease_bad_email_code: int = 10431
    """Code for an e-mail address that is none; or 414."""

    commsease_empty_token_code: int = 414
    """Code for an empty token."""

    commsease_empty_update_code: int = 200
    """Code for an updateUinfo that names no field."""

    tencent_query_code: int = 60025
    """Code for a random that is no number of 32 bits and a contenttype other than json."""

    tencent_wrong_app_code: int = 70020
    """Code for an sdkappid that the vendor does not have; 60006 is as likely."""

    tencent_wrong_method_code: int = 60002
    """Code for a method other than POST."""

    tencent_unknown_path_code: int = 60009
    """Code for a path below /v4/ that is no API."""

    tencent_get_accepted: bool = True
    """Whether a GET with a body is served, as one public client sends it."""

    tencent_identifier_accepted: bool = True
    """Whether import and kick still take Identifier for UserID."""

    tencent_block_seconds: float = 0.0
    """How long an API stays closed after 60007; no page says."""

    tencent_batch_code: int = 70402
    """Code for more accounts than a call takes."""

    tencent_wide_ids: bool = False
    """Whether ids may be any printable ASCII and not only letters, digits, _ and -."""

    tencent_import_overwrites: bool = True
    """Whether importing an account again sets its name and avatar; documented for AccountList
    only.
    """

    tencent_duplicate_import: Literal["fail", "accept"] = "fail"
    """The second of two equal ids in one import: fail names it in FailAccounts, or accept."""

    tencent_delete_enabled: bool = True
    """Whether deletion is switched on in the console; else 71000."""

    tencent_custom_tags: bool = True
    """Whether every well-formed custom tag counts as registered; else 40009."""

    tencent_location_bytes: int = 500
    """Most bytes of a location; older pages say 16."""

    tencent_portrait_atomic: bool = True
    """Whether portrait_set sets nothing where one tag is refused, or those before it."""

    tencent_portrait_missing: Literal["item", "whole"] = "item"
    """A portrait_get with an unknown account: that item fails, or the whole call with 40003."""

    tencent_unset_tags: Literal["absent", "default"] = "absent"
    """A tag nobody set: absent from portrait_get, or its default."""

    tencent_mute_missing_code: int = 0
    """Code for setnospeaking of an unknown account; 0 accepts it without effect."""

    tencent_unknown_mute: Literal["muted", "free", "error"] = "muted"
    """The mutes of an unknown account: muted for good (a note of 2019), free, or error 130003."""


def changed(guesses: Guesses, edit: Mapping[str, object]) -> Guesses:
    """Return guesses with the edit's values in place.

    Raises ValueError for a name that is no guess and for a value of another type.
    """
    hints = get_type_hints(Guesses)
    for name, value in edit.items():
        if name not in hints:
            raise ValueError(f"there is no guess {name!r}")
        _check(name, hints[name], value)
    return replace(guesses, **dict(edit))  # type: ignore[arg-type]  # checked above


def shown(guesses: Guesses) -> dict[str, object]:
    """Return the guesses as a mapping of names to values."""
    return {field.name: getattr(guesses, field.name) for field in fields(guesses)}


def _check(name: str, kind: object, value: object) -> None:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(map(repr, get_args(kind)))
            raise ValueError(f"{name} is one of {choices}")
    elif kind is float:
        if type(value) not in (int, float):
            raise ValueError(f"{name} is a number of seconds")
    elif type(value) is not kind:
        wanted = "true or false" if kind is bool else "a whole number"
        raise ValueError(f"{name} is {wanted}")
