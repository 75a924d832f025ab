// Keeps a page up to date: what changed is fetched again and put in place; ages tick. Every page is whole without it.
"use strict";
(() => {
  const LATER = 300; // Changes that come together are looked at together, in milliseconds.
  const AT_MOST = 2000; // No page is fetched more often, in milliseconds …
  const SHARE = 30; // … nor for more than one part in so many of the time: a large fleet changes all the time.
  const AT_LEAST = 60000; // Silence is told by nobody: it shows when the page is fetched, in milliseconds.
  const AGAIN = 10000; // A stream that was refused is asked for again, in milliseconds.
  const ahead = Date.parse(document.body.dataset.now) - Date.now(); // Of the server's clock.

  // Ages, as the server writes them.
  const span = (seconds) => {
    const s = Math.floor(seconds), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (d) return [`${d} d`, `${d} d ${h % 24} h`];
    if (h) return [`${h} h`, `${h} h ${m % 60} min`];
    if (m) return [`${m} min`, `${m} min ${s % 60} s`];
    return [`${s} s`, `${s} s`];
  };
  const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const tick = (within) => {
    const now = Date.now() + ahead;
    for (const element of within.querySelectorAll("[data-short], [data-age]")) {
      const brief = element.dataset.short;
      const since = (now - Date.parse(brief ?? element.dataset.age)) / 1000;
      const [short, long] = span(Math.abs(since));
      write(element, brief ? short : since <= -1 ? `in ${long}` : `${long} ago`);
    }
  };
  setInterval(() => tick(document), 1000);

  // What can be copied.
  const offer = (within) => {
    for (const button of within.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    write(button, "Copied");
    setTimeout(() => write(button, "Copy"), 2000);
  });
  offer(document);

  // On the board, the arrow keys go from site to site.
  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...document.querySelectorAll(".board tbody th a")];
    const at = links.indexOf(document.activeElement);
    if (!step || at < 0 || !links[at + step]) return;
    event.preventDefault();
    links[at + step].focus();
  });

  const main = () => document.querySelector("main[data-watch]");
  const live = document.getElementById("live");
  if (!main() || !live) return;

  // What is shown holds only while the server is heard of: without that it loses its colours.
  const say = (state, text) => {
    document.body.classList.toggle("old", state !== "on");
    live.hidden = false;
    live.className = `live ${state}`;
    write(live, text);
  };
  const states = () => new Map([...document.querySelectorAll("main[data-state], tr[data-state]")]
    .map((e) => [e.dataset.site ?? e.dataset.watch, e.dataset.state]));

  // Where in the page somebody is: by an id, or by the address that a link has.
  const place = (element) => element.id ? `#${CSS.escape(element.id)}`
    : element.getAttribute("href") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]`
    : element.matches("details[id] > summary") ? `${place(element.parentElement)} > summary` : null;

  const swap = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    const old = main();
    if (!next) return;
    [old, next].forEach((page) => { tick(page); offer(page); });
    if (next.innerHTML === old.innerHTML) return;
    const before = states();
    const focus = old.contains(document.activeElement) && place(document.activeElement);
    const typed = [...old.querySelectorAll("input")].map((e) => [place(e), e.value, e.selectionStart]);
    const open = [...old.querySelectorAll("details[open]")].map(place);
    const scrolled = [...old.querySelectorAll(".wide")].map((e) => [e.scrollLeft, e.scrollTop]);
    const top = window.scrollY;
    old.replaceWith(document.adoptNode(next));
    for (const [where, value] of typed) { const e = where && next.querySelector(where); if (e) e.value = value; }
    for (const where of open) { const e = where && next.querySelector(where); if (e) e.open = true; }
    next.querySelectorAll(".wide").forEach((e, n) => e.scrollTo(...(scrolled[n] ?? [0, 0])));
    const focused = focus && next.querySelector(focus);
    if (focused) focused.focus({ preventScroll: true });
    const caret = typed.find(([where]) => where === focus);
    if (focused && caret) focused.setSelectionRange(caret[2], caret[2]);
    window.scrollTo({ top, behavior: "instant" });
    const news = [...states()].filter(([site, state]) => before.get(site) !== state);
    if (news.length) write(document.getElementById("news"), news.slice(0, 5).map(([site, state]) => `${site}: ${state}`).join(", "));
  };

  let stream = null, waiting = null, looking = false, again = false, next = 0;
  const look = async () => {
    const began = performance.now();
    [waiting, looking, again] = [null, true, false];
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.status === 401) return location.assign("/login");
      if (!answer.ok) return say("away", `not up to date: the server answers ${answer.status}`);
      swap(await answer.text());
      if (stream?.readyState === EventSource.OPEN) say("on", "live");
    } catch { say("away", "reconnecting: what is shown may be old"); } finally {
      const now = performance.now();
      next = now + Math.min(Math.max(AT_MOST, (now - began) * SHARE), AT_LEAST);
      looking = false;
      if (again) soon();
    }
  };
  const soon = () => {
    if (looking) again = true;
    else waiting ??= setTimeout(look, Math.max(LATER, next - performance.now()));
  };
  const concerns = (site) => ["*", site].includes(main().dataset.watch);
  const heard = ({ site, what, at }) => {
    if (!concerns(site)) return;
    if (what !== "seen") return soon();
    const shown = document.querySelector(`[data-seen="${CSS.escape(site)}"]`);
    if (!shown) return;
    const time = shown.querySelector("time");
    if (!time || states().get(site) === "no fresh data") soon();
    if (!time) return;
    for (const name of ["short", "age"]) if (time.dataset[name]) time.dataset[name] = at;
    time.dateTime = at;
    time.removeAttribute("title");
    tick(document);
  };

  const connect = () => {
    stream = new EventSource("/events");
    stream.addEventListener("open", soon);
    stream.addEventListener("change", (event) => heard(JSON.parse(event.data)));
    stream.addEventListener("missed", soon);
    stream.addEventListener("end", () => location.assign("/login"));
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return say("away", "reconnecting: what is shown may be old");
      // To a browser an answer that is an error is the end.
      stream = null;
      say("off", "not live: trying again");
      soon();
      setTimeout(follow, AGAIN);
    });
  };
  // A page that nobody sees keeps no connection: a browser has six for all of them.
  const follow = () => {
    if (document.visibilityState === "visible") { if (!stream) connect(); }
    else { stream?.close(); stream = null; }
  };
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", () => { stream?.close(); stream = null; });
  setInterval(() => { if (stream) soon(); }, AT_LEAST);
  follow();
})();
