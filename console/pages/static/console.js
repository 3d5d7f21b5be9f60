/* Keys, and quiet updates: "/" finds, a page that nobody sees or that somebody is in the midst of is left alone. */
"use strict";
(() => {
  const ways = { o: "", w: "receipts", f: "files", q: "queues", a: "actions" };
  let gone = 0;
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (at instanceof HTMLElement && (at.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName))) {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.key === "/") {
      const find = document.getElementById("find");
      if (find) { event.preventDefault(); find.focus(); find.select(); }
    } else if (event.key === "g") {
      gone = Date.now();
    } else if (event.key in ways && Date.now() - gone < 1200) {
      location.assign("/console/" + ways[event.key]);
    }
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.target;
    if (!part.classList || !part.classList.contains("live")) return;
    const picked = String(getSelection());
    if (document.hidden || part.contains(document.activeElement) || picked) event.preventDefault();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const part = event.detail.elt;
    if (part.classList.contains("live")) document.getElementById("lost").hidden = event.detail.successful;
  });
  document.addEventListener("submit", (event) => {
    const said = event.target.dataset && event.target.dataset.sure;
    if (said && !confirm(said)) event.preventDefault();
  });
})();
