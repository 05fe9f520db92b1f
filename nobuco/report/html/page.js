// Comforts only: without this script everything can be read.
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const stored = {
  get(key) { try { return localStorage.getItem(`nobuco-${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`nobuco-${key}`, value); } catch { /* a page without storage */ } },
};
for (const part of document.querySelectorAll(".settings, .toolbar")) part.hidden = false;

// How the page looks.
const theme = byId("theme");
theme.value = stored.get("theme") ?? "";
const paint = () => { root.dataset.theme = theme.value; };
theme.addEventListener("change", () => { stored.set("theme", theme.value); paint(); });
paint();

// Where source lines lead. A fold's links are made when it opens: there can be thousands.
const editor = byId("editor");
editor.value = root.dataset.editor || (stored.get("editor") ?? "");
const target = (file, line) => {
  const path = encodeURI(file.replaceAll("\\", "/")).replace(/[?#]/g, encodeURIComponent), scheme = editor.value;
  if (scheme === "vscode" || scheme === "cursor") return `${scheme}://file/${path.replace(/^\//, "")}:${line}`;
  if (scheme === "idea" || scheme === "pycharm") return `${scheme}://open?file=${encodeURIComponent(file)}&line=${line}`;
  return `${scheme}://open?url=file://${path}&line=${line}`;
};
const link = (fold) => {
  for (const place of fold.querySelectorAll(":scope > .inner > .facts .place, :scope > .facts .place")) {
    const anchor = place.querySelector("a"), [, file, line] = /^File "(.*)", line (\d+)$/.exec(anchor.textContent) ?? [];
    if (editor.value && file) anchor.href = target(file, line);
    else anchor.removeAttribute("href");
    if (place.childElementCount === 1 && navigator.clipboard) place.append(" ", copier());
  }
};
const copier = () => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.ariaLabel = "copy the source line";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.firstElementChild.textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  return button;
};
document.addEventListener("toggle", (event) => { if (event.target.open) link(event.target); }, true);
editor.addEventListener("change", () => {
  stored.set("editor", editor.value);
  document.querySelectorAll("details[open]").forEach(link);
});
document.querySelectorAll("details[open]").forEach(link);

if (byId("tree")) {
  // Tree or graph.
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const show = (name) => {
    for (const tab of tabs) {
      const chosen = tab.dataset.view === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      byId(tab.dataset.view).hidden = !chosen;
    }
    for (const part of document.querySelectorAll(".folds")) part.hidden = name !== "tree";
  };
  for (const tab of tabs) {
    tab.addEventListener("click", () => show(tab.dataset.view));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
      show(other.dataset.view);
      other.focus();
    });
  }
  show("tree");

  // What the tree holds, read once: parents come before their children.
  const calls = [...document.querySelectorAll("#tree .node")].map((node) => ({
    node,
    summary: node.firstElementChild,
    text: node.querySelector(".label").textContent.toLowerCase(),
    status: node.dataset.status,
    turns: "turns" in node.dataset,
    open: node.open,
    leaf: true,
  }));
  const place = new Map(calls.map((call, index) => [call.node, index]));
  for (const call of calls) {
    call.parent = place.get(call.node.parentElement.closest(".node")) ?? -1;
    if (call.parent >= 0 && call.status !== "INSIDE") calls[call.parent].leaf = false;
    call.path = call.parent < 0 ? call.text : `${calls[call.parent].path} ${call.text}`;
  }
  const stops = new Map([...document.querySelectorAll(".stops [data-call]")].map((stop) => [stop.dataset.call, stop]));

  // Search and filter: what matches, and the way to it.
  const search = byId("search"), found = byId("found");
  const filters = [...document.querySelectorAll("[data-filter]")];
  let narrowed = false;
  const sift = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(filters.filter((b) => b.ariaPressed === "true").map((b) => b.dataset.filter));
    const narrow = words.length > 0 || wanted.size > 0;
    let count = 0;
    for (const call of calls) {
      const fits = wanted.size === 0 || wanted.has(call.status) || (call.turns && wanted.has("TURNS"));
      call.hit = fits && (words.length === 0 || words.every((word) => call.path.includes(word))
        && words.some((word) => call.text.includes(word)));
      call.shown = call.hit;
      count += call.hit;
    }
    for (const call of calls.toReversed()) {
      if (call.shown && call.parent >= 0) { calls[call.parent].shown = true; calls[call.parent].leads = true; }
    }
    for (const call of calls) {
      if (narrow && !narrowed) call.open = call.node.open;
      const open = narrow ? Boolean(call.leads) : call.open;
      if (call.node.hidden === call.shown) call.node.hidden = !call.shown;
      if (call.node.open !== open) call.node.open = open;
      stops.get(call.node.id)?.classList.toggle("off", !call.hit);
      call.leads = false;
    }
    narrowed = narrow;
    found.textContent = narrow ? `${count} of ${calls.length} calls` : "";
    rove();
  };
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(sift, 80); });
  for (const button of filters) {
    button.addEventListener("click", () => {
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      sift();
    });
  }
  byId("unfold").addEventListener("click", () => { for (const { node, leaf } of calls) node.open = !leaf; });
  byId("fold").addEventListener("click", () => { for (const { node } of calls) node.open = false; });

  // One stop for the tabulator in the tree, and arrows within.
  let here = null;
  const stay = (call) => {
    if (here) here.summary.tabIndex = -1;
    here = call;
    here.summary.tabIndex = 0;
  };
  const visible = (call) => call && !call.node.hidden && call.summary.checkVisibility({ contentVisibilityAuto: false });
  const rove = () => { if (!visible(here)) stay(calls.find(visible) ?? calls[0]); };
  for (const call of calls) call.summary.tabIndex = -1;
  const go = (call) => { stay(call); call.summary.focus(); };
  const seek = (from, step) => {
    for (let index = from + step; index >= 0 && index < calls.length; index += step) {
      if (visible(calls[index])) return calls[index];
    }
    return null;
  };
  byId("tree").addEventListener("keydown", (event) => {
    const index = place.get(event.target.closest("summary.call")?.parentElement);
    if (index === undefined) return;
    const { node, parent } = calls[index];
    const to = {
      ArrowDown: () => seek(index, 1),
      ArrowUp: () => seek(index, -1),
      Home: () => seek(-1, 1),
      End: () => seek(calls.length, -1),
      ArrowRight: () => (node.open ? seek(index, 1) : void (node.open = true)),
      ArrowLeft: () => (node.open ? void (node.open = false) : calls[parent]),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const next = to();
    if (next) go(next);
  });
  byId("tree").addEventListener("focusin", (event) => {
    const index = place.get(event.target.closest("summary.call")?.parentElement);
    if (index !== undefined) stay(calls[index]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select")) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && event.target === search) { search.value = ""; sift(); }
  });

  // A link to a call opens the way to it.
  const arrive = () => {
    const index = place.get(byId(location.hash.slice(1)));
    if (index === undefined) return;
    show("tree");
    if (calls[index].node.hidden) {
      search.value = "";
      for (const button of filters) button.ariaPressed = "false";
      sift();
    }
    for (let at = index; at >= 0; at = calls[at].parent) calls[at].node.open = true;
    go(calls[index]);
    calls[index].summary.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", arrive);
  document.addEventListener("click", (event) => {
    if (event.target.closest("a[href^='#']")?.hash === location.hash) arrive();
  });
  rove();
  arrive();
}
