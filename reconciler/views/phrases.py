"""Phrases: every sentence that a review is written in, in each language, and what they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.changes import Action, Block, Kind, Plan, Reason, ban_of
from reconciler.values import to_moment
from reconciler.views.words import READING, visible

if TYPE_CHECKING:
    from reconciler.drift import Cause, Drift

LANGUAGES: Final = ("en", "zh-CN")


class Phrase(NamedTuple):
    """One phrase in each language; `one | many` are told apart by `n`."""

    en: str
    zh: str


PHRASES: Final[Mapping[str, Phrase]] = {
    "colon": Phrase(": ", "："),
    "comma": Phrase(", ", "、"),
    "semicolon": Phrase("; ", "；"),
    "stop": Phrase(".", "。"),
    "create": Phrase("Create {n:,} account | Create {n:,} accounts", "创建 {n:,} 个账号"),
    "update": Phrase("Update {n:,} account | Update {n:,} accounts", "更新 {n:,} 个账号"),
    "block": Phrase("Block {n:,} account | Block {n:,} accounts", "封禁 {n:,} 个账号"),
    "unblock": Phrase("Unblock {n:,} account | Unblock {n:,} accounts", "解封 {n:,} 个账号"),
    "adopt": Phrase(
        "Adopt {n:,} account that exists | Adopt {n:,} accounts that exist",
        "纳管 {n:,} 个已有账号",
    ),
    "forget": Phrase(
        "Forget {n:,} account, which the vendor keeps as it is"
        " | Forget {n:,} accounts, which the vendor keeps as they are",
        "不再记录 {n:,} 个账号，厂商侧保持原样",
    ),
    "permanent": Phrase("{n:,} permanent", "{n:,} 个永久"),
    "lapses": Phrase("{n:,} lapses today | {n:,} lapse today", "{n:,} 个今天到期"),
    "unreasoned": Phrase("without a reason", "未写原因"),
    "others": Phrase("{n:,} other | {n:,} others", "其他 {n:,}"),
    "not_recorded": Phrase("new", "新账号"),
    "config_changed": Phrase("changed in the YAML", "YAML 有改动"),
    "field_removed": Phrase("field removed", "字段已移除"),
    "drift": Phrase("drifted", "与厂商不一致"),
    "ban_declared": Phrase("ban declared", "声明封禁"),
    "ban_lifted": Phrase("lifted", "已撤销"),
    "ban_expired": Phrase("expired", "已到期"),
    "absent": Phrase("left the YAML", "已移出 YAML"),
    "adopted": Phrase("adopted", "已纳管"),
    "token_version": Phrase("new token", "新令牌"),
    "in_doubt": Phrase("in doubt", "结果未明"),
    "plan_title": Phrase("Plan of {workspace}", "{workspace} 的变更计划"),
    "drift_title": Phrase("Drift of {workspace}", "{workspace} 的漂移报告"),
    "against_recorded": Phrase(
        "Against recorded state (serial {serial}), as of {as_of}.",
        "对照已记录状态（序号 {serial}），截至 {as_of}。",
    ),
    "against_vendors": Phrase(
        "Against what the vendors hold now (serial {serial}), as of {as_of}.",
        "对照厂商当前状态（序号 {serial}），截至 {as_of}。",
    ),
    "fingerprint": Phrase("Fingerprint {fingerprint}", "指纹 {fingerprint}"),
    "refused": Phrase(
        "Refused: {n:,} error, this plan may not be applied"
        " | Refused: {n:,} errors, this plan may not be applied",
        "已拒绝：{n:,} 个错误，此计划不能执行",
    ),
    "warnings": Phrase("{n:,} warning | {n:,} warnings", "{n:,} 个警告"),
    "notes": Phrase("Waiting fields and notes ({n:,})", "等待中的字段与说明（{n:,}）"),
    "override": Phrase(
        "override: rule {rule} for this plan alone, by {by}: {reason}",
        "豁免：规则 {rule}，仅限此计划，{by}：{reason}",
    ),
    "approval": Phrase(
        "approval: rule {rule} wants {groups} to approve {n:,} account"
        " | approval: rule {rule} wants {groups} to approve {n:,} accounts",
        "审批：规则 {rule} 要求 {groups} 批准 {n:,} 个账号",
    ),
    "or": Phrase(" or ", " 或 "),
    "cost": Phrase(
        "Cost: {app}: {n:,} call, about {seconds:g} s"
        " | Cost: {app}: {n:,} calls, about {seconds:g} s",
        "开销：{app}：{n:,} 次调用，约 {seconds:g} 秒",
    ),
    "values_cut": Phrase("values are cut", "字段值已截短"),
    "values_left_out": Phrase("values are left out", "未列出字段值"),
    "fields_left_out": Phrase("fields are left out", "未列出字段"),
    "some_left_out": Phrase(
        "{n:,} account to create, update or adopt is not named"
        " | {n:,} accounts to create, update or adopt are not named",
        "{n:,} 个待创建、更新或纳管的账号未列出",
    ),
    "drift_left_out": Phrase(
        "{n:,} account is not listed | {n:,} accounts are not listed", "{n:,} 个账号未列出"
    ),
    "shortened": Phrase(
        "Shortened to fit a comment: {what}. The plan file and --json hold everything.",
        "为适应评论长度已缩短：{what}。完整内容见计划文件或 --json。",
    ),
    "shortened_drift": Phrase(
        "Shortened to fit: {what}. --json holds everything.",
        "为适应长度已缩短：{what}。完整内容见 --json。",
    ),
    "too_long": Phrase(
        "Longer than the 65,536 characters that a comment takes, because every account to block, "
        "unblock or forget is named; keep it as a file.",
        "需逐一列出所有封禁、解封和不再记录的账号，超过评论上限 65,536 字符，请作为文件保存。",
    ),
    "left_out": Phrase(
        "… {n:,} more is not shown | … {n:,} more are not shown", "…… 另有 {n:,} 条未显示"
    ),
    "coverage": Phrase(
        "Coverage: {n:,} field checked at the vendors, {only} only recorded."
        " | Coverage: {n:,} fields checked at the vendors, {only} only recorded.",
        "覆盖：已向厂商核对 {n:,} 个字段，另有 {only} 个仅有记录。",
    ),
    "drifted": Phrase(
        "Drift: {changed} changed, {missing} missing, {unchanged} unchanged.",
        "漂移：{changed} 个不一致，{missing} 个缺失，{unchanged} 个一致。",
    ),
    "perhaps": Phrase(" (perhaps {why})", "（可能：{why}）"),
    "cause_in_doubt": Phrase("our own action in doubt", "本工具结果未知的操作"),
    "cause_ban_expired": Phrase("lifted when the ban ended", "封禁到期后已解除"),
    "cause_mute_expired": Phrase("a mute that ran out", "禁言已到期"),
    "cause_another_writer": Phrase("another program wrote it", "由其他程序写入"),
    "cause_user_or_console": Phrase(
        "the user's own edit, or the vendor's console", "用户自行修改或厂商控制台修改"
    ),
    "cause_console": Phrase("changed in the vendor's console", "在厂商控制台修改"),
    "muted": Phrase(
        "Muted: {n:,} difference: {by}. | Muted: {n:,} differences: {by}.",
        "已静默 {n:,} 处差异：{by}。",
    ),
    "muted_by": Phrase("{n} by {owner} until {until}", "{owner} {n} 处，至 {until}"),
    "drift_unknown": Phrase(
        "Drift is not known of {n:,} account that could not be read; {unchanged} unchanged."
        " | Drift is not known of {n:,} accounts that could not be read; {unchanged} unchanged.",
        "{n:,} 个账号无法读取，是否漂移未知；{unchanged} 个一致。",
    ),
    "no_drift": Phrase(
        "No drift. {n:,} account as recorded. | No drift. {n:,} accounts as recorded.",
        "没有漂移。{n:,} 个账号与记录一致。",
    ),
    "changed": Phrase("changed", "不一致"),
    "missing": Phrase("missing", "缺失"),
    "unread": Phrase("could not be read", "无法读取"),
    "recorded": Phrase("recorded", "已记录"),
    "observed": Phrase("at the vendor", "厂商侧"),
    "overview": Phrase("Overview", "概览"),
    "app": Phrase("App", "应用"),
    "reasons": Phrase("Reasons of the blocks", "封禁原因"),
    "destructive": Phrase("Blocked, unblocked and forgotten", "封禁、解封与不再记录"),
    "findings": Phrase("Findings", "检查结果"),
    "accounts": Phrase("Accounts", "账号"),
    "action": Phrase("Action", "操作"),
    "label": Phrase("Label", "标签"),
    "text": Phrase("Text", "文本"),
    "all": Phrase("all", "全部"),
    "field": Phrase("Field", "字段"),
    "before": Phrase("Before", "之前"),
    "after": Phrase("After", "之后"),
    "shown": Phrase("{shown} of {total} accounts", "{total} 个账号中的 {shown} 个"),
    "more": Phrase("Show more", "显示更多"),
    "clear": Phrase("Clear", "清除"),
    "no_match": Phrase("No account matches.", "没有匹配的账号。"),
    "page_values_cut": Phrase(
        "Values are cut at {n:,} characters. The plan file and --json hold everything.",
        "字段值截至 {n:,} 个字符。完整内容见计划文件或 --json。",
    ),
}

REASONS: Final = 5
"""Reasons that a sentence names; of the others only the number is told."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Says phrases in one language."""

    language: str = "en"

    def __call__(self, key: str, **values: Any) -> str:
        """Return a phrase with its values, singular or plural by `n`. Raises KeyError."""
        phrase = PHRASES[key]
        one, divided, many = (phrase.zh if self.language == "zh-CN" else phrase.en).partition(" | ")
        return (many if divided and values["n"] != 1 else one).format(**values)

    def listed(self, parts: Iterable[str], by: str = "comma") -> str:
        """Return the parts as one enumeration."""
        return self(by).join(parts)


