// Shows a run, or all scenarios, anew each second while one plays; without this a reload does.
"use strict";
(() => {
  const SECOND = 1000;
  const whole = (page) => page.querySelector(".run, .scenarios");
  // What somebody has opened stays open, and what has the focus keeps it: steps are only added.
  const put = (next, here) => {
    const before = here.querySelectorAll("details");
    next.querySelectorAll("details").forEach((e, n) => { e.open = before[n]?.open ?? false; });
    if (next.outerHTML === here.outerHTML) return;
    const links = (part) => [...part.querySelectorAll("summary, a")];
    const stop = (part) => part.querySelector("form[action$='/stop'] button");
    const at = links(here).indexOf(document.activeElement);
    const isStop = stop(here) === document.activeElement;
    here.replaceWith(document.adoptNode(next));
    (isStop ? stop(next) : links(next)[at])?.focus({ preventScroll: true });
    if (next.dataset.state === here.dataset.state) return;
    document.getElementById("news").textContent = next.querySelector("h1 + .mark")?.textContent ?? "It has ended";
  };
  const show = async () => {
    const here = whole(document);
    if (here?.dataset.state !== "playing") return;
    try {
      const answer = await fetch(location.pathname, { credentials: "same-origin" });
      // The session has ended, or the run was forgotten: the page that says so.
      if (!answer.ok && answer.status < 500) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = whole(page);
      if (next) put(next, here);
    } catch {
      // The server is away for a moment; the next look tells.
    }
    setTimeout(show, SECOND);
  };
  setTimeout(show, SECOND);
})();
