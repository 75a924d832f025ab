// Shows a run anew each second while it plays; without this a reload does.
"use strict";
(() => {
  const SECOND = 1000;
  const playing = () => document.querySelector(".run[data-state=playing]");
  const show = async () => {
    const here = playing();
    if (!here) return;
    try {
      const answer = await fetch(location.pathname, { credentials: "same-origin" });
      // The session has ended, or the run was forgotten: the page that says so.
      if (!answer.ok && answer.status < 500) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.querySelector(".run");
      if (next && next.innerHTML !== here.innerHTML) here.replaceWith(document.adoptNode(next));
    } catch {
      // The server is away for a moment; the next look tells.
    }
    setTimeout(show, SECOND);
  };
  setTimeout(show, SECOND);
})();