ENGLISH: Final = Speech()


def sentences(
    planned: Plan, say: Speech = ENGLISH, show: Callable[[str], str] = str
) -> Iterator[str]:
    """Yield one sentence a kind of action, what is destructive first.

    `show` makes texts from outside harmless where the sentence will stand.
    """
    kinds: dict[Kind, list[Action]] = {kind: [] for kind in READING}
    for action in planned.actions:
        kinds[action.kind].append(action)
    for kind, actions in kinds.items():
        if actions:
            told = list(_details(kind, actions, _day(planned.as_of), say, show))
            rest = f"{say('colon')}{say.listed(told, 'semicolon')}" if told else ""
            yield f"{say(kind, n=len(actions))}{rest}{say('stop')}"


def _details(
    kind: Kind,
    actions: Iterable[Action],
    today: date | None,
    say: Speech,
    show: Callable[[str], str],
) -> Iterator[str]:
    match kind:
        case Kind.BLOCK:
            bans = [
                (action.reason, ban_of(action)) for action in actions if isinstance(action, Block)
            ]
            yield _counted((_why(why, ban, say, show) for why, ban in bans), say)
            if lasting := sum("until" not in ban for _, ban in bans):
                yield say("permanent", n=lasting)
            ends = [_day(ban.get("until")) for _, ban in bans]
            if today and (soon := ends.count(today)):
                yield say("lapses", n=soon)
        case Kind.UNBLOCK:
            yield _counted((say(action.reason) for action in actions), say)
        case Kind.UPDATE:
            paths = (change.path for action in actions for change in action.changes)
            yield _counted(paths, say, show)
        case _:
            return


