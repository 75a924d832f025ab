// Shows a run anew each second while it plays; without this a reload does.
"use strict";
(() => {
  const SECOND = 1000;
  const playing = () => document.querySelector(".run[data-state=playing]");
  // What somebody has opened stays open, and what has the focus keeps it: steps are only added.
  const put = (next, here) => {
    const before = here.querySelectorAll("details");
    next.querySelectorAll("details").forEach((e, n) => { e.open = before[n]?.open ?? false; });
    if (next.innerHTML === here.innerHTML) return;
    const focus = (run) => [...run.querySelectorAll("summary, a")];
    const at = focus(here).indexOf(document.activeElement);
    here.replaceWith(document.adoptNode(next));
    focus(next)[at]?.focus({ preventScroll: true });
  };
  const show = async () => {
    const here = playing();
    if (!here) return;
    try {
      const answer = await fetch(location.pathname, { credentials: "same-origin" });
      // The session has ended, or the run was forgotten: the page that says so.
      if (!answer.ok && answer.status < 500) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.querySelector(".run");
      if (next) put(next, here);
    } catch {
      // The server is away for a moment; the next look tells.
    }
    setTimeout(show, SECOND);
  };
  setTimeout(show, SECOND);
})();
