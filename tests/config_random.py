"""Random account files: good for the most part, with what each reader may trip over."""

from __future__ import annotations

from hypothesis import strategies as st

YAML = (
    "{provider: cn}",
    "{provider: sg, banned: true}",
    "\n    provider: cn\n    profile:\n      name: Some One\n",
    "\n    provider: [cn, sg]\n    banned: {reason: spam, until: 2027-01-31T00:00:00Z}",
    "\n    provider: cn\n    banned:\n      until: 2027-02-01",
    "\n    # a note\n\n    provider: sg   # another\n    labels: {team: a}",
    "{provider: cn, adopt: true, manage: {profile: on_create}, profile: {name: x}}",
)
YAML_ODD = (
    "{provider: cn, token: {generate: true, sink: file:secrets/one, version: 1}}",
    '{provider: cn, profile: {sign: "a\\tb"}}',
    "\n    provider: cn\n    profile:\n      sign: |\n        several\n  user-3:\n",
    "{provider: cn, profile: {avatar: http://example.com/plain.png}}",
    "{provider: nobody}",
    "{}",
    "",
    '\n    provider: "cn"\n    labels:\n      a: b\n      a: c',
    "&one {provider: cn}",
)
ROW = (
    "cn,,,",
    "sg,true,,",
    'cn,"true","over\n two, lines",',
    'cn,true,"a ""quoted"" word",',
    "cn;sg,true,spam,",
)
ROW_ODD = ('cn,,,a"b', 'cn,,,"open', "nobody,,,", "cn,maybe,,", "cn,,,,,", "")
JSON = (
    '"provider":"cn"',
    '"provider":"sg","banned":{"reason":"sp\\u0061m"}',
    '"provider":["cn","sg"],"labels":{"a":"b"}',
    '"provider":"cn","adopt":true,"banned":{"until":"2027-01-20T00:00:00Z"}',
)
JSON_ODD = (
    '"provider":"cn","profile":{"avatar":"http://example.com/x.png"}',
    '"provider":"nobody"',
    '"provider":',
)


def _accounts(draw, good, odd):
    """Draw ids with values; every third file holds what is odd, and ids that stand twice."""
    strange = draw(st.integers(0, 2)) == 0
    values = st.sampled_from((*good, *odd) if strange else good)
    drawn = draw(st.lists(st.tuples(st.integers(0, 400), values), max_size=14))
    return drawn if strange else dict(drawn).items()


@st.composite
def files(draw):
    """Draw the account files of a workspace."""
    made = {}
    for name in draw(st.sets(st.sampled_from(["a.yaml", "b.yml", "c.csv", "d.jsonl"]), min_size=1)):
        end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
        # Ids of one file are mostly those of no other.
        first = name[0] if draw(st.integers(0, 4)) else "u"
        if name[0] in "ab":
            head = draw(
                st.sampled_from(
                    ["", "", "# top\ndefaults: {labels: {x: y}}\n", "defaults:\n  adopt: true\n"]
                )
            )
            pad = draw(st.sampled_from(["", "", "\n# a note\n"]))
            found = _accounts(draw, YAML, YAML_ODD)
            body = "".join(f"  {first}{n}: {value}\n" for n, value in found)
            late = draw(st.sampled_from(["", "", "", "defaults: {labels: {late: z}}\n"]))
            text = f"{head}accounts:\n{pad}{body}{late * ('defaults' not in head)}"
        elif name[0] == "c":
            found = _accounts(draw, ROW, ROW_ODD)
            text = "id,provider,banned,banned.reason,profile.sign\n" + "".join(
                f"{first}{n},{row}\n" for n, row in found
            )
        else:
            found = _accounts(draw, JSON, JSON_ODD)
            text = "".join(f'{{"id":"{first}{n}",{row}}}\n' for n, row in found)
        made[f"accounts/{name}"] = text.replace("\n", end)
    return made