def _why(why: Reason, ban: Mapping[str, Any], say: Speech, show: Callable[[str], str]) -> str:
    if reason := ban.get("reason"):
        return show(str(reason))
    return say("absent") if why is Reason.ABSENT else say("unreasoned")


def _counted(names: Iterable[str], say: Speech, show: Callable[[str], str] = str) -> str:
    counts = sorted(Counter(names).items(), key=lambda one: (-one[1], one[0]))
    told = [f"{show(name)} {count:,}" for name, count in counts[:REASONS]]
    if rest := sum(count for _, count in counts[REASONS:]):
        told.append(say("others", n=rest))
    return say.listed(told)


def _day(moment: object) -> date | None:
    """Return the day of a moment in UTC, None for what is none."""
    try:
        return to_moment(str(moment)).date()
    except ValueError:
        return None


def muted(found: Drift, say: Speech = ENGLISH) -> Iterator[str]:
    """Yield the line that says what a baseline keeps quiet, if it does."""
    if found.muted:
        by = say("comma").join(
            say("muted_by", n=count, owner=visible(owner), until=until)
            for owner, until, count in found.accepted()
        )
        yield say("muted", n=len(found.muted), by=by)


def perhaps(cause: Cause | None, say: Speech = ENGLISH) -> str:
    """Return the guess at what made a difference, to stand behind it."""
    return say("perhaps", why=say(f"cause_{cause}")) if cause else ""


def drift_sentences(found: Drift, say: Speech = ENGLISH) -> Iterator[str]:
    """Yield how much could be checked, and last what came of it."""
    counts = found.summary()
    unchanged = counts["unchanged"]
    yield say("coverage", n=found.checked, only=found.recorded_only)
    if found.drifted:
        yield say("drifted", **counts)
    elif found.unread:
        yield say("drift_unknown", n=len(found.unread), unchanged=unchanged)
    else:
        yield say("no_drift", n=unchanged)
