
"use strict";
(() => {
  const PAGE = 100;
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const [list, status, more, form] = ["list", "status", "more", "filter"].map(find);
  const say = (name, values) => data.words[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const count = (number) => number.toLocaleString(root.lang);
  const fields = ["text", "app", "action", "label"];
  // What the text filter looks through, made once: every word of an account in lower case.
  const words = data.accounts.map(([app, id, tags, actions]) => [
    `${data.apps[app]}/${id}`,
    ...tags.map((tag) => data.tags[tag]),
    ...actions.flatMap(([kind, reason, file, , changes]) => [
      data.kinds[kind][0], data.reasons[reason], data.files[file],
      ...changes.flatMap(([path, before, after]) => [data.paths[path], before ?? "", after]),
    ]),
  ].join("\n").toLowerCase());
  let found = [];
  let shown = 0;

  // Texts go into the page as text only, so nothing that an account holds becomes an element.
  function make(name, text, ...classes) {
    const made = document.createElement(name);
    made.textContent = text;
    made.classList.add(...classes);
    return made;
  }

  function options(id, texts) {
    const first = make("option", data.words.all);
    first.value = "";
    const others = texts.map((text, index) => {
      const option = make("option", text);
      option.value = String(index);
      return option;
    });
    find(id).replaceChildren(first, ...others);
  }

  function table(changes) {
    const made = make("table", "", "fields");
    const heads = ["field", "before", "after"].map((name) => {
      const head = make("th", data.words[name]);
      head.scope = "col";
      return head;
    });
    made.createTHead().insertRow().append(...heads);
    const body = made.createTBody();
    for (const [path, before, after] of changes) {
      const name = make("th", data.paths[path]);
      name.scope = "row";
      const old = make("td", before ?? "–", before === null ? "none" : "before");
      const next = make("td", after, "after");
      old.dataset.head = data.words.before;
      next.dataset.head = data.words.after;
      body.insertRow().append(name, old, next);
    }
    return made;
  }

  function badge(kind) {
    const [word, sign] = data.kinds[kind];
    return make("span", `${sign} ${word}`, "badge", word);
  }

  function body(actions) {
    const made = make("div", "", "body");
    for (const [kind, reason, file, line, changes] of actions) {
      const head = make("p", "");
      const place = data.files[file] ? `  ${data.files[file]}:${line}` : "";
      head.append(badge(kind), ` ${data.reasons[reason]}`, make("span", place, "quiet"));
      made.append(head);
      if (changes.length) made.append(table(changes));
    }
    return made;
  }

  // A ban is judged by why it stands: its reason and ticket are seen without opening the row.
  function why([kind, , , , changes]) {
    const side = { block: 2, unblock: 1 }[data.kinds[kind][0]];
    return ["banned.reason", "banned.ticket"].flatMap((path) => {
      const told = side && changes.find(([at]) => data.paths[at] === path)?.[side];
      return told ? [make("span", told.replace(/^"|"$/g, ""), "why")] : [];
    });
  }

  function row(index) {
    const [app, id, tags, actions] = data.accounts[index];
    const made = make("details", "", "account");
    const head = make("summary", "");
    head.append(...actions.map(([kind]) => badge(kind)), make("code", `${data.apps[app]}/${id}`));
    head.append(...actions.flatMap(why));
    head.append(...tags.map((tag) => make("span", data.tags[tag], "tag")));
    made.append(head);
    made.addEventListener("toggle", () => made.append(body(actions)), { once: true });
    return made;
  }

  function extend() {
    const next = found.slice(shown, shown + PAGE);
    list.append(...next.map(row));
    shown += next.length;
    more.hidden = shown === found.length;
  }

  function filter() {
    const began = performance.now();
    const text = find("text").value.trim().toLowerCase();
    const [app, kind, tag] = ["app", "action", "label"].map((id) => {
      const value = find(id).value;
      return value === "" ? -1 : Number(value);
    });
    found = [];
    data.accounts.forEach(([where, , tags, actions], index) => {
      if (app >= 0 && where !== app) return;
      if (kind >= 0 && !actions.some((action) => action[0] === kind)) return;
      if (tag >= 0 && !tags.includes(tag)) return;
      if (text && !words[index].includes(text)) return;
      found.push(index);
    });
    shown = 0;
    list.replaceChildren();
    extend();
    status.textContent = found.length
      ? say("shown", { shown: count(found.length), total: count(data.accounts.length) })
      : data.words.no_match;
    root.dataset.found = String(found.length);
    root.dataset.milliseconds = (performance.now() - began).toFixed(1);
  }

  // The filter stands in the address, so that a link leads a reader to what is meant.
  function remember() {
    const held = fields.map((id) => [id, find(id).value]).filter(([, value]) => value !== "");
    const told = held.length ? `#${new URLSearchParams(held)}` : "#";
    try { history.replaceState(null, "", told); } catch { /* a sandboxed frame has no history */ }
  }

  function recall() {
    const held = new URLSearchParams(location.hash.slice(1));
    for (const id of fields) {
      find(id).value = held.get(id) ?? "";
      if (find(id).selectedIndex === -1) find(id).value = "";
    }
  }

  root.classList.add("js");
  options("app", data.apps);
  options("action", data.kinds.map(([word, sign]) => `${sign} ${word}`));
  options("label", data.tags);
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); remember(); }));
  more.addEventListener("click", () => {
    const next = shown;
    extend();
    list.children[next]?.firstElementChild.focus();
  });
  addEventListener("hashchange", () => { recall(); filter(); });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) return;
    event.preventDefault();
    find("text").focus();
  });
  recall();
  filter();
})();
