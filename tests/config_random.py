"""Random account files: good for the most part, with what each reader may trip over."""

from __future__ import annotations

from hypothesis import strategies as st

YAML = st.sampled_from(
    [
        "{provider: cn}",
        "{provider: sg, banned: true}",
        "\n    provider: cn\n    profile:\n      name: Some One\n",
        "\n    provider: [cn, sg]\n    banned: {reason: spam, until: 2027-01-31T00:00:00Z}",
        "\n    # a note\n\n    provider: sg   # another\n    labels: {team: a}",
        "{provider: cn, token: {generate: true, sink: file:secrets/one, version: 1}}",
        "{provider: cn, adopt: true, manage: {profile: on_create}, profile: {name: x}}",
        '{provider: cn, profile: {sign: "a\\tb"}}',
        "\n    provider: cn\n    profile:\n      sign: |\n        several\n  user-3:\n",
        "{provider: cn, profile: {avatar: http://example.com/plain.png}}",
        "{provider: nobody}",
        "{}",
        "",
        '\n    provider: "cn"\n    labels:\n      a: b\n      a: c',
        "&one {provider: cn}",
    ]
)
ROW = st.sampled_from(
    [
        "cn,,,",
        "sg,true,,",
        'cn,"true","over\n two, lines",',
        'cn,true,"a ""quoted"" word",',
        'cn,,,a"b',
        'cn,,,"open',
        "cn;sg,true,spam,",
        "nobody,,,",
        "cn,maybe,,",
        "cn,,,,,",
        "",
    ]
)
JSON = st.sampled_from(
    [
        '"provider":"cn"',
        '"provider":"sg","banned":{"reason":"sp\\u0061m"}',
        '"provider":["cn","sg"],"labels":{"a":"b"}',
        '"provider":"cn","profile":{"avatar":"http://example.com/x.png"}',
        '"provider":"nobody"',
        '"provider":',
        '"provider":"cn","adopt":true',
    ]
)


def ids(values):
    # Mostly different ones, as the interesting files are good but for one account.
    return st.lists(st.tuples(st.integers(0, 400), values), max_size=14)


@st.composite
def files(draw):
    made = {}
    for name in draw(st.sets(st.sampled_from(["a.yaml", "b.yml", "c.csv", "d.jsonl"]), min_size=1)):
        end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
        if name[0] in "ab":
            head = draw(
                st.sampled_from(
                    ["", "", "# top\ndefaults: {labels: {x: y}}\n", "defaults:\n  adopt: true\n"]
                )
            )
            pad = draw(st.sampled_from(["", "", "\n# a note\n"]))
            body = "".join(f"  u{n}: {value}\n" for n, value in draw(ids(YAML)))
            text = f"{head}accounts:\n{pad}{body}"
        elif name[0] == "c":
            text = "id,provider,banned,banned.reason,profile.sign\n" + "".join(
                f"u{n},{row}\n" for n, row in draw(ids(ROW))
            )
        else:
            text = "".join(f'{{"id":"u{n}",{row}}}\n' for n, row in draw(ids(JSON)))
        made[f"accounts/{name}"] = text.replace("\n", end)
    return made
